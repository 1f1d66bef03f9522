"""What is served to commands alone, at ports of their own loopback."""

from __future__ import annotations

from functools import partial

from localpach.api.bodies import Bodies
from localpach.api.files import FilesServicer
from localpach.api.pfs import PfsServicer
from localpach.api.s3.job import JobGateway
from localpach.api.spout import serve_spout
from localpach.api.worker import serve_worker
from localpach.pfs.service import Pfs
from localpach.pps.tools import Served


def served(pfs: Pfs, bodies: Bodies) -> Served:
    """All that is."""
    spout = partial(serve_spout, [PfsServicer(pfs), FilesServicer(pfs)], bodies)
    return Served(partial(JobGateway, pfs), serve_worker, spout)
