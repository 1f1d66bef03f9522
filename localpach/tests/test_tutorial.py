"""The classic tutorial, edges of images and a montage of them, with processes in place of images."""

from __future__ import annotations

from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import last_job, pfs, put

# A plain-text graymap (PGM) in, its horizontal edges out.
EDGES = """
import os
for name in os.listdir('/pfs/images'):
    kind, size, depth, *rows = open('/pfs/images/' + name).read().splitlines()
    pixels = [[int(pixel) for pixel in row.split()] for row in rows]
    edges = [[abs(b - a) for a, b in zip(row, row[1:] + row[-1:])] for row in pixels]
    with open('/pfs/out/' + name.replace('.pgm', '_edges.pgm'), 'w') as out:
        print(kind, size, depth, *(' '.join(map(str, row)) for row in edges), sep='\\n', file=out)
"""
MONTAGE = """
import glob
files = sorted(glob.glob('/pfs/images/*')) + sorted(glob.glob('/pfs/edges/*'))
open('/pfs/out/montage.txt', 'w').write(''.join(open(file).read() for file in files))
"""


def pgm(*rows: str) -> bytes:
    return "\n".join(["P2", f"{len(rows[0].split())} {len(rows)}", "9", *rows, ""]).encode()


def test_edges_and_montage(client: Client) -> None:
    client.create_repo("images")
    put(client, "images", {"/liberty.pgm": pgm("0 0 9 9", "0 0 9 9")})
    edges = pps_pb2.Transform(cmd=["python3"], stdin=[EDGES], image="host")
    client.create_pipeline("edges", transform=edges, input=pfs("images"))
    montage = pps_pb2.Transform(cmd=["python3"], stdin=[MONTAGE], image="host")
    both = pps_pb2.Input(cross=[pfs("images", "/"), pfs("edges", "/")])
    client.create_pipeline("montage", transform=montage, input=both)
    assert last_job(client, "montage").state == pps_pb2.JOB_SUCCESS
    found = client.get_file(("edges", "master"), "/liberty_edges.pgm")
    assert found == pgm("0 9 0 0", "0 9 0 0")

    put(client, "images", {"/kitten.pgm": pgm("9 0", "0 0")})
    assert last_job(client, "montage").state == pps_pb2.JOB_SUCCESS
    job = last_job(client, "edges")
    assert (job.data_processed, job.data_skipped) == (1, 1)
    shown = client.get_file(("montage", "master"), "/montage.txt")
    assert shown == pgm("9 0", "0 0") + pgm("0 0 9 9", "0 0 9 9") + pgm("9 0", "0 0") + pgm("0 9 0 0", "0 9 0 0")
