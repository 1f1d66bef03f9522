"""Checking all that is stored, and freeing what no commit reaches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from localpach.errors import Corrupt
from localpach.pfs.base import PfsBase, now
from localpach.storage.objects import INLINE_BYTES, Ref, digest


def check(pfs: PfsBase, read_data: bool = False) -> Iterator[str]:
    """A sentence for each thing that is wrong. With `read_data` every content is read and hashed again."""
    with pfs.store.read() as connection:
        for row in connection.execute("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield f"database: {row[0]}"
        for row in connection.execute("PRAGMA foreign_key_check"):
            yield f"table {row['table']} row {row['rowid']} names a missing row of {row['parent']}"
        for row in connection.execute("SELECT key, data FROM nodes"):
            if digest(row["data"]) != row["key"]:
                yield f"directory node {row['key'].hex()} is damaged"
        seen: set[str] = set()
        checked: set[str] = set()
        for row in connection.execute("SELECT num, tree FROM commits WHERE tree IS NOT NULL AND tree != ''").fetchall():
            try:
                for ref in pfs.trees.reachable(row["tree"], seen):
                    if ref.hash not in checked:
                        checked.add(ref.hash)
                        yield from _check_content(pfs, ref, read_data)
            except Corrupt as error:
                yield f"commit {pfs._record(row['num']).commit}: {error.message}"


def check_contents(pfs: PfsBase, read_data: bool) -> int:
    """How many contents are stored; with `read_data` each is read and hashed again.

    Raises:
        Corrupt: one is not what was written.
    """
    with pfs.store.read() as connection:
        inline = connection.execute("SELECT hash, length(data) FROM contents").fetchall()
    big = [(path.parent.name + path.name, path.stat().st_size) for path in (pfs.store.root / "objects").glob("*/*")]
    refs = [Ref(row[0].hex(), row[1]) for row in inline] + [Ref(*each) for each in big]
    for ref in refs if read_data else ():
        for problem in _check_content(pfs, ref, True):
            raise Corrupt(problem)
    return len(refs)


def _check_content(pfs: PfsBase, ref: Ref, read_data: bool) -> Iterator[str]:
    path = pfs.objects.path(ref)
    if not ref.size:
        return
    if ref.size > INLINE_BYTES and (not path.exists() or path.stat().st_size != ref.size):
        yield f"content {ref.hash}: {path} is missing or has another length than {ref.size}"
    elif read_data or ref.size <= INLINE_BYTES:
        try:
            if _rehash(pfs, ref) != ref.hash:
                yield f"content {ref.hash} is damaged"
        except Corrupt as error:
            yield error.message


def _rehash(pfs: PfsBase, ref: Ref) -> str:
    hasher = hashlib.blake2b(digest_size=32)
    for chunk in pfs.objects.read(ref):
        hasher.update(chunk)
    return hasher.hexdigest()


def collect(pfs: PfsBase) -> int:
    """Frees what no commit and no living file set reaches; gives the bytes freed. Nothing else may be writing."""
    freed = 0
    with pfs.store.write() as connection:
        connection.execute("DELETE FROM file_sets WHERE expires < ?", (now(),))
        nodes: set[str] = set()
        contents: set[str] = set()
        for row in connection.execute("SELECT DISTINCT tree FROM commits WHERE tree != ''").fetchall():
            contents.update(ref.hash for ref in pfs.trees.reachable(row["tree"], nodes))
        for row in connection.execute("SELECT layers FROM file_sets").fetchall():
            contents.update(part for part in row["layers"].split('"') if len(part) == 64)
        for table, column, kept in (("nodes", "key", nodes), ("contents", "hash", contents)):
            rows = connection.execute(f"SELECT {column}, length(data) FROM {table}").fetchall()
            dead = [row for row in rows if row[0].hex() not in kept]
            freed += sum(row[1] for row in dead)
            connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(row[0],) for row in dead])
    for path in (pfs.store.root / "objects").glob("*/*"):
        if path.parent.name + path.name not in contents:
            freed += path.stat().st_size
            path.unlink()
    return freed
