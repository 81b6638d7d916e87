"""What a terminal shows: colours and the number of problems; in a pipe the same texts without either."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

WRONG = "net a {\n    input x: f32[N, 8]\n    y = relu(x)\n    output z = relu(x, 3, 4)\n    output w = unknown(x)\n}\n"


def shown(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "netc", *arguments],
        cwd=folder,
        env={**kept, "TERM": "xterm", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    found = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        found += piece
    os.close(ours)
    assert process.wait(timeout=60) == 2
    return found.decode().replace("\r\n", "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.net").write_text(WRONG, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", ["check", "summary"])
def test_colours_and_a_count(folder: Path, command: str) -> None:
    text = shown(folder, command, "a.net")
    assert "\x1b[31m\x1b[1merror[E" in text
    assert "\x1b[31m^^^^^^^" in text
    assert text.endswith("\n2 errors\n")
    assert "\x1b[31m\x1b[1merror:\x1b[0m nofile.net: cannot be read" in shown(folder, command, "nofile.net")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours(folder: Path, environment: dict[str, str]) -> None:
    text = shown(folder, "check", "a.net", **environment)
    assert "\x1b" not in text
    assert text.endswith("\n2 errors\n")


def test_in_a_pipe(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netc", "check", "a.net"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "\x1b" not in done.stderr
    assert "errors" not in done.stderr
    plain = shown(folder, "check", "a.net", NO_COLOR="1")
    assert plain == f"{done.stderr}2 errors\n"
