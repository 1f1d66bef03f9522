"""Values that clients keep here by key."""

from __future__ import annotations

from localpach.errors import NotFound
from localpach.storage.store import Store


class Cache:
    """Values as bytes, each with a tag."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, key: str, value: bytes, tag: str) -> None:
        """Keeps a value for clients that cache things here."""
        with self._store.write() as connection:
            connection.execute("INSERT OR REPLACE INTO cache VALUES (?, ?, ?)", (key, value, tag))

    def get(self, key: str) -> bytes:
        with self._store.read() as connection:
            row = connection.execute("SELECT value FROM cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound(f"cache entry {key} not found")
        value: bytes = row["value"]
        return value

    def clear(self, tag_prefix: str) -> None:
        with self._store.write() as connection:
            connection.execute("DELETE FROM cache WHERE substr(tag, 1, length(?)) = ?", (tag_prefix, tag_prefix))
