"""Methods with an asynchronous twin, which Prefect's integrations call in place of them where the caller is asynchronous."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from prefect._internal.compatibility.async_dispatch import async_dispatch

T = TypeVar("T")


def twin_of(twin: Callable[..., Coroutine[Any, Any, T]]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Makes a method one that gives the coroutine of its twin in an asynchronous flow or task, unless called with `_sync=True`."""
    return cast("Callable[[Callable[..., T]], Callable[..., T]]", async_dispatch(twin))
