"""A DAG as a network of sensors has it: `python -m benchmarks.localpach_dag [PIPELINES]`, 1,000 by default.

Each site has seven sensors, each of these seven pipelines: crosses, joins and groups on paths of four levels, files that
are given empty, shuffles by links; one more pipeline gathers the days of all of them. Printed is what it takes to create
them, to run them on one commit, to list and to delete them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from benchmarks.localpach_speed import peak, row, serving, took

SENSORS = 7
OF_A_SITE = 7 * SENSORS + 1
DAYS = ("2026/01/01", "2026/01/02")

BY_DAY = "cd /pfs/raw/*; for f in */*/*; do mkdir -p /pfs/out/$f; cp $f /pfs/out/$f/$(cat $f); done"
COPY = "for i in /pfs/*; do [ $i = /pfs/out ] || cp -r $i/. /pfs/out/; done"
COPY_FIRST = 'cp -r /pfs/first/. /pfs/out/; test -n "$(ls /pfs/second)"'
GATHER = "d=/pfs/out/$PACH_DATUM_first_GROUP_BY; mkdir -p $d; cat $(find /pfs/first/ -type f) > $d/all"
NAMES = "cd /pfs/first; for f in */*/*/*; do mkdir -p /pfs/out/$(dirname $f); echo $f > /pfs/out/$f; done"
SHUFFLE = "cd /pfs/first; for f in */*/*/*; do mkdir -p /pfs/out/s/$(dirname $f); ln -s $PWD/$f /pfs/out/s/$f; done"

Spec = tuple[str, str, pps_proto.Input]


def pfs(repo: str, glob: str, name: str = "first", **more: object) -> pps_proto.Input:
    return pps_proto.Input(pfs=pps_proto.PFSInput(repo=repo, glob=glob, name=name, **more))


def specs(site: int) -> Iterator[Spec]:
    """Name, script and input of each pipeline of a site, upstream ones first."""
    for number in range(SENSORS):
        yield from sensor(f"s{site}-{number}")
    day = "/(*)/(*)/(*)/*"
    all_sensors = [pfs(f"s{site}-{n}-gathered", day, group_by="$1/$2/$3") for n in range(SENSORS)]
    for n, each in enumerate(all_sensors[1:], 1):
        each.pfs.name = f"other{n}"
    yield f"site{site}", GATHER, pps_proto.Input(group=all_sensors)


def sensor(name: str) -> Iterator[Spec]:
    day, keys = "/*/*/*", "/(*)/(*)/(*)/*"
    yield f"{name}-daily", BY_DAY, pfs("raw", f"/{name}", "raw")
    calibration = pfs("calibration", "/", "second")
    yield f"{name}-calibrated", COPY_FIRST, pps_proto.Input(cross=[pfs(f"{name}-daily", day), calibration])
    located = [pfs(f"{name}-daily", "/*/*/*/(*)", join_on="$1"), pfs("locations", "/(*)", "second", join_on="$1")]
    yield f"{name}-located", COPY_FIRST, pps_proto.Input(join=located)
    both = [
        pfs(f"{name}-calibrated", keys, group_by="$1/$2/$3"),
        pfs(f"{name}-located", keys, "second", group_by="$1/$2/$3"),
    ]
    yield f"{name}-gathered", GATHER, pps_proto.Input(group=both)
    yield f"{name}-names", NAMES, pfs(f"{name}-gathered", day, empty_files=True)
    yield f"{name}-shuffled", SHUFFLE, pfs(f"{name}-calibrated", "/", empty_files=True)
    either = [pfs(f"{name}-names", day), pfs(f"{name}-shuffled", "/s")]
    yield f"{name}-padded", COPY, pps_proto.Input(union=either)


def put(client: Client, repo: str, files: dict[str, str]) -> str:
    """One commit; its id."""
    with client.commit(repo, "master") as commit, client.modify_file_client(commit) as modify:
        for path, text in files.items():
            modify.put_file_from_bytes(path, text.encode())
    return str(commit.id)


def prepare(client: Client, sensors: list[str]) -> None:
    """The repos that the pipelines read, of which the sensors' own has nothing yet."""
    for repo in ("raw", "calibration", "locations"):
        client.create_repo(repo)
    put(client, "calibration", {"/factor": "2"})
    put(client, "locations", {f"/{sensor}": "north" for sensor in sensors})


def create(client: Client, all_specs: list[Spec]) -> None:
    for name, script, input in all_specs:
        transform = pps_proto.Transform(cmd=["sh", "-e"], stdin=[script], image="host")
        client.create_pipeline(name, transform=transform, input=input, datum_tries=1)


def run(client: Client, sensors: list[str]) -> str:
    """One commit with the days of all sensors, until all that comes of it is done; its id."""
    id = put(client, "raw", {f"/{sensor}/{day}": sensor for sensor in sensors for day in DAYS})
    client.wait_commit(id)
    return id


def check(client: Client, id: str, sites: int) -> int:
    """That all went well; gives the datums that ran."""
    jobs = list(client.inspect_job(id))
    bad = [info for info in jobs if info.state != pps_proto.JOB_SUCCESS]
    assert not bad, (bad[0].job.pipeline.name, bad[0].reason)
    assert len(jobs) == sites * OF_A_SITE
    return sum(info.data_processed for info in jobs)


def delete(client: Client, all_specs: list[Spec]) -> None:
    for name, _, _ in reversed(all_specs):
        client.delete_pipeline(name)


def main() -> None:
    sites = int(*sys.argv[1:] or [1000]) // OF_A_SITE
    sensors = [f"s{site}-{number}" for site in range(sites) for number in range(SENSORS)]
    all_specs = [spec for site in range(sites) for spec in specs(site)]
    with serving() as server:
        client = server.client
        print(f"| {len(all_specs):,} pipelines | localpach | |\n| --- | --- | --- |")
        prepare(client, sensors)
        ids: list[str] = []
        row("create them", f"{took(lambda: create(client, all_specs)):.1f} s", "-")
        seconds = took(lambda: ids.append(run(client, sensors)))
        row("run them on one commit", f"{seconds:.1f} s, {check(client, ids[0], sites):,} datums", "-")
        row("list them", f"{took(lambda: list(client.list_pipeline())):.2f} s", "-")
        row("list their jobs of the commit", f"{took(lambda: check(client, ids[0], sites)):.2f} s", "-")
        row("delete them", f"{took(lambda: delete(client, all_specs)):.1f} s", "-")
        row("server memory at its peak", f"{peak(server.process):.0f} MiB", "-")


if __name__ == "__main__":
    main()
