"""Starts commands, each under limits; a program of its own, without imports from the rest, which forks for each.

usage: python starter.py FD [staged], where the file descriptor FD is a socket on which each request is one message that brings
file descriptors: the request itself, as JSON, the command's input, its output, where its end is told, and, where it has a
port, a socket to which one is sent that listens there, or connections are. The answer
is the process id of the command's keeper with a descriptor of it. The keeper ends when nothing of the command is left.
A request has
  argv, env, cwd: what to run
  user: [uid, gid] to become, or null
  processes: how many processes and threads it may have
  files: contents, in base64, to be found at the descriptors from FIRST_FILE on
  boxed: whether it is bwrap, which tells its end at the descriptor STATUS and begins when told to
  filter: a program for seccomp(2), in base64, to run under
  port: null, or where on a sandbox's own loopback somebody listens
  dial: null, or a port of that loopback to which a connection is made for each byte that comes by the socket, and sent there;
    a byte alone says that there is none
  network: null, or a command that connects the process whose id is put in place of PID, and tells so at READY

A keeper dies with this program, what it keeps with it, and this program with who holds the other end of the socket or,
staged, with its parent.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import warnings  # noqa: F401 (os.execvpe would import it when we are somebody who may not read it)
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 36, 38
CAPABILITIES = 64
# Of setns(2) and ioctl_ns(2).
CLONE_NEWUSER, CLONE_NEWNET, NS_GET_USERNS = 0x10000000, 0x40000000, 0xB701
SECCOMP_MODE_FILTER = 2
STATUS, INFO, GO, READY, FIRST_FILE = 100, 101, 102, 103, 110
NOT_RUN = 127
DIAL_SECONDS = 5

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, first: Any, second: Any = 0) -> None:
    """prctl(2)."""
    if libc.prctl(option, first, second, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def run_under(filter: bytes) -> None:
    """Has the kernel refuse what a filter does, to us and all that we start; what is executed has no capabilities."""
    for capability in range(CAPABILITIES):
        # It refuses numbers that it does not have, and who has none to drop.
        with suppress(OSError):
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(_Program(len(filter) // 8, filter)))


def limit_processes(processes: int, pid: int = 0) -> None:
    """So many processes and threads for whom the process runs as, in its namespace of users; 0 is ourselves."""
    most = resource.prlimit(pid, resource.RLIMIT_NPROC)[1]
    processes = processes if most == resource.RLIM_INFINITY else min(processes, most)
    resource.prlimit(pid, resource.RLIMIT_NPROC, (processes, processes))


def limit() -> None:
    """No core dumps, and first to go when the machine's memory ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def become(user: list[int]) -> None:
    """Drops to a user."""
    os.setgroups([])
    os.setgid(user[1])
    os.setuid(user[0])


def lay(files: list[str]) -> None:
    """Has each content where the command reads it from."""
    for at, text in enumerate(files):
        handle = os.memfd_create("file")
        os.write(handle, base64.b64decode(text))
        os.lseek(handle, 0, os.SEEK_SET)
        os.dup2(handle, FIRST_FILE + at)
        os.close(handle)


def execute(request: dict[str, Any]) -> None:
    """Becomes the command; when that can't be, says so where the command would have and leaves with 127."""
    name = f"in {request['cwd']}"
    try:
        limit()
        if not request["boxed"]:
            limit_processes(request["processes"])
        os.chdir(request["cwd"])
        name = request["argv"][0]
        lay(request["files"])
        if request["user"]:
            become(request["user"])
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if request["filter"]:
            run_under(base64.b64decode(request["filter"]))
        os.execvpe(name, request["argv"], request["env"])
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        os.write(2, f"can't run {name}: {why}\n".encode(errors="replace"))
    os._exit(NOT_RUN)


def limit_sandbox(request: dict[str, Any], process: int) -> None:
    """The limit holds in the namespace of users that a sandbox has: outside, all that its user runs would count."""
    if not request["user"]:
        limit_processes(request["processes"], process)
        return
    user, group = request["user"]
    # Root may lack CAP_SYS_RESOURCE (in a container, say); who has the same real ids needs none.
    os.setresgid(group, -1, -1)
    os.setresuid(user, -1, -1)
    try:
        limit_processes(request["processes"], process)
    finally:
        os.setresuid(os.geteuid(), -1, -1)
        os.setresgid(os.getegid(), -1, -1)


def let_go(request: dict[str, Any], info: int, go: int, taker: int) -> None:
    """Limits what is in a sandbox, gives it its network, and lets it begin; without one it does not."""
    with open(info) as stream:
        text = stream.read()
    if not text:
        # It has said why where the command would have.
        return
    process = json.loads(text)["child-pid"]
    limit_sandbox(request, process)
    if request["port"]:
        listen(request["port"], process, taker)
    if request["dial"]:
        dial(request["dial"], process, taker)
    if request["network"]:
        connect(request, process)
    os.write(go, b"1")


