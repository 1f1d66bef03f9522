"""The parts of PFS without a server: nothing finishes commits but the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localpach.names import Repo
from localpach.pfs.service import Pfs
from localpach.storage.store import Store
from localpach.waiting import Bulletin


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def pfs(store: Store) -> Pfs:
    """With a repo `default/in`."""
    pfs = Pfs(store, Bulletin(store.after_commit))
    pfs.repos.create(Repo("default", "in"))
    return pfs
