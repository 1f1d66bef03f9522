"""Running a service's command on a commit, until it is killed."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from localpach.clock import elapsed
from localpach.disk import remove_tree
from localpach.errors import Refused
from localpach.pps.commands import Pauses
from localpach.pps.datum import DatumRun
from localpach.proto import pps_pb2
from localpach.relay import Relay
from localpach.runtime.interface import RunSpec
from localpach.runtime.layout import Layout
from localpach.waiting import Deadline


class ServiceRun(DatumRun):
    """The one datum of a service: a port of this machine's loopback leads to its command."""

    def serve(self) -> None:
        """Runs the command again and again until it is killed."""
        transform = self._spec.details.transform
        layout = Layout(Path(tempfile.mkdtemp(dir=self._tools.runtimes.work)))
        pauses = Pauses()
        try:
            while not self._killed.is_set():
                # An earlier command may have changed the inputs themselves.
                self._lay_out(layout)
                layout.begin_try()
                start = elapsed()
                with closing(listen(self._spec.details.service, self._say)) as self._listener:
                    self._run_command("user code", transform.cmd, transform.stdin, layout, Deadline(None))
                self._killed.wait(pauses.after(elapsed() - start))
        finally:
            remove_tree(layout.view.parent)

    def _run_spec(self, cmd: Sequence[str], stdin: Sequence[str], layout: Layout, deadline: Deadline) -> RunSpec:
        spec = super()._run_spec(cmd, stdin, layout, deadline)
        return reached(spec, self._spec.details.service, self._listener)


def listen(service: pps_pb2.Service, say: Callable[[str], None]) -> socket.socket:
    """A socket that listens at a service's port of this machine's loopback, which `say` is told of."""
    port = service.external_port
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise Refused(f"service.external_port: port {port} of 127.0.0.1 is taken; choose another") from error
    say(f"the service is at 127.0.0.1:{listener.getsockname()[1]}")
    return listener


def reached(spec: RunSpec, service: pps_pb2.Service, listener: socket.socket) -> RunSpec:
    """What to run, with the way from there to its command."""
    return replace(spec, reach=partial(Relay, listener), reach_port=service.internal_port)
