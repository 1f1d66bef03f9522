"""Ctrl-C goes to who waits for the flow, not to all that the flow has started."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

# Of prctl(2).
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def take_ctrl_c_alone() -> None:
    """Goes on in a process that gets Ctrl-C from this one, which waits for its end and ends what it has left.

    A terminal sends it to all processes that it knows of: to Prefect's temporary server, too, which the flow needs to
    end in an orderly way. Where this process is killed, the other one is terminated.
    """
    prctl = ctypes.CDLL(None).prctl
    waiting = os.getpid()
    # They are waited for: a handler's turn may come just before a wait that nothing else ends.
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != waiting:
            sys.exit(1)
        return
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if (number := signal.sigwait(signals)) != signal.SIGCHLD:
            os.kill(child, number)
    status = os.waitstatus_to_exitcode(ended[1])
    _end_rest(child)
    sys.exit(status if status >= 0 else 128 - status)


def _end_rest(group: int) -> None:
    """Ends what a flow had no time to end, as Prefect's temporary server that was just starting. localpach is meant to
    stay, and has a group of its own."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.killpg(group, signal.SIGKILL)
        while True:
            os.waitpid(-group, 0)
