"""Branch triggers: when a branch's head moves onto a commit of another branch."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from localpach.errors import Refused
from localpach.proto import pfs_pb2

# Shorter and longer ones are waited for by nobody.
SHORTEST_SECONDS, LONGEST_SECONDS = 0.001, 100 * 366 * 24 * 3600.0
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtpe]?)(i?)b?", re.IGNORECASE)
MOST_BYTES = 2.0**63
_SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def check(trigger: pfs_pb2.Trigger) -> None:
    """Raises Refused where a trigger can't be understood."""
    if not trigger.branch:
        raise Refused("triggers must specify a branch to trigger on")
    if trigger.size:
        _size(trigger.size)
    if trigger.commits < 0:
        raise Refused("can't trigger on a negative number of commits")
    for kind, spec in (("cron", trigger.cron_spec), ("rate limit", trigger.rate_limit_spec)):
        if spec:
            try:
                check_cron(spec)
            except Refused as error:
                raise Refused(f"invalid trigger {kind} spec: {error.message}") from error


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise Refused(f"invalid trigger size: invalid size: '{text}'")
    power = " kmgtpe".index(match[2].lower() or " ")
    return int(min(float(match[1]), MOST_BYTES) * (1024 if match[3] else 1000) ** power)


def check_cron(spec: str) -> None:
    """Raises Refused unless `spec` is a cron schedule: five fields, a shorthand such as `@daily`, or `@every 10s`."""
    if spec.startswith("@"):
        if spec in _SHORTHANDS or spec == "@never" or every_seconds(spec):
            return
        raise Refused(f"Unrecognized descriptor: {spec}")
    fields = len(spec.split())
    if fields != 5:
        raise Refused(f"Expected exactly 5 fields, found {fields}: {spec}")
    try:
        _cron(spec, datetime.now(UTC))
    except CronSimError as error:
        raise Refused(f"{error}: {spec}") from error


def _cron(spec: str, start: datetime) -> CronSim:
    """The moments of a schedule, in which `?` is `*`."""
    return CronSim(re.sub(r"(?<!\S)\?", "*", spec), start)


def every_seconds(spec: str) -> float | None:
    """The seconds of `@every 1h30m`; None where it is no such schedule, or so often or seldom that it is none."""
    match = re.fullmatch(r"@every\s+((?:\d+(?:\.\d+)?(?:ms|h|m|s))+)", spec)
    if not match:
        return None
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    seconds = sum(float(n) * units[u] for n, u in re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", match[1]))
    return seconds if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS else None


def next_time(spec: str, after: int) -> int | None:
    """The first moment of a schedule later than `after`, both in microseconds since 1970; None for `@never`."""
    if spec == "@never":
        return None
    seconds = every_seconds(spec)
    if seconds:
        return after + int(seconds * 1_000_000)
    start = datetime.fromtimestamp(after / 1_000_000, tz=UTC)
    moment = next(_cron(_SHORTHANDS.get(spec, spec), start), None)
    return int(moment.timestamp() * 1_000_000) if moment else None


def fires(trigger: pfs_pb2.Trigger, size: int, commits: int, since: int, moment: int) -> bool:
    """Whether enough has happened: `size` bytes and `commits` commits more than at the branch's head of time `since`."""
    results = []
    if trigger.size:
        results.append(size >= _size(trigger.size))
    if trigger.commits:
        results.append(commits >= trigger.commits)
    for spec in (trigger.cron_spec, trigger.rate_limit_spec):
        if spec:
            due = next_time(spec, since)
            results.append(due is not None and due <= moment)
    if not results:
        return True
    return all(results) if trigger.all else any(results)
