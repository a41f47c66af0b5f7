from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import lido as harness
from lido import Lido

os.environ.clear()
os.environ.update(harness.ENVIRONMENT | {"LIDO_BIN": harness.binary()})


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[Lido]:
    """A server with its playground, told in the lines after `ready`."""
    server = Lido(tmp_path, "--playground")
    yield server
    server.stop()
