"""A day's work with DuckDB, by S3."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

import duckdb
import duckdb_extension_httpfs
from steps import Steps, run

BUCKET = "s3://master.duckdb_in"
client = duckdb.connect()


def make_bucket() -> None:
    """By JSON, for DuckDB makes none."""
    branch = {"repo": {"name": "duckdb_in", "type": "user"}, "name": "master"}
    for rpc, body in (("CreateRepo", {"repo": branch["repo"]}), ("CreateBranch", {"branch": branch})):
        url = f"http://{os.environ['JSON_ADDRESS']}/api/pfs_v2.API/{rpc}"
        headers = {"authn-token": os.environ["TOKEN"]}
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).close()


def load() -> None:
    """The extension comes by package here; elsewhere `INSTALL httpfs` downloads it."""
    file = next(Path(duckdb_extension_httpfs.__file__).parent.rglob("*.duckdb_extension"))
    client.execute(f"LOAD '{file}'")
    client.execute(
        f"CREATE SECRET (TYPE s3, ENDPOINT '{os.environ['S3_ADDRESS']}', USE_SSL false, URL_STYLE 'path', REGION 'us-east-1',"
        f" KEY_ID '{os.environ['TOKEN']}', SECRET '{os.environ['TOKEN']}')"
    )


def ask(query: str) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = client.execute(query).fetchall()
    return found


make_bucket()
steps: Steps = {
    "load httpfs": load,
    "write Parquet": lambda: ask(f"COPY (SELECT range AS a FROM range(100000)) TO '{BUCKET}/d/1.parquet'"),
    "read Parquet by a glob": lambda: ask(f"SELECT sum(a) FROM '{BUCKET}/d/*.parquet'") == [(4999950000,)],
    "read only a column's end": lambda: ask(f"SELECT max(a) FROM '{BUCKET}/d/1.parquet' WHERE a > 99990") == [(99999,)],
    "write CSV, in parts": lambda: ask(
        f"COPY (SELECT range AS a, md5(a::VARCHAR) FROM range(500000)) TO '{BUCKET}/d/2.csv'"
    ),
    "read CSV": lambda: ask(f"SELECT count(*) FROM '{BUCKET}/d/2.csv'") == [(500000,)],
    "list files": lambda: len(ask(f"SELECT file FROM glob('{BUCKET}/**')")) == 2,
}
run(steps)