def listen(port: int, process: int, taker: int) -> None:
    """Listens on a sandbox's loopback, and gives the socket away: it stays there, whoever has it."""
    child = os.fork()
    if child == 0:
        try:
            enter_network(process)
            with socket.create_server(("127.0.0.1", port)) as listener:
                socket.send_fds(socket.socket(fileno=taker), [b"!"], [listener.fileno()])
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise OSError(f"port {port} of its loopback could not be listened at")


def dial(port: int, process: int, taker: int) -> None:
    """Connects to a port of a sandbox's loopback whenever it is asked, and gives the connection away, until it is ended."""
    if os.fork():
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        enter_network(process)
        asking = socket.socket(fileno=taker)
        while asking.recv(1):
            try:
                with socket.create_connection(("127.0.0.1", port), DIAL_SECONDS) as connection:
                    connection.setblocking(True)
                    socket.send_fds(asking, [b"!"], [connection.fileno()])
            except OSError:
                asking.send(b"!")
    finally:
        os._exit(0)


def enter_network(process: int) -> None:
    """Has the network of a sandbox."""
    network = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    if os.geteuid():
        enter(fcntl.ioctl(network, NS_GET_USERNS), CLONE_NEWUSER)
    enter(network, CLONE_NEWNET)


def enter(namespace: int, kind: int) -> None:
    """setns(2)."""
    if libc.setns(namespace, kind):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def connect(request: dict[str, Any], process: int) -> None:
    """Gives a sandbox its network."""
    ready, told = os.pipe()
    if os.fork() == 0:
        os.dup2(told, READY)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        # As who we are: not everybody may have the device that it needs.
        request = {**request, "files": [], "filter": "", "env": {"PATH": os.defpath}, "user": None}
        execute({**request, "argv": [str(process) if word == "PID" else word for word in request["network"]]})
    os.close(told)
    if not os.read(ready, 1):
        raise OSError(f"{request['network'][0]} could not connect it")


def children() -> list[int]:
    """The processes that are ours, orphans among them."""
    own = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]


def end_rest() -> None:
    """Ends all that is left: what loses its parent falls to us."""
    with suppress(ChildProcessError):
        while True:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
            os.wait()


def watch(command: int) -> int:
    """Waits for a command's end, gives its exit code; SIGTERM ends it. A handler alone could come a moment before the wait."""
    signals = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == command:
            return os.waitstatus_to_exitcode(status)
        if not pid and signal.sigwait(signals) == signal.SIGTERM:
            os.kill(command, signal.SIGKILL)


def keep(parent: int, request: dict[str, Any], status: int, taker: int) -> NoReturn:
    """Runs one command to its end, and ends what it leaves; SIGTERM is blocked until there is something to end."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        sys.exit("the server has ended")
    info, info_end = os.pipe()
    go_end, go = os.pipe()
    command = os.fork()
    if command == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        if request["boxed"]:
            os.dup2(status, STATUS)
            os.dup2(info_end, INFO)
            os.dup2(go_end, GO)
        execute(request)

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    os.close(info_end)
    os.close(go_end)
    if request["boxed"]:
        try:
            let_go(request, info, go, taker)
        except (OSError, ValueError) as error:
            os.write(2, f"bwrap: {error}\n".encode())
            os.kill(command, signal.SIGKILL)
    code = watch(command)
    end_rest()
    if not request["boxed"]:
        told = json.dumps({"exit-code": code if code >= 0 else 128 - code}) + "\n"
        os.write(status, told.encode())
    os._exit(0)


def reap(keepers: set[int]) -> None:
    """Forgets keepers that have ended, and ends what a killed one leaves: a sandbox that is being made outlives it."""
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            keepers.discard(pid)
    for pid in children():
        if pid not in keepers:
            os.kill(pid, signal.SIGKILL)


def fork_keeper(given: list[int], control: socket.socket) -> int:
    """Gives the process that keeps a new command."""
    own = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    keeper = os.fork()
    if keeper:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return keeper
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    control.close()
    request_file, stdin, output, status, *taker = given
    for descriptor, place in ((stdin, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, place)
    os.close(stdin)
    os.close(output)
    # The command must neither hold it open nor write to it.
    for descriptor in (status, *taker):
        os.set_inheritable(descriptor, False)
    with open(request_file) as stream:
        stream.seek(0)
        request = json.load(stream)
    keep(own, request, status, *taker or [-1])


def serve(control: socket.socket) -> None:
    """Forks for each request until nobody can send more."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    keepers: set[int] = set()
    ended, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    while True:
        ready, _, _ = select.select([control.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 1 << 16)
            reap(keepers)
            continue
        message, (*given,), _, _ = socket.recv_fds(control, 1, 5)
        if not message:
            return
        keeper = fork_keeper(given, control)
        keepers.add(keeper)
        handle = os.pidfd_open(keeper)
        try:
            socket.send_fds(control, [str(keeper).encode()], [handle])
        except BrokenPipeError:
            return
        for descriptor in (*given, handle):
            os.close(descriptor)


if __name__ == "__main__":
    if sys.argv[2:]:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    serve(socket.socket(fileno=int(sys.argv[1])))
