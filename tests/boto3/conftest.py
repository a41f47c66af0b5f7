from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lido as harness
from lido import Lido, Pool

# Clients inside of this process read the same environment as those that it starts.
os.environ.clear()
os.environ.update(harness.ENVIRONMENT | {"LIDO_BIN": harness.binary()})


@pytest.fixture(scope="session")
def lido(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lido]:
    """The server that every test may use that makes a pool of its own and leaves the clock alone."""
    server = Lido(tmp_path_factory.mktemp("lido"))
    yield server
    server.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Lido]]:
    """Starts servers with settings of their own; the text of lido.toml is `config`."""
    servers = []

    def start(*arguments: str, config: str = "", **options: object) -> Lido:
        if config:
            (tmp_path / "lido.toml").write_text(config)
        servers.append(Lido(tmp_path, *arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def pool(lido: Lido) -> Pool:
    """A pool that sends codes to e-mail addresses, with a public app client for all password flows."""
    return Pool(lido)
