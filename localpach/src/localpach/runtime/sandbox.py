"""Runs commands in namespaces of their own, with given folders at given places; a program of its own, without imports
from the rest, which forks for each command.

usage: python sandbox.py FD, where the file descriptor FD is a socket on which each request is one message that brings
four file descriptors: the request itself, as JSON, the command's input, its output, and where its wait status is written
to, as decimal digits. The answer is the sandbox's process id with a descriptor of it. A request has
  new_root: an empty folder, or null to run without namespaces
  covers: folders of this machine in whose place are empty ones, with nothing but the binds
  binds: [[source, target, read_only], …], targets absolute; a read-only bind may lie within a writable one. A source that
    is its own target leaves its surroundings as they are
  cmd, env, cwd: what to run
  user: [uid, gid] to run it as, or null

The command dies with its sandbox, that with this program, and this program with who holds the other end of the socket.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import sys
from types import FrameType

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
# A remount in a user namespace must keep the flags that the mount has; these are the usual ones.
MS_LOCKED = 2 | 4 | 8 | 1024 | 2048 | (1 << 21)
ST_TO_MS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
PR_SET_PDEATHSIG = 1
NOT_RUN = 127

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raises OSError for a failed call."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    encoded = [text.encode() if text is not None else None for text in (source, target, kind)]
    check(libc.mount(*encoded, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def die_with_parent(number: int) -> None:
    """Asks for a signal when the parent ends."""
    check(libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def enter_namespaces(user: list[int] | None) -> None:
    """A mount and a pid namespace; where we are not allowed to otherwise one for users before them, in which we are
    `user`."""
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNS | CLONE_NEWPID) == 0:
        return
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID), "unshare")
    seen = user or [uid, gid]
    for name, text in (("setgroups", "deny"), ("uid_map", f"{seen[0]} {uid} 1"), ("gid_map", f"{seen[1]} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)


def build_root(new_root: str, covers: list[str], binds: list[tuple[str, str, bool]]) -> None:
    """This machine's files below `new_root`, with the binds in their places, and makes it the root."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", new_root, "tmpfs", 0, "mode=755")
    own = {target.split("/")[1] for source, target, _ in binds if source != target}
    for item in os.scandir("/"):
        place = f"{new_root}/{item.name}"
        if item.name in own or item.name == "proc":
            continue
        if item.is_symlink():
            os.symlink(os.readlink(item.path), place)
        elif item.is_dir():
            os.mkdir(place)
            mount(item.path, place, None, MS_BIND | MS_REC)
        elif item.is_file():
            os.close(os.open(place, os.O_CREAT))
            mount(item.path, place, None, MS_BIND)
    os.mkdir(f"{new_root}/proc")
    for folder in covers:
        mount("tmpfs", new_root + folder, "tmpfs", 0, "mode=755")
    for source, target, read_only in binds:
        place = new_root + target
        if os.path.isdir(source):
            os.makedirs(place, exist_ok=True)
        elif not os.path.exists(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT))
        mount(source, place, None, MS_BIND | MS_REC)
        if read_only:
            has = os.statvfs(place).f_flag
            kept = sum(flag for bit, flag in ST_TO_MS.items() if has & bit)
            mount("none", place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
    try:
        mount("proc", f"{new_root}/proc", "proc", 0)
    except OSError:
        # Some containers forbid a fresh /proc: then the old one shows processes that can't be reached.
        mount("/proc", f"{new_root}/proc", None, MS_BIND | MS_REC)
    os.chroot(new_root)
    os.chdir("/")


def execute(request: dict[str, object]) -> None:
    """Becomes the command; when that can't be, says so where the command would have and leaves with 127."""
    cmd, env, cwd = request["cmd"], request["env"], str(request["cwd"]) or "/"
    name = f"in {cwd}"
    try:
        os.chdir(cwd)
        name = str(cmd[0])  # type: ignore[index]
        become(request["user"])  # type: ignore[arg-type]
        die_with_parent(signal.SIGKILL)
        find_and_become(name, cmd, env)  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        os.write(2, f"can't run {name}: {why}\n".encode(errors="replace"))
    os._exit(NOT_RUN)


def find_and_become(name: str, cmd: list[str], env: dict[str, str]) -> None:
    """os.execvpe, which would import more of Python first: `user` may not be allowed to read that."""
    if "/" in name:
        os.execve(name, cmd, env)
    failure: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in env.get("PATH", os.defpath).split(":"):
        try:
            os.execve(f"{folder}/{name}", cmd, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failure = error
    raise failure


def become(user: list[int] | None) -> None:
    """Drops to `user`, unless a namespace has made us that one."""
    if user and user != [os.getuid(), os.getgid()]:
        os.setgroups([])
        os.setgid(user[1])
        os.setuid(user[0])


def reap(child: int) -> int:
    """Waits for `child`, and for orphans that fall to us meanwhile; gives the child's wait status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return status


def as_init(request: dict[str, object]) -> None:
    """The first process of the pid namespace: everything in it ends with it."""
    build_root(str(request["new_root"]), request["covers"], request["binds"])  # type: ignore[arg-type]
    child = os.fork()
    if child == 0:
        execute(request)
    status = reap(child)
    os.write(int(str(request["status"])), str(status).encode())
    os._exit(0)


def run(parent: int, request: dict[str, object]) -> None:
    """One request, in a process of its own."""
    os.setsid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the server has ended")
    if request["new_root"]:
        try:
            enter_namespaces(request["user"])  # type: ignore[arg-type]
            child = os.fork()
            if child == 0:
                die_with_parent(signal.SIGKILL)
                os.setsid()
                as_init(request)
        except OSError as error:
            sys.exit(f"no namespaces: {error}")
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        sys.exit(1 if reap(child) else 0)
    child = os.fork()
    if child == 0:
        execute(request)

    def end_group(number: int, frame: FrameType | None) -> None:
        os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end_group)
    os.write(int(str(request["status"])), str(reap(child)).encode())
    # What the command left behind ends with it.
    os.killpg(0, signal.SIGKILL)


def bury(number: int, frame: FrameType | None) -> None:
    """Takes note of sandboxes that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def serve(door: socket.socket) -> None:
    """Forks for each request until nobody can send more."""
    own = os.getpid()
    signal.signal(signal.SIGCHLD, bury)
    while True:
        message, (*given,), _, _ = socket.recv_fds(door, 1, 4)
        if not message:
            return
        # Until its descriptor is open a sandbox that has ended must not be forgotten.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        child = os.fork()
        if child == 0:
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            letter, stdin, output, status = given
            for descriptor, place in ((stdin, 0), (output, 1), (output, 2)):
                os.dup2(descriptor, place)
            os.close(stdin)
            os.close(output)
            # The command must neither hold it open nor write to it.
            os.set_inheritable(status, False)
            with open(letter) as stream:
                stream.seek(0)
                request = json.load(stream)
            run(own, {**request, "status": status})
        handle = os.pidfd_open(child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        try:
            socket.send_fds(door, [str(child).encode()], [handle])
        except BrokenPipeError:
            return
        for descriptor in (*given, handle):
            os.close(descriptor)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
