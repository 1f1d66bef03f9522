"""What stands on a store."""

from __future__ import annotations

import pytest

from localpach.storage.objects import Batch, Objects
from localpach.storage.store import Store


@pytest.fixture
def objects(store: Store) -> Objects:
    return Objects(store)


@pytest.fixture
def batch(store: Store) -> Batch:
    return Batch(store)
