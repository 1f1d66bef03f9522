"""Where localpach answers otherwise than the recorded Pachyderm, and why.

Each exception names steps (a regular expression on `section/step`), paths in the answer, and its reason. What a machine
that is faster has got further with is told by `replay`, not here.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Meant(NamedTuple):
    """Differences that are meant."""

    steps: str
    paths: str
    reason: str


EXCEPTIONS = [
    Meant("00-admin/version", r"response\.go_version", "localpach is not written in Go"),
    Meant("00-admin/inspect_cluster", r"response\.deployment_id", "it names the deployment: localpach"),
    Meant(".*", r".*\.image_id", "the process runtime has no container image to give the digest of"),
    Meant(
        "0[5-9]-.*|1[0-3]-.*",
        r".*(size_bytes|size_bytes_upper_bound|upload_bytes|download_bytes)",
        "the meta repo keeps a datum's description, but no second copy of its files; and one pipeline writes its"
        " environment, which lacks the variables of Kubernetes, etcd and Postgres, to its output",
    ),
    Meant("05-pipeline/(walk|glob|get) meta.*", r"response.*", "as above: what the meta repo keeps"),
    Meant(
        "05-pipeline/(list_file out GoT_train|list_datum generate|get env)|07-update/list_file out",
        r"response\[0\](\.hash|\.data\[0\]\.hash)?",
        "as above: the file env.txt and the directory that holds it",
    ),
    Meant(
        ".*/logs of .*|.*/logs follow.*",
        r"response\[\d+\]\.message",
        "stdout and stderr are two streams in Pachyderm, whose order is chance; here they are one, in the order written",
    ),
    Meant("05-pipeline/logs of job tail 3", "response", "2.7.6 without Loki loses what `tail` asks for; we give it"),
    Meant("05-pipeline/logs master", "response", "there is no master process, whose steps these messages tell"),
    Meant(
        "06-spec-errors/(bad glob|inspect accepted bad6|jobs of accepted bad6)",
        ".*",
        "what is no glob is refused when the spec comes, with the field's name, rather than by a job that fails",
    ),
    Meant("09-fail/inspect crashing", r"response\.reason", "the reason says how to get the image here"),
    Meant(
        "11-inputs/logs",
        "response.*",
        "the user's code prints its environment and a listing of /pfs, with the names of Pachyderm's scratch folders",
    ),
    Meant("13-delete/squash set with jobs", "details", "Pachyderm lists the commit sets in the order of a hash map"),
]


def excepted(step: str, difference: str) -> Meant | None:
    """The exception that a difference, told as `path: …`, falls under."""
    path = difference.partition(": ")[0]
    for meant in EXCEPTIONS:
        if re.fullmatch(meant.steps, step) and re.fullmatch(meant.paths, path):
            return meant
    return None


# The same for random operations, by `seed/number rpc`.
OPERATIONS = [
    Meant(
        r".* pfs\.(InspectCommitSet|ListCommit|InspectCommit)",
        r"response(\[\d+\])?<meta>\.details\.size_bytes",
        "a datum's description has no image's digest here, and beside it lie no copies of its files and of the worker's"
        " environment, whose variables are those of a cluster",
    ),
    Meant(
        r"8/12 pps\.ListDatum",
        "details",
        "where the branches of two inputs are missing, which one is told is a matter of moments there; the first here",
    ),
    Meant(
        r"11/(4 pfs\.FinishCommit|8 pps\.ListJob)",
        r"details|response\[0\]\..*",
        "the recorded server was slow: a job that nothing holds up was still running",
    ),
    Meant(
        r"7/(31 pps\.InspectJobSet|38 pfs\.ListFile)",
        "response.*",
        "the job of a pipeline that a transaction updated never began on 2.7.6; it does here",
    ),
    Meant(
        r"22/45 pps\.InspectJob",
        "code",
        "a client gave a pipeline's output another provenance: 2.7.6 makes a job that never begins; here none is made",
    ),
    Meant(
        r"15/41 pps\.ListDatum",
        r"response\[1\]\.data\[0\]\.size_bytes",
        "once its last good job is deleted 2.7.6 appends a pipeline's output to the old one; here it is written anew",
    ),
]


def excepted_operation(step: str, path: str) -> Meant | None:
    """The exception that a difference at a path of an operation's answer falls under."""
    found = (each for each in OPERATIONS if re.fullmatch(each.steps, step) and re.fullmatch(each.paths, path))
    return next(found, None)
