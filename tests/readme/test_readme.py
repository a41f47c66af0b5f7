"""The commands of README.md.

A fenced block (`sh`, `js`, `python`) under the comment `<!-- test: NAME -->` is run against a server with its
playground; in `sh` 123456 stands for the code in the inbox. Of all `sh` blocks the lines that start a
development server, by `cargo run --release -- dev` or `lido dev`, are started, as the binary that was built
for the tests and on a free port; the first of them also as it stands, with its release build.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

import paste
from lido import ROOT, Lido

README = ROOT / "README.md"
DEFAULT_ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1):5436\b")


@dataclass
class Block:
    """A fenced block; `name` is None where nothing asks for it to be run."""

    name: str | None
    language: str
    text: str


def blocks() -> list[Block]:
    pattern = r"(?:^<!-- test: (?P<name>[\w-]+) -->\s*)?^```(?P<language>\w+)\n(?P<text>.*?)^```$"
    return [
        Block(**match.groupdict())
        for match in re.finditer(pattern, README.read_text(), re.MULTILINE | re.DOTALL)
    ]


BLOCKS = blocks()
MARKED = [block for block in BLOCKS if block.name]


def starts() -> list[list[str]]:
    """What follows `lido dev` in the lines that start a development server."""
    found = []
    for block in BLOCKS:
        for line in block.text.splitlines() if block.language == "sh" else ():
            words = shlex.split(line, comments=True)
            for beginning in (["cargo", "run", "--release", "--", "dev"], ["lido", "dev"]):
                if words[: len(beginning)] == beginning:
                    found.append(words[len(beginning) :])
    return found


def test_the_readme_says_how_to_start_and_try() -> None:
    assert ["--playground"] in starts()
    assert "quick-start" in [block.name for block in MARKED]


@pytest.mark.parametrize("arguments", starts(), ids=" ".join)
def test_a_command_that_starts_the_server_does(tmp_path: Path, arguments: list[str]) -> None:
    server = Lido(tmp_path, *arguments, cwd=ROOT)
    server.stop()


# A release build of everything, on two cores that do nothing else.
@pytest.mark.timeout(1800)
def test_the_first_command_of_the_readme_as_it_stands(tmp_path: Path) -> None:
    """The release build and all: what somebody new types first."""
    command = next(line for block in BLOCKS for line in block.text.splitlines() if line.startswith("cargo run"))
    elsewhere = {"LIDO_LISTEN": "127.0.0.1:0", "LIDO_DATA": str(tmp_path / "data")}
    process = subprocess.Popen(
        shlex.split(command, comments=True),
        cwd=ROOT,
        env=os.environ | elsewhere,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        ready = next((line for line in process.stdout if line.startswith("ready ")), "")
        assert ready, "the server did not start"
        with urllib.request.urlopen(f"{ready.split()[1]}/_lido/health/ready", timeout=60) as response:
            assert response.status == 200
    finally:
        process.terminate()
    assert process.wait(30) == 0


@pytest.mark.parametrize("block", MARKED, ids=lambda block: block.name)
def test_an_example_works(playground: Lido, tmp_path: Path, block: Block) -> None:
    text = DEFAULT_ADDRESS.sub(lambda match: f"{match[1]}:{playground.port}", block.text)
    if block.language == "sh":
        paste.shell(paste.with_the_code(text, playground), tmp_path)
    elif block.language == "js":
        paste.javascript(text, tmp_path)
    else:
        assert block.language == "python", f"nothing is known of {block.language}"
        paste.python(text, tmp_path)
