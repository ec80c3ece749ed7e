"""A guard that hears every file, connection and process that code asks Python for."""

import os
import sys
import sysconfig
from pathlib import Path

import lrsearch

#: What Python and its packages read by themselves.
READABLE = [
    *{
        os.path.realpath(path)
        for path in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
    },
    os.path.realpath(Path(lrsearch.__file__).parents[1]),
    *("/proc", "/sys", "/usr/share/zoneinfo", "/etc/localtime", "/dev/null", "/dev/urandom"),
]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Events whose arguments are paths that are changed, and how many.
CHANGES = {
    **{f"os.{name}": 1 for name in ("chmod", "chown", "mkdir", "remove", "rmdir", "truncate")},
    **{f"os.{name}": 2 for name in ("link", "rename", "symlink")},
    **{f"shutil.{name}": 2 for name in ("copyfile", "copytree", "move")},
    "shutil.rmtree": 1,
    "sqlite3.connect": 1,
}
#: Events that no study may cause.
FORBIDDEN = (
    *("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request"),
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "pty.spawn"),
    *("pickle.find_class", "webbrowser.open"),
)

_active = []


class Guard:
    """A context that collects what happens outside a folder.

    Args:
        folder: the only folder in which files may be opened.

    Attributes:
        found: the forbidden events, as text.
    """

    def __init__(self, folder):
        self._folder, self.found = os.path.realpath(folder), []

    def __enter__(self):
        _active.append(self)
        return self

    def __exit__(self, *_):
        _active.remove(self)

    def hear(self, event, arguments):
        if event in FORBIDDEN:
            self.found.append(f"{event}{arguments!r:.200}")
        elif event == "open":
            path, mode, flags = arguments
            writes = bool(flags & WRITES) or any(c in (mode or "") for c in "wax+")
            self._check(event, path, writes=writes)
        else:
            for path in arguments[: CHANGES.get(event, 0)]:
                self._check(event, path, writes=True)

    def _check(self, event, path, *, writes):
        if isinstance(path, int):
            return  # a file that is open already
        real = os.path.realpath(os.fsdecode(path))
        roots = [self._folder] if writes else [self._folder, *READABLE]
        if not any(real == root or real.startswith(f"{root}/") for root in roots):
            self.found.append(f"{event} {real}")


def _hear(event, arguments):
    for guard in _active:
        guard.hear(event, arguments)


sys.addaudithook(_hear)  # hooks cannot be removed
