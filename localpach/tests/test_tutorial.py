"""The classic tutorial, edges of images and a montage of them, with processes in place of images."""

from __future__ import annotations

from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from tests.localpach.test_pfs import put
from tests.localpach.test_pps import last_job, pfs

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
    python = {"cmd": ["python3"], "image": "host"}
    edges = pps_proto.Transform(stdin=[EDGES], **python)
    client.create_pipeline("edges", transform=edges, input=pfs("images"))
    montage = pps_proto.Transform(stdin=[MONTAGE], **python)
    both = pps_proto.Input(cross=[pfs("images", "/"), pfs("edges", "/")])
    client.create_pipeline("montage", transform=montage, input=both)
    assert last_job(client, "montage").state == pps_proto.JOB_SUCCESS
    found = client.get_file(("edges", "master"), "/liberty_edges.pgm").read()
    assert found == pgm("0 9 0 0", "0 9 0 0")

    put(client, "images", {"/kitten.pgm": pgm("9 0", "0 0")})
    assert last_job(client, "montage").state == pps_proto.JOB_SUCCESS
    job = last_job(client, "edges")
    assert (job.data_processed, job.data_skipped) == (1, 1)
    shown = client.get_file(("montage", "master"), "/montage.txt").read()
    assert shown == pgm("9 0", "0 0") + pgm("0 0 9 9", "0 0 9 9") + pgm("9 0", "0 0") + pgm("0 9 0 0", "0 9 0 0")
