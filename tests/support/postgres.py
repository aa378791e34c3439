"""A PostgreSQL server of the system, for tests: in a folder of its own, on a Unix socket, as another user for root."""

import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.support.patience import WAIT_S, until

USER = "nobody"  # PostgreSQL refuses to run as root


@cache
def programs() -> Path | None:
    """The folder of initdb and postgres; None: there is no server on this machine."""
    on_path = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    candidates = [*folders, *([Path(on_path).resolve().parent] if on_path else [])]
    return next((path for path in reversed(candidates) if (path / "initdb").exists()), None)


class Postgres:
    """A server with an empty database. Databases are quick to make, servers are not."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self.folder = Path(tempfile.mkdtemp(prefix="fa-pg-"))  # short: the path of a socket is limited
        self._data = self.folder / "data"
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)
        self.folder.chmod(0o755)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        self._databases = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also after `kill`."""
        command = [*self._as_user(), str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.folder)]
        command += ["-c", "listen_addresses=", "-c", "logging_collector=off", "-c", "max_connections=40"]

        def runs() -> bool:
            if self.process is None or self.process.poll() is not None:  # what it left may end a moment later
                with (self.folder / "log").open("ab") as log:
                    self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            return self._answers()

        until(runs, "PostgreSQL answers")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self.process is not None
        for line in (self._data / "postmaster.pid").read_text().splitlines()[:1]:
            os.kill(int(line), signal.SIGKILL)
        self.process.wait(WAIT_S)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it and remove its files."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The url of a new database."""
        self._databases += 1
        name = f"d{self._databases}"
        self._psql(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def __enter__(self) -> "Postgres":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        ready = [str(self._programs / "pg_isready"), "-h", str(self.folder), "-q"]
        return subprocess.run(ready, timeout=WAIT_S).returncode == 0

    def _psql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: str) -> None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        command = [*self._as_user(), str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=WAIT_S)

    def _as_user(self) -> list[str]:
        return ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
