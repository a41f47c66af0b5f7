"""Runs text as if it had been pasted into a terminal, or saved as a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from lido import ROOT, Lido

NODE_MODULES = ROOT / "tests" / "js" / "node_modules"
VENV_BIN = Path(sys.executable).parent


def shell(text: str, folder: Path) -> str:
    """What the lines print, in bash, with the AWS CLI of this environment; the first that fails ends it."""
    return _run(["bash", "-euo", "pipefail", "-c", text], folder)


def python(text: str, folder: Path) -> str:
    return _run([sys.executable, "-c", text], folder)


def javascript(text: str, folder: Path) -> str:
    """What a module prints that lies beside tests/js/node_modules."""
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(NODE_MODULES, target_is_directory=True)
    program = folder / "paste.mjs"
    program.write_text(text)
    return _run(["node", str(program)], folder)


def _run(command: list[str], folder: Path) -> str:
    environment = os.environ | {"PATH": f"{VENV_BIN}{os.pathsep}{os.environ['PATH']}", "AWS_PAGER": ""}
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, f"ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
    # curl says nothing of an answer that is an error.
    assert '"__type"' not in result.stdout, result.stdout
    return result.stdout


def with_the_code(text: str, lido: Lido) -> str:
    """The text, with what a person does who reads a code in the inbox and types it in place of 123456."""
    reader = "import json, sys; print(json.load(sys.stdin)['messages'][0]['code'])"
    command = f"$(curl -s '{lido.url}/_lido/messages' | {json.dumps(sys.executable)} -c {json.dumps(reader)})"
    return re.sub(r"\b123456\b", lambda _: command, text)
