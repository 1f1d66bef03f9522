"""A database made anew of a damaged one has all rows that can still be read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from localpach.storage.rebuild import rebuild
from localpach.storage.store import Store

ROWS = 400
PAGE_BYTES = 4096


def value(number: int) -> bytes:
    return f"<{number:05}>".encode() * 60


def on_page(page: bytes) -> set[int]:
    return {number for number in range(ROWS) if value(number) in page}


def test_the_rows_before_and_after_a_damaged_page_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.write() as connection:
        rows = [(f"key {number}", value(number), "") for number in range(ROWS)]
        connection.executemany("INSERT INTO cache VALUES (?, ?, ?)", rows)
    store.close()
    path = tmp_path / "metadata.sqlite"
    data = path.read_bytes()
    place = data.index(value(ROWS // 2)) // PAGE_BYTES * PAGE_BYTES
    lost = on_page(data[place : place + PAGE_BYTES])
    path.write_bytes(data[:place] + b"\xff" * PAGE_BYTES + data[place + PAGE_BYTES :])
    sentences = rebuild(path)
    assert sentences == [
        "table cache: rows that can't be read (database disk image is malformed)",
        f"the damaged database is kept as {tmp_path / 'metadata.damaged-1'}",
    ]
    connection = sqlite3.connect(path)
    kept = {bytes(row[0]) for row in connection.execute("SELECT value FROM cache")}
    connection.close()
    # Of a value that goes on another page, what stood on this one is lost, too.
    assert lost
    assert kept <= {value(number) for number in range(ROWS) if number not in lost}
    assert len(kept) >= ROWS - len(lost) - 2
