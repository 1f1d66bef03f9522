"""Random operations, as a real Pachyderm 2.7.6 answered them, asked of localpach: how many answers are alike."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from localpach.proto import pfs_pb2
from tests.conformance.exceptions import Meant, excepted_operation
from tests.conformance.play import NOISE, READS, Play
from tests.servers import serving

RECORDING = Path(__file__).with_name("operations-2.7.6.jsonl.gz")
COUNT = 50
SERVERS = 4

# What must be alike at least. The real server against itself: 99.3 % of answers, and two seeds of three.
ANSWERS = 0.97
SEEDS = 0.5

# 2.7.6 leaves the id empty where a branch was named.
_AT = re.compile(r" at commit (<\w+>)?$")
# Listed in the order of a hash map.
_SETS = re.compile(r'\[id:"[^]]*\]')


class Compared(NamedTuple):
    """What came of a seed: so many answers compared, and the first difference of each that differs, with its exception."""

    answers: int
    told: list[tuple[str, Meant | None]]


def recorded() -> dict[int, list[dict[str, Any]]]:
    """The operations of each seed, with their answers."""
    seeds: dict[int, list[dict[str, Any]]] = {}
    with gzip.open(RECORDING, "rt") as stream:
        for line in stream:
            record = json.loads(line)
            seeds.setdefault(record.pop("seed"), []).append(record)
    return seeds


def played(folder: Path, seed: int) -> list[dict[str, Any]]:
    """The answers of a fresh server."""
    with serving(folder / str(seed), auth=False) as server:
        return list(Play(server.address, seed).play(COUNT))


def compare(seed: int, wanted: list[dict[str, Any]], found: list[dict[str, Any]]) -> Compared:
    """Goes through a seed until one server takes a change that the other refuses: from there on they hold different
    things."""
    answers = 0
    told: list[tuple[str, Meant | None]] = []
    for old, new in zip(wanted, found, strict=True):
        if (old["rpc"], old["request"]) != (new["rpc"], new["request"]):
            told.append((f"{seed}/{old['i']}: the requests differ, as ids learned do", None))
            break
        answers += 1
        difference = next(
            (each for key in ("code", "details", "response") for each in _differences(key, old, new)), None
        )
        if difference is not None:
            path, sides = difference
            step = f"{seed}/{old['i']} {old['rpc']}"
            told.append((f"{step} {path}: {sides}", excepted_operation(step, path)))
            if "OK" in (old["code"], new["code"]) and old["code"] != new["code"] and not READS.search(old["rpc"]):
                break
    return Compared(answers, told)


def _differences(key: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str]]:
    one, other = _plain(old[key]), _plain(new[key])
    if old["rpc"] == "pps.ListPipeline" and key == "response" and one and other:
        # They were put in the order of their ids, which are random.
        one, other = sorted(one, key=_version), sorted(other, key=_version)
    yield from _compare(key, one, other)


def _version(info: dict[str, Any]) -> tuple[str, str]:
    return info["pipeline"]["name"], info["spec_commit"]["id"]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _SETS.sub(lambda found: " ".join(sorted(found[0][1:-1].split())), _AT.sub("", value))
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key not in NOISE}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _compare(path: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        # Whose commit it is, for what is meant of one kind of repo.
        kind = f"<{old['commit']['repo']['type']}>" if isinstance(old.get("origin"), dict) else ""
        for key in sorted(old.keys() | new.keys()):
            yield from _compare(f"{path}{kind}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _compare(f"{path}[{number}]", one, other)
    elif old != new:
        yield path, f"{json.dumps(old)[:300]} -> {json.dumps(new)[:300]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1000, 1006))
def test_no_operation_is_unexpected(tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    with serving(tmp_path / "root", auth=False) as server:
        codes = {answer["code"] for answer in Play(server.address, seed).play(COUNT)}
        assert not codes & {"INTERNAL", "DATA_LOSS", "DEADLINE_EXCEEDED"}
        assert list(server.client.pfs.Fsck(pfs_pb2.FsckRequest())) == []
        server.client.delete_all()
    assert [record.message for record in caplog.records if record.exc_info] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_random_operations(tmp_path: Path) -> None:
    seeds = recorded()
    with ThreadPoolExecutor(SERVERS) as pool:
        answers = pool.map(lambda seed: played(tmp_path, seed), seeds)
        results = [compare(seed, seeds[seed], found) for seed, found in zip(seeds, answers, strict=True)]
    told = [each for result in results for each in result.told]
    unmeant = [text for text, meant in told if meant is None]
    assert not unmeant, "\n".join(unmeant)
    total = sum(result.answers for result in results)
    assert (total - len(told)) / total >= ANSWERS, f"{len(told)} of {total} answers differ"
    alike = sum(not result.told for result in results)
    assert alike / len(results) >= SEEDS, f"{alike} of {len(results)} seeds are alike throughout"
