"""A PostgreSQL server for the tests alone: in a temporary directory, on a free port, gone at the end.

    python3 tests/postgres.py COMMAND [ARG…]     runs a command that finds it by LIDO_TEST_POSTGRES

What is set for the command:

    LIDO_TEST_POSTGRES                URL of an administrator, who makes a database for each test
    LIDO_TEST_POSTGRES_CERTIFICATES   directory with root.pem, the authority of the server's certificate, and
                                      stranger.pem, which is none; absent where there is no openssl
    PATH                              begins with the directory of the server's programs
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# A cluster that nobody will want back need not survive the machine; a commit is still waited for.
SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "400",
    "shared_buffers": "128MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "autovacuum": "off",
    "log_line_prefix": "'%m [%p] %d '",
}


class Unavailable(Exception):
    """There is no server that could be started here, and why."""


def programs() -> Path | None:
    """The directory of initdb and pg_ctl: that of the PATH, of pg_config, or the newest of Debian's."""
    folders = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    if config := shutil.which("pg_config"):
        asked = subprocess.run([config, "--bindir"], capture_output=True, text=True)
        folders.append(Path(asked.stdout.strip()))
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


class Cluster:
    """A running server; `with Cluster(programs) as cluster:` stops and removes it whatever happens."""

    def __init__(self, programs: Path):
        self.programs = programs
        self.password = secrets.token_urlsafe(24)
        self.port = 0
        # PostgreSQL refuses to be root.
        self.owner = unprivileged() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="lido-postgres-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.certificates: Path | None = None

    def __enter__(self) -> Cluster:
        try:
            if self.owner:
                os.chown(self.folder, self.owner.pw_uid, self.owner.pw_gid)
            self._make()
            self._start_on_a_free_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_failure: object) -> None:
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", "immediate", "-s", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"postgres://lido:{self.password}@127.0.0.1:{self.port}/postgres"

    def environment(self) -> dict[str, str]:
        """What a command needs to find the server."""
        found = {
            "LIDO_TEST_POSTGRES": self.url,
            "PATH": f"{self.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        if self.certificates:
            found["LIDO_TEST_POSTGRES_CERTIFICATES"] = str(self.certificates)
        return found

    def restart(self, **settings: str) -> None:
        """Starts the server anew with more settings, and the databases that it has."""
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run(
            *("pg_ctl", "restart", "-D", str(self.data), "-l", str(self.log), "-m", "fast", "-w", "-s"),
            *("-o", options),
        )

    def tail(self, lines: int = 40) -> str:
        """The end of the server's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password + "\n")
        self._give(password)
        self._run(
            *("initdb", "-D", str(self.data), "-U", "lido", "-A", "scram-sha-256", "--pwfile", str(password)),
            *("-E", "UTF8", "--locale=C", "--no-sync"),
        )
        password.unlink()
        settings = SETTINGS | {"unix_socket_directories": f"'{self.folder}'"}
        if shutil.which("openssl"):
            self._certify()
            settings |= {"ssl": "on", "ssl_cert_file": "'server.pem'", "ssl_key_file": "'server.key'"}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _certify(self) -> None:
        """An authority, its certificate for this machine, and an authority that has nothing to do with it."""
        folder = self.folder / "certificates"
        folder.mkdir()
        self._give(folder)
        new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        for name in ("root", "stranger"):
            subject = f"/CN=Lido tests {name}"
            files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))
            self._run("openssl", *new, "-x509", "-days", "7", "-subj", subject, *files)
        request, names = folder / "server.csr", folder / "server.names"
        names.write_text("subjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n")
        key = ("-keyout", str(self.data / "server.key"))
        self._run("openssl", *new, "-subj", "/CN=localhost", *key, "-out", str(request))
        self._run(
            *("openssl", "x509", "-req", "-in", str(request), "-days", "7", "-extfile", str(names)),
            *("-CA", str(folder / "root.pem"), "-CAkey", str(folder / "root.key"), "-CAcreateserial"),
            *("-out", str(self.data / "server.pem")),
        )
        self.certificates = folder

    def _start_on_a_free_port(self) -> None:
        for attempt in range(3):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            with (self.data / "postgresql.conf").open("a") as file:
                file.write(f"port = {self.port}\n")
            # Somebody else may take the port in between.
            last = attempt == 2
            start = ("pg_ctl", "start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "60", "-s")
            if self._run(*start, check=last) == 0:
                return

    def _give(self, path: Path) -> None:
        if self.owner:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        """Runs a program as the owner of the data."""
        path = self.programs / program
        owner = self.owner
        identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        # To a file, and not through a pipe: the server inherits it and would hold it open.
        with tempfile.TemporaryFile() as output:
            code = subprocess.run(
                [str(path) if path.exists() else program, *arguments],
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **identity,
            ).returncode
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if code != 0 and check:
            raise Unavailable(f"{program} ended with {code}:\n{said}\n{self.tail()}")
        return code


def unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("root may not run PostgreSQL, and there is neither a user postgres nor nobody")


def end_as_an_exception() -> None:
    """Makes a SIGTERM unwind the program, so that a server that it has started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main(command: list[str]) -> int:
    if not command:
        print(__doc__)
        return 2
    end_as_an_exception()
    found = programs()
    try:
        if found is None:
            raise Unavailable("PostgreSQL is not installed: apt-get install postgresql")
        with Cluster(found) as cluster:
            return subprocess.run(command, env=os.environ | cluster.environment()).returncode
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
