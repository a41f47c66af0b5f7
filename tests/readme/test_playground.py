"""What `lido dev --playground` tells to paste, pasted."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

import paste
from lido import Lido


def sections(lido: Lido) -> dict[str, str]:
    """The blocks of lines under `# TITLE`, by title."""
    # The last line may still be on its way when `ready` has been read.
    deadline = time.monotonic() + 5
    while not any(line.startswith("# JavaScript") for line in lido.output) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    start = next(number for number, line in enumerate(lido.output) if line.startswith("ready "))
    found: dict[str, list[str]] = {}
    title = ""
    for before, line in zip(lido.output[start:], lido.output[start + 1 :], strict=False):
        if line.startswith("# ") and (before == "" or before.startswith("ready ")):
            title = line.removeprefix("# ")
            found[title] = []
        else:
            found[title].append(line)
    return {title: "\n".join(lines).strip() for title, lines in found.items()}


def verified(lido: Lido, pool: str) -> str:
    user = lido.client().admin_get_user(UserPoolId=pool, Username="ana")
    return {attribute["Name"]: attribute["Value"] for attribute in user["UserAttributes"]}.get(
        "email_verified", "false"
    )


@pytest.mark.parametrize(
    ("title", "run"),
    [("curl", paste.shell), ("AWS CLI", paste.shell), ("JavaScript", paste.javascript)],
)
def test_pasted_lines_work(playground: Lido, tmp_path: Path, title: str, run) -> None:
    found = sections(playground)
    [(_, text)] = [(name, text) for name, text in found.items() if name.startswith(title)]
    pool = re.search(r"us-east-1_\w+", found["Playground"])[0]
    assert verified(playground, pool) == "false"
    run(paste.with_the_code(text, playground) if run is paste.shell else text, tmp_path)
    assert verified(playground, pool) == "true"
