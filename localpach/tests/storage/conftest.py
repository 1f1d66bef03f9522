"""A store in a fresh folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localpach.storage.objects import Batch, Objects
from localpach.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def objects(store: Store) -> Objects:
    return Objects(store)


@pytest.fixture
def batch(store: Store) -> Batch:
    return Batch(store)
