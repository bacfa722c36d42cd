"""Layers that shut a process in, none of which needs a privilege.

Landlock (which files), seccomp (which calls of the kernel), resource limits, another
user or no capabilities, and no way to gain any. Numbers and structures are those of
Linux' user-space headers; the two machines differ in the numbers of most calls.
"""

import ctypes
import functools
import os
import platform
import resource
import struct
from typing import NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _AMBIENT_CLEAR = 28, 47, 4
_SIGKILL = 9


def _call(number: int, *args) -> int:
    """A system call.

    Raises:
        OSError: it failed.
    """
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result = _LIBC.syscall(ctypes.c_long(number), *converted)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(*args: int) -> None:
    padded = [ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)[:5]]
    if _LIBC.prctl(*padded) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def die_with_parent() -> None:
    """Kills this process when its parent ends; a change of user would undo it."""
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)


# --- users and capabilities ---------------------------------------------------------


def drop_user() -> None:
    """Becomes a user and group nobody has, if root; its own for every process.

    Raises:
        OSError: this system maps no such user.
    """
    become(1_900_000_000 + os.getpid())


def become(number: int) -> None:
    """Changes to a user and group for good.

    Raises:
        OSError: only root can, and not to any.
    """
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)


def drop_capabilities() -> None:
    """Gives up the capabilities of root, and every way to get them back.

    Raises:
        OSError: the kernel refuses.
    """
    # Root gains nothing by being root: NOROOT, NO_SETUID_FIXUP, and both locked.
    _prctl(_PR_SET_SECUREBITS, 0b1111)
    capability = 0
    while True:
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # The kernel knows no higher one.
            break
        capability += 1
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR)
    header = struct.pack("=Ii", 0x20080522, 0)  # version 3, this process
    _call(_machine().capset, header, bytes(24))


# --- files --------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 0b1100  # read a file, list a directory
# How many kinds of access to files each version of Landlock can deny.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


def landlock_version() -> int:
    """The version of Landlock the kernel offers; 0 where it does not."""
    try:
        return _call(_CREATE_RULESET, None, 0, 1)
    except OSError:
        return 0


def restrict_files(readable: list[str]) -> None:
    """Denies every file but those below `readable`, which may be read.

    Newer kernels also deny TCP and signals to processes outside.

    Raises:
        OSError: the kernel refuses.
    """
    rules = file_rules(tuple(readable))
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


@functools.cache
def file_rules(readable: tuple[str, ...]) -> int:
    """A descriptor of Landlock's rules; made once, for all that are forked.

    Raises:
        OSError: the kernel refuses.
    """
    version = landlock_version()
    rights = (1 << _FILE_RIGHTS[min(version, 5)]) - 1
    fields = [rights]
    if version >= 4:
        fields.append(0b11)  # bind and connect TCP
    if version >= 6:
        fields.append(0b11)  # abstract sockets, signals
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    for path in readable:
        below = os.open(path, os.O_PATH | os.O_CLOEXEC)
        _call(_ADD_RULE, rules, 1, struct.pack("=Qi", _READ, below), 0)
        os.close(below)
    return rules


# --- calls of the kernel ------------------------------------------------------------


class _Machine(NamedTuple):
    """Numbers of one machine.

    Attributes:
        audit: its number in seccomp.
        capset, seccomp: numbers of two calls made here.
        calls: name to number of every call that is allowed, some with conditions.
    """

    audit: int
    capset: int
    seccomp: int
    calls: dict[str, int]


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2])}  # noqa: B905


MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        capset=126,
        seccomp=317,
        calls=_table("""
            read 0 write 1 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9
            mprotect 10 munmap 11 brk 12 rt_sigaction 13 rt_sigprocmask 14
            rt_sigreturn 15 pread64 17 readv 19 writev 20 access 21 select 23
            sched_yield 24 mremap 25 madvise 28 dup 32 nanosleep 35 getpid 39
            sendto 44 recvfrom 45 exit 60 uname 63 fcntl 72 getcwd 79 readlink 89
            gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100 getuid 102
            getgid 104 geteuid 107 getegid 108 getppid 110 sigaltstack 131 gettid 186
            time 201 futex 202 sched_getaffinity 204 getdents64 217 restart_syscall 219
            clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231
            openat 257 newfstatat 262 readlinkat 267 faccessat 269 pselect6 270
            ppoll 271 set_robust_list 273 prlimit64 302 getrandom 318 membarrier 324
            statx 332 rseq 334 faccessat2 439
        """),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        capset=91,
        seccomp=277,
        calls=_table("""
            getcwd 17 dup 23 fcntl 25 faccessat 48 openat 56 close 57 getdents64 61
            lseek 62 read 63 write 64 readv 65 writev 66 pread64 67 pselect6 72
            ppoll 73 readlinkat 78 newfstatat 79 fstat 80 exit 93 exit_group 94
            futex 98 set_robust_list 99 nanosleep 101 clock_gettime 113
            clock_getres 114 clock_nanosleep 115 sched_getaffinity 123 sched_yield 124
            restart_syscall 128 sigaltstack 132 rt_sigaction 134 rt_sigprocmask 135
            rt_sigreturn 139 times 153 uname 160 getrlimit 163 getrusage 165
            gettimeofday 169 getpid 172 getppid 173 getuid 174 geteuid 175 getgid 176
            getegid 177 gettid 178 sysinfo 179 sendto 206 recvfrom 207 brk 214
            munmap 215 mremap 216 mmap 222 mprotect 226 madvise 233 prlimit64 261
            getrandom 278 membarrier 283 statx 291 rseq 293 faccessat2 439
        """),
    ),
}

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM = 1
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH = 0, 4
# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, and O_TMPFILE without O_DIRECTORY.
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: none can send a signal.
_FCNTL = (0, 1, 2, 3, 1030)


