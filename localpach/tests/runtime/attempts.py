"""What a command tries in order to get out of its sandbox: each attempt prints ESCAPED where it has.

They run with a few things in their environment: ROOT is the data directory, SERVER and PREFECT are ports on the loopback
of the machine, PID is the server's process, HOST_HOME the home of who serves, ABSTRACT a socket's name, AGENT a socket's
path, OUTSIDE a folder that everybody may write to, STRANGER a process of the same user.
"""

from __future__ import annotations

_SYSCALL = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def call(x86, arm, *args):
    return libc.syscall(arm if platform.machine() == "aarch64" else x86, *args)
"""


def _python(code: str) -> str:
    return f"python3 - <<'END'\n{_SYSCALL}\n{code}\nEND"


def _if(command: str) -> str:
    return f"({command}) && echo ESCAPED"


def _call(x86: int, arm: int, *args: str) -> str:
    """A system call that must fail."""
    return _python(f"if call({', '.join(map(str, (x86, arm, *args)))}) >= 0: print('ESCAPED')")


# What is asked of the kernel or the machine, with nothing left behind.
QUIET = {
    "read the token": _if('cat "$ROOT/token"'),
    "read the database": _if('cat "$ROOT/metadata.sqlite"'),
    "read the objects": _if('cat "$ROOT"/objects/*/*'),
    "write the objects": _if('for o in "$ROOT"/objects/*/*; do chmod u+w "$o" && echo x >> "$o" || exit 1; done'),
    "list the data directory": _if('test -n "$(ls -A "$ROOT")"'),
    "read the jobs' logs": _if('cat "$ROOT"/logs/*/*'),
    "read other jobs' folders": _if('ls "$ROOT"/work/*'),
    "write into the data directory": _if('touch "$ROOT/x"'),
    "read the home": _if('test -n "$(ls -A "$HOST_HOME")" && test "$HOST_HOME" != "$HOME"'),
    "write the home": _if('touch "$HOST_HOME/.bashrc" && test "$HOST_HOME" != "$HOME"'),
    "read ssh keys": _if('cat "$HOST_HOME"/.ssh/*'),
    "read the passwords": _if("cat /etc/shadow"),
    "write to /etc": _if("echo x >> /etc/passwd || touch /etc/x"),
    "write to /usr": _if("touch /usr/x /usr/bin/x"),
    "write to the root": _if("touch /x || mkdir /y"),
    "write where all may": _if('touch "$OUTSIDE/x"'),
    "find sockets in /run": _if('test -n "$(find /run /var/run -type s 2>/dev/null)"'),
    "ask the ssh agent": _python(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ntry: s.connect(os.environ['AGENT']); print('ESCAPED')\n"
        "except OSError: pass"
    ),
    "have the agent's address": _if('test -n "$SSH_AUTH_SOCK"'),
    "have the server's environment": _if("env | grep -q planted-in-the-environment"),
    "read /proc/1/environ": _if("grep -qa planted-in-the-environment /proc/1/environ"),
    "read secrets in /proc/1/cmdline": _if("grep -qa -e planted -e token /proc/1/cmdline"),
    "read all environments": _if("cat /proc/[0-9]*/environ | grep -qa planted-in-the-environment"),
    "see the server's process": _if('grep -qa localpach "/proc/$PID/cmdline"'),
    "see other processes": _if("test $(ls -d /proc/[0-9]* | wc -l) -gt 12"),
    "signal the server": _if('kill -0 "$PID" && grep -qa localpach "/proc/$PID/cmdline"'),
    "signal the user's processes": _if('kill -TERM "$STRANGER" && grep -qa 4711 "/proc/$STRANGER/cmdline"'),
    "trace itself": _call(101, 117, "0", "0", "0", "0"),
    "trace PID 1": _call(101, 117, "16", "1", "0", "0"),
    "read memory of others": _python(
        "b = ctypes.create_string_buffer(8)\n"
        "iov = (ctypes.c_void_p * 2)(ctypes.addressof(b), 8)\n"
        "if call(310, 270, 1, iov, 1, iov, 1, 0) >= 0: print('ESCAPED')"
    ),
    "open PID 1's files": _if(
        "ls -l /proc/1/fd/ | grep -e '> /' | grep -qv -e /dev/null -e /pfs"
        ' || { root=$(stat -Lc %d:%i /proc/1/root/) && [ "$root" != "$(stat -c %d:%i /)" ]; }'
    ),
    "connect to localpach": _python(
        "import socket\ntry: socket.create_connection(('127.0.0.1', int(os.environ['SERVER'])), 2); print('ESCAPED')\n"
        "except OSError: pass"
    ),
    "connect to another local server": _python(
        "import socket\ntry: socket.create_connection(('127.0.0.1', int(os.environ['PREFECT'])), 2); print('ESCAPED')\n"
        "except OSError: pass"
    ),
    "connect by IPv6": _python(
        "import socket\ntry: socket.create_connection(('::1', int(os.environ['PREFECT'])), 2); print('ESCAPED')\n"
        "except OSError: pass"
    ),
    "connect outside": _python(
        "import socket\nfor where in ('1.1.1.1', '10.0.0.1', '169.254.169.254'):\n"
        "    try: socket.create_connection((where, 80), 1); print('ESCAPED')\n    except OSError: pass"
    ),
    "resolve a name": _if("timeout 2 getent ahostsv4 example.com"),
    "see the machine's interfaces": _if("test $(tail -n +3 /proc/net/dev | grep -vc ' *lo:') -gt 0"),
    "connect to an abstract socket": _python(
        "import socket\ns = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect('\\0' + os.environ['ABSTRACT']); print('ESCAPED')\nexcept OSError: pass"
    ),
    "connect to the hypervisor": _python(
        "import socket\ntry: socket.socket(40, socket.SOCK_STREAM); print('ESCAPED')\nexcept OSError: pass"
    ),
    "open a raw socket": _python(
        "import socket\nfor family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):\n"
        "    try: socket.socket(family, kind, 1); print('ESCAPED')\n    except OSError: pass"
    ),
    "mount": _if("mkdir -p /tmp/m; mount -t tmpfs none /tmp/m"),
    "mount by the new calls": _call(430, 430, "b'tmpfs'", "0"),
    "copy a mount": _call(428, 428, "-100", "b'/etc'", "1"),
    "remount the root": _if("mount -o remount,rw /"),
    "remount the inputs": _if("mount -o remount,rw /pfs"),
    "unmount": _if("umount -l /pfs/out || umount -l /proc"),
    "change the root": _if("chroot / true"),
    "make a user namespace": _if("unshare -r true || unshare -U true"),
    "make one by clone": _call(56, 220, "0x10000000 | 17", "0", "0", "0", "0").replace(
        "print", "os.getppid() and print"
    ),
    "make a network namespace": _call(272, 97, "0x40000000"),
    "enter a namespace": _python(
        "f = os.open('/proc/1/ns/mnt', os.O_RDONLY) if os.path.exists('/proc/1/ns/mnt') else 0\n"
        "if call(308, 268, f, 0) >= 0: print('ESCAPED')"
    ),
    "become another user": _python("try: os.setuid(65534); os.setgroups([0]); print('ESCAPED')\nexcept OSError: pass"),
    "have capabilities": _if("grep -E '^Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | grep -qv 0000000000000000"),
    "gain privileges": _if("grep -q 'NoNewPrivs:.0' /proc/self/status || su -c true || sudo -n true"),
    "make a device node": _if("mknod /tmp/disk b 254 0 || mknod /pfs/out/mem c 1 1"),
    "open the machine's devices": _if("ls /dev | grep -E '^([sv]da|nvme|mem|kmsg|kvm|loop|net|fuse|vsock)'"),
    "make a file of another user": _if("cp /bin/true /tmp/t; chown 12345 /tmp/t"),
    "chattr": _if("touch /tmp/i; chattr +i /tmp/i"),
    "set the core pattern": _if("echo '|/tmp/x' > /proc/sys/kernel/core_pattern"),
    "write to /proc/sys": _if("echo 1 > /proc/sys/kernel/panic || echo b > /proc/sysrq-trigger"),
    "write to /sys": _if(
        'test -n "$(find /sys -type f -writable 2>/dev/null | head -1)" && echo 0 > /sys/kernel/uevent_seqnum'
    ),
    "read the kernel's log": _if("dmesg"),
    "use keyrings": _call(250, 219, "0", "-3", "1"),
    "add a key": _call(248, 217, "b'user'", "b'k'", "b'v'", "1", "-3"),
    "load a program into the kernel": _call(321, 280, "0", "0", "0"),
    "watch performance": _call(298, 241, "0", "0", "-1", "-1", "0"),
    "handle page faults": _call(323, 282, "0"),
    "make a ring": _call(425, 425, "8", "b'\\0' * 120"),
    "open by handle": _call(304, 265, "-100", "b'\\0' * 128", "0"),
    "load a kernel": _call(246, 104, "0", "0", "0", "0"),
    "type into a terminal": _python(
        "import fcntl, pty\nm, s = pty.openpty()\ntry: fcntl.ioctl(s, 0x5412, b'x'); print('ESCAPED')\nexcept OSError: pass"
    ),
    "type by a request of another length": _python(
        "import pty\nm, s = pty.openpty()\n"
        "if libc.ioctl(s, ctypes.c_ulong(0x5412 | 1 << 40), b'x') == 0: print('ESCAPED')"
    ),
    "have a terminal": _if("true < /dev/tty"),
    "have more open than its streams": _if(
        'test -n "$(ls /proc/$$/fd | grep -v -e 0 -e 1 -e 2)" && test -e /proc/$$/fd/100'
    ),
    "set the host's name": _if("hostname escaped"),
    "set the clock": _if("date -s 2001-01-01"),
    "link hard to what is not its own": _if("ln /etc/passwd /pfs/out/p || ln /etc/passwd /tmp/p"),
    "see System V memory": _if("test $(tail -n +2 /proc/sysvipc/shm | wc -l) -gt 0"),
}

# What ends as a failed job with a sentence: a part of its reason or of a line of its log.
ENDED = {
    "a fork bomb": ("bomb() { bomb | bomb & }; bomb; sleep 600", "context deadline exceeded|out of memory|exit status"),
    "a memory bomb": ("python3 -c 'x = [bytearray(10**6 * 8) for _ in range(10**6)]'", "out of memory"),
    "out replaced by a link": ('mv /pfs/out /pfs/old; ln -s "$OUTSIDE" /pfs/out; true', "/pfs/out"),
    "out made a file": ("rm -rf /pfs/out; echo x > /pfs/out", "exit status"),
    "a link that leaves": (
        'ln -s "$OUTSIDE/precious" /pfs/out/x',
        "only links to inputs and to the command.s own|there is nothing",
    ),
    "a link to /etc": (
        "ln -s /etc/passwd /pfs/out/x",
        "only links to inputs and to the command.s own|there is nothing",
    ),
    "a link by dots": (
        "ln -s ../../../../../etc/passwd /pfs/out/x",
        "only links to inputs and to the command.s own|there is nothing",
    ),
    "a link to a folder outside": (
        'ln -s "$OUTSIDE" /pfs/out/d',
        "only links to inputs and to the command.s own|there is nothing",
    ),
    "a link to the token": (
        'ln -s "$ROOT/token" /pfs/out/x',
        "only links to inputs and to the command.s own|there is nothing",
    ),
    "a link through /proc": (
        "ln -s /proc/1/root/etc/passwd /pfs/out/x",
        "only links to inputs and to the command.s own|there is nothing",
    ),
    "links in a circle": ("cd /pfs/out; ln -s a b; ln -s b a", "leads to no end"),
    "a link to itself": ("ln -s x /pfs/out/x", "leads to no end"),
    "a link to where it is": ("mkdir /pfs/out/d; ln -s .. /pfs/out/d/up", "it has no end"),
    "a link to nothing": ("ln -s /pfs/in/nothing /pfs/out/x", "there is nothing"),
    "links that multiply": (
        "cd /tmp; mkdir d0; touch d0/f; for i in $(seq 1 30); do mkdir d$i; ln -s ../d$((i-1)) d$i/a;"
        " ln -s ../d$((i-1)) d$i/b; done; ln -s /tmp/d30 /pfs/out/all",
        "links on its way",
    ),
    "many links": (
        "cd /tmp; mkdir d e; touch $(seq -f d/%g 400); cd e;"
        " python3 -c \"import os; [os.symlink('../d', str(i)) for i in range(300)]\"; ln -s /tmp/e /pfs/out/e",
        "lead to more than",
    ),
    "a name that is no text": ("touch \"/pfs/out/$(printf '\\377\\376')\"", "only printable ASCII"),
    "a pipe": ("mkfifo /pfs/out/pipe", "neither a file nor a directory"),
    "a socket": (
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('/pfs/out/s')\"",
        "neither a file nor a directory",
    ),
    "1,500 levels": (
        "python3 -c \"import os\nos.chdir('/pfs/out')\nfor i in range(1500): os.mkdir('d'); os.chdir('d')\n"
        "open('f', 'w').write('x')\"",
        "directories deep",
    ),
}

# What works, and is all the command's own.
FINE = {
    "files without modes": ("cd /pfs/out; mkdir d; echo 1 > d/f; chmod 0 d/f d", {"/d/f": b"1\n"}),
    "two names of a file": ("cd /pfs/out; echo 1 > a; ln a b", {"/a": b"1\n", "/b": b"1\n"}),
    "inputs changed": (
        "cd /pfs/in; mv a /pfs/out/a; echo y > new; rm -rf d; mkdir d; cp new /pfs/out/; test ! -e /pfs/in/d/x",
        {"/a": b"one\n", "/new": b"y\n"},
    ),
    "an input written to": ("echo two >> /pfs/in/a; cp /pfs/in/a /pfs/out/", {"/a": b"one\ntwo\n"}),
    "links to inputs": (
        "ln -s /pfs/in/a /pfs/out/x; ln -s ../in/d /pfs/out/d; ln -s /pfs/in/big /pfs/out/big",
        {"/x": b"one\n", "/d/x": b"below\n", "/big": b"0" * 100_000},
    ),
    "links to changed inputs": (
        "rm /pfs/in/d/x; echo n > /pfs/in/d/y; ln -s /pfs/in/d /pfs/out/d; ln -s /pfs/in/a /pfs/out/a; echo z > /pfs/in/a",
        {"/d/y": b"n\n", "/a": b"z\n"},
    ),
    "links to its own files": (
        "echo t > /tmp/t; echo h > ~/h; ln -s /tmp/t /pfs/out/t; ln -s ~/h /pfs/out/h; ln -s t /pfs/out/u; ln -s t /tmp/s;"
        " ln -s /tmp/s /pfs/out/s",
        {"/t": b"t\n", "/h": b"h\n", "/u": b"t\n", "/s": b"t\n"},
    ),
    "leftover processes": ("setsid sleep 4711.4711 & sleep 4711.4711 & echo 1 > /pfs/out/a", {"/a": b"1\n"}),
}
