"""Every crash point of a short study: death before each system call, and in the middle of writes.

Run as a module, it is a parent process that imports everything, forks a search under `ptrace`,
lets it die at one system call, and forks a second search that continues the study. Linux on
x86-64 only.

    python -m tests.survival.crashes '{"every": 1}'
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import struct
import sys
import tempfile
from pathlib import Path

from lrsearch.cli import main
from tests.survival.swarm import STUDY, check_every_trial_ended_once, essence, result_of

TRIALS = 3
WORDS = [
    *("tune", f"{STUDY}:instant", "--trials", str(TRIALS), "--sampler", "random", "--quiet"),
    *("--tracking-uri", "none", "--no-compare", "--max-retries", "10"),
]
# From <sys/ptrace.h>.
TRACEME, SYSCALL, GETREGS, SETREGS, SETOPTIONS = 0, 24, 12, 13, 0x4200
#: Stops of system calls are marked; threads and children are traced too and die with the parent.
OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x100000
SYSCALL_STOP = signal.SIGTRAP | 0x80
REGISTERS = struct.Struct("27Q")
RDX, ORIG_RAX = 12, 15
#: Numbers of `write`, `pwrite64`; their third argument is the number of bytes.
WRITES = (1, 18)
NOT_A_CALL = 2**64 - 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, data=None):
    if _libc.ptrace(request, pid, None, data) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _search():
    """Run the search in this process, and end it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os._exit(main(list(WORDS)))


class Traced:
    """A search that may die before a system call, or after half of a write.

    Args:
        die_at: index of the system call, or None.
        torn: index of the write, or None.

    Attributes:
        calls, writes: numbers of system calls and of writes that it has begun.
        died: True if it was killed.
    """

    def __init__(self, *, die_at=None, torn=None):
        self._die_at, self._torn = die_at, torn
        self.calls = self.writes = 0
        self._inside, self._doomed = set(), None
        self._child = os.fork()
        if not self._child:
            _ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            _search()
        os.waitpid(self._child, 0)
        _ptrace(SETOPTIONS, self._child, OPTIONS)
        self.died = self._run()

    def _run(self):
        _ptrace(SYSCALL, self._child)
        while True:
            pid, status = os.waitpid(-1, 0x40000000)  # __WALL: threads too
            if not os.WIFSTOPPED(status):
                if pid == self._child:
                    return os.WIFSIGNALED(status)
                continue
            passed, stop = 0, os.WSTOPSIG(status)
            if stop == SYSCALL_STOP:
                (self._end if pid in self._inside else self._begin)(pid)
            elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
                passed = stop
            with contextlib.suppress(ProcessLookupError):  # it is dying
                _ptrace(SYSCALL, pid, passed)

    def _begin(self, pid):
        self._inside.add(pid)
        buffer = ctypes.create_string_buffer(REGISTERS.size)
        _ptrace(GETREGS, pid, buffer)
        registers = list(REGISTERS.unpack(buffer.raw))
        writes = registers[ORIG_RAX] in WRITES and registers[RDX] > 1
        if self.calls == self._die_at:
            registers[ORIG_RAX] = NOT_A_CALL
            _set(pid, registers)
            os.kill(self._child, signal.SIGKILL)
        elif writes and self.writes == self._torn:
            registers[RDX] //= 2
            _set(pid, registers)
            self._doomed = pid
        self.calls, self.writes = self.calls + 1, self.writes + writes

    def _end(self, pid):
        self._inside.remove(pid)
        if pid == self._doomed:
            os.kill(self._child, signal.SIGKILL)


def _set(pid, registers):
    _ptrace(SETREGS, pid, ctypes.create_string_buffer(REGISTERS.pack(*registers), REGISTERS.size))


def untraced():
    """Run a search, and return its exit code."""
    child = os.fork()
    if not child:
        _search()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def enumerate_crashes(every=1):
    """Let a search die at every nth crash point, and check what the next search makes of it.

    Returns:
        The numbers of system calls, writes, and crash points that were tried and reached.
    """
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        assert untraced() == 0
        twin = essence(result_of(Path(home), "instant-default"))
        shutil.rmtree("lrsearch-studies")
        whole = Traced()
        assert not whole.died
        points = [{"die_at": i} for i in range(0, whole.calls, every)]
        points += [{"torn": i} for i in range(0, whole.writes, max(1, every // 4))]
        reached = 0
        for point in points:
            shutil.rmtree("lrsearch-studies")
            reached += Traced(**point).died
            os.makedirs("lrsearch-studies", exist_ok=True)
            assert untraced() == 0, point
            assert essence(result_of(Path(home), "instant-default")) == twin, point
            check_every_trial_ended_once(Path(home), "instant-default", TRIALS)
    return {
        "calls": whole.calls,
        "writes": whole.writes,
        "crash points": len(points),
        "reached": reached,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as elsewhere, contextlib.redirect_stdout(sys.stderr):
        os.chdir(elsewhere)
        assert main(list(WORDS)) == 0  # imports everything
    print(json.dumps(enumerate_crashes(**json.loads(sys.argv[1]))))