def _machine() -> _Machine:
    return MACHINES[platform.machine()]


def _argument(index: int) -> int:
    """The offset of the low half of an argument in the filter's input."""
    return 16 + 8 * index


def _program(machine: _Machine) -> bytes:
    """The filter: a list of allowed calls, four of them with conditions.

    Any other call fails with EPERM, which a Python program sees as PermissionError.
    """
    code = []

    def add(op, k, jt=0, jf=0):
        code.append(struct.pack("=HBBI", op, jt, jf, k))

    def condition(call, body):
        """Instructions that run for one call and do not fall through."""
        add(_EQUAL, machine.calls[call], 0, len(body))
        for instruction in body:
            add(*instruction)

    # Calls of another machine end the process.
    denied, allowed = (_RETURN, _ERRNO | _EPERM), (_RETURN, _ALLOW)
    add(_LOAD, _ARCH)
    add(_EQUAL, machine.audit, 1, 0)
    add(_RETURN, _KILL)
    add(_LOAD, _NR)
    add(_AT_LEAST, 0x40000000, 0, 1)  # the x32 numbers of the same calls
    add(_RETURN, _KILL)

    def is_null(index):
        """Allows a call where both halves of an address are zero."""
        low, high = (_LOAD, _argument(index)), (_LOAD, _argument(index) + 4)
        return [low, (_EQUAL, 0, 0, 3), high, (_EQUAL, 0, 0, 1), allowed, denied]

    # Calls that are allowed with some arguments.
    writes = (_ANY_BIT, _WRITING, 0, 1)
    condition("openat", [(_LOAD, _argument(2)), writes, denied, allowed])
    condition("prlimit64", is_null(2))  # Only read, so without a new limit.
    known = [(_EQUAL, c, len(_FCNTL) - i, 0) for i, c in enumerate(_FCNTL)]
    condition("fcntl", [(_LOAD, _argument(1)), *known, denied, allowed])
    condition("sendto", is_null(4))  # On a connected socket, so without an address.

    # Calls that are always allowed, and nothing else.
    for call, number in machine.calls.items():
        if call not in ("openat", "prlimit64", "fcntl", "sendto"):
            add(_EQUAL, number, 0, 1)
            add(*allowed)
    add(*denied)
    return b"".join(code)


@functools.cache
def _filter() -> bytes:
    return _program(_machine())


def has_seccomp() -> bool:
    """Whether this machine and kernel can filter calls."""
    if platform.machine() not in MACHINES:
        return False
    try:
        _call(_machine().seccomp, 2, 0, struct.pack("=I", _KILL))
    except OSError:
        return False
    _filter()  # once, for all the processes that are forked
    return True


def restrict_calls() -> None:
    """Allows the calls that computing in Python takes, and no other.

    Raises:
        OSError: the kernel refuses.
    """
    program = _filter()
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _call(_machine().seccomp, 1, 0, header)


# --- all of it ----------------------------------------------------------------------


def shut_in(
    layers: tuple[str, ...], readable: list[str], memory: int, seconds: float
) -> None:
    """Confines this process for good.

    Args:
        layers: names of `server.Offer.layers` to apply.
        readable: directories that may be read.
        memory: limit of the address space in bytes.
        seconds: limit of processor time.

    Raises:
        OSError: a layer cannot be applied; the process must not go on.
    """
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: int(seconds) + 2,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 1,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    # A change of user undoes the next line, and the filter forbids all of these.
    if "user" in layers:
        drop_user()
    if "capabilities" in layers:
        drop_capabilities()
    die_with_parent()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if "landlock" in layers:
        restrict_files(readable)
    if "seccomp" in layers:
        restrict_calls()
