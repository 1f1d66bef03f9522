"""The filter of system calls that commands run under, as the program that seccomp(2) takes.

Refused is what no data processing needs and what has led out of sandboxes: mounts, namespaces, tracing, kernel keys,
programs for the kernel, asynchronous rings that no filter sees into, what a terminal can be made to type.
"""

from __future__ import annotations

import errno
import json
import platform
import socket
import struct
from typing import NamedTuple

# Numbers on x86-64 and on arm64; None where there is no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}


class _Machine(NamedTuple):
    """How the kernel calls an architecture, and the calls that are looked at more closely."""

    audit: int
    column: int
    clone: int
    ioctl: int
    socket: int


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, column=0, clone=56, ioctl=16, socket=41),
    "aarch64": _Machine(audit=0xC00000B7, column=1, clone=220, ioctl=29, socket=198),
}
_CLONE3 = 435
# Calls of x86-64's variant with short pointers have this bit in their number.
_X32 = 0x40000000
# Mount, cgroup, uts, ipc, user, pid and network namespaces.
_CLONE_NAMESPACES = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_LOCAL = (socket.AF_UNIX, socket.AF_NETLINK)
_NETWORK = (socket.AF_INET, socket.AF_INET6)
# More than there are.
_FAMILIES = 64

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets in struct seccomp_data; of an argument its low half, on these machines that comes first.
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def program(network: bool = True, machine: str | None = None) -> bytes:
    """The filter for a machine's architecture, by default this one's; without `network` there is none by other means,
    either. Empty where we do not know the architecture's numbers."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return b""
    families = (*_LOCAL, *(_NETWORK if network else ()))
    refused = [numbers[known.column] for numbers in _CALLS.values()]
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, known.audit, 1, 0),
        _refuse(errno.ENOSYS),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, 0, 1),
        _refuse(errno.ENOSYS),
        # The C library asks the older clone, whose flags can be seen, where this one is not there.
        _step(_EQUAL, _CLONE3, 0, 1),
        _refuse(errno.ENOSYS),
    ]
    for number in refused:
        if number is not None:
            steps += [_step(_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    steps += [
        _step(_EQUAL, known.clone, 0, 4),
        _step(_LOAD, _FIRST),
        _step(_ANY_BIT, _CLONE_NAMESPACES, 0, 1),
        _refuse(errno.EPERM),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, known.ioctl, 0, 5),
        _step(_LOAD, _SECOND),
        _step(_EQUAL, _TIOCSTI, 1, 0),
        _step(_EQUAL, _TIOCLINUX, 0, 1),
        _refuse(errno.EPERM),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, known.socket, 0, 2 + len(families)),
        _step(_LOAD, _FIRST),
        *(_step(_EQUAL, family, len(families) - at, 0) for at, family in enumerate(families)),
        _refuse(errno.EAFNOSUPPORT),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def docker_profile() -> str:
    """The same for Docker, in the words of its profiles."""

    def refuse(names: list[str], number: int, *compare: tuple[int, int, int]) -> dict[str, object]:
        """Calls where an argument, under a mask, is a value: each as (argument, mask, value)."""
        args = [
            {"index": at, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"} for at, mask, value in compare
        ]
        return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": args}

    half = 0xFFFFFFFF
    kinds = [1 << bit for bit in range(32) if _CLONE_NAMESPACES >> bit & 1]
    others = set(range(_FAMILIES)) - {*_LOCAL, *_NETWORK}
    rules = [
        refuse(sorted(_CALLS), errno.EPERM),
        refuse(["clone3"], errno.ENOSYS),
        *(refuse(["clone"], errno.EPERM, (0, kind, kind)) for kind in kinds),
        *(refuse(["ioctl"], errno.EPERM, (1, half, request)) for request in (_TIOCSTI, _TIOCLINUX)),
        *(refuse(["socket"], errno.EAFNOSUPPORT, (0, half, family)) for family in sorted(others)),
    ]
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
