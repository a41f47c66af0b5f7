"""A Lido process of its own, and what a test asks of it beside the API."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import botocore
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
PASSWORD = "Correct-horse-1"

# Somebody who may make databases: then every server has one, in place of the embedded store.
ADMINISTRATOR = os.environ.get("LIDO_TEST_POSTGRES")

# No test may depend on who runs it: the settings of that person's own account are not read.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("LIDO_", "AWS_"))
} | {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def binary() -> str:
    return os.environ.get("LIDO_BIN", str(ROOT / "target" / "debug" / "lido"))


def sql(statement: str) -> None:
    """Runs a statement as the administrator."""
    flags = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement]
    command = ["psql", ADMINISTRATOR, *flags]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def database_of(data: Path) -> str:
    """The URL of the database that belongs to a data directory, made for one that has none."""
    file = data / "database.url"
    if not file.exists():
        name = f"lido_test_{secrets.token_hex(8)}"
        sql(f"CREATE DATABASE {name} TEMPLATE template0")
        data.mkdir(parents=True, exist_ok=True)
        file.write_text(urllib.parse.urlsplit(ADMINISTRATOR)._replace(path=f"/{name}").geturl())
    return file.read_text()


class Lido:
    """`lido dev` on a free port, until `stop` or `kill`. It runs and logs in `folder`."""

    def __init__(self, folder: Path, *arguments: str, data: str = ":memory:", cwd: Path | None = None):
        defaults = {"--listen": "127.0.0.1:0", "--data": data}
        self._database = None
        if ADMINISTRATOR and "--data" not in arguments:
            if data == ":memory:":
                defaults["--data"] = tempfile.mkdtemp(prefix="data-", dir=folder)
            defaults["--database"] = database_of(Path(defaults["--data"]))
            if data == ":memory:":
                self._database = urllib.parse.urlsplit(defaults["--database"]).path.lstrip("/")
        words = [word for flag, value in defaults.items() if flag not in arguments for word in (flag, value)]
        self.log = folder / "lido.log"
        self.output: list[str] = []
        self._ready = threading.Event()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "dev", *words, *arguments],
                cwd=cwd or folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._ready.wait(60)
        self.url = next((line.split()[1] for line in self.output if line.startswith("ready ")), "")
        if not self.url:
            self.kill()
            raise RuntimeError(f"Lido did not start: {self.output}\n{self.log.read_text()}")
        self.port = urllib.parse.urlsplit(self.url).port
        # The host of the issuer in development mode: a client that compares the two must be given this one.
        self.public_url = f"http://localhost:{self.port}"

    def _read(self) -> None:
        for line in self.process.stdout:
            self.output.append(line.rstrip("\n"))
            if line.startswith("ready "):
                self._ready.set()
        self._ready.set()

    def stop(self) -> None:
        """Ends it as an operator does; it must go in time, with success."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(10)
        self._reader.join(5)
        self._forget()
        assert code == 0, f"ended with {code}\n{self.log.read_text()[-4000:]}"

    def kill(self) -> None:
        """Ends it as a crash does."""
        self.process.kill()
        self.process.wait(10)
        self._forget()

    def _forget(self) -> None:
        """Removes what is not kept: memory that is a database."""
        if self._database:
            sql(f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")

    # ---- Clients

    def client(self, **options: Any):
        """boto3 with credentials that nobody knows."""
        options.setdefault("aws_access_key_id", "AKIDEXAMPLE")
        options.setdefault("aws_secret_access_key", "secret")
        return boto3.client(
            "cognito-idp",
            endpoint_url=self.url,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60, max_pool_connections=32),
            **options,
        )

    def unsigned_client(self):
        """boto3 without any credentials."""
        config = Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
        return boto3.client("cognito-idp", endpoint_url=self.url, region_name=REGION, config=config)

    # ---- The control API

    def control(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_lido/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
        return json.loads(text) if text else None

    def kids(self, pool: str) -> list[str]:
        """The ids of the keys that a pool's tokens may be signed with, in their order."""
        with urllib.request.urlopen(f"{self.url}/{pool}/.well-known/jwks.json", timeout=60) as response:
            return sorted(key["kid"] for key in json.load(response)["keys"])

    def messages(self, **query: Any) -> list[dict[str, Any]]:
        """The inbox, newest first; `wait` and `after` as the control API has them."""
        return self.control("GET", "messages?" + urllib.parse.urlencode(query))["messages"]

    def message(self, destination: str, source: str | None = None) -> dict[str, Any]:
        """The newest message to somebody, of one trigger source if it is given."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = self.messages(destination=destination)
            found = [message for message in found if source in (None, message["source"])]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no message to {destination} of {source}")

    def code(self, destination: str, source: str | None = None) -> str:
        return self.message(destination, source)["code"]

    def advance_clock(self, seconds: float) -> None:
        self.control("POST", "clock", {"advanceSeconds": seconds})


class Pool:
    """A user pool with one app client."""

    FLOWS = [
        "ALLOW_USER_PASSWORD_AUTH",
        "ALLOW_USER_SRP_AUTH",
        "ALLOW_REFRESH_TOKEN_AUTH",
        "ALLOW_ADMIN_USER_PASSWORD_AUTH",
    ]

    def __init__(self, lido: Lido, client: dict[str, Any] | None = None, **settings: Any):
        self.lido = lido
        self.cognito = lido.client()
        settings.setdefault("PoolName", "app")
        settings.setdefault("AutoVerifiedAttributes", ["email"])
        self.description = self.cognito.create_user_pool(**settings)["UserPool"]
        self.id = self.description["Id"]
        request = {"ClientName": "web", "ExplicitAuthFlows": self.FLOWS} | (client or {})
        created = self.cognito.create_user_pool_client(UserPoolId=self.id, **request)["UserPoolClient"]
        self.client_id = created["ClientId"]
        self.client_secret = created.get("ClientSecret")

    def user(self, username: str, password: str = PASSWORD, **attributes: str) -> str:
        """A confirmed user with a permanent password."""
        attributes = {"email": f"{username}@example.com", "email_verified": "true"} | attributes
        self.cognito.admin_create_user(
            UserPoolId=self.id,
            Username=username,
            MessageAction="SUPPRESS",
            UserAttributes=[{"Name": name, "Value": value} for name, value in attributes.items()],
        )
        self.cognito.admin_set_user_password(
            UserPoolId=self.id, Username=username, Password=password, Permanent=True
        )
        return username

    def sign_in(self, username: str, password: str = PASSWORD) -> dict[str, Any]:
        """Tokens, by the password."""
        answer = self.cognito.initiate_auth(
            ClientId=self.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": username, "PASSWORD": password},
        )
        return answer["AuthenticationResult"]

    def attributes(self, username: str) -> dict[str, str]:
        user = self.cognito.admin_get_user(UserPoolId=self.id, Username=username)
        return {attribute["Name"]: attribute["Value"] for attribute in user["UserAttributes"]}
