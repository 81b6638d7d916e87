"""Running what a page shows: commands and sessions, in a folder, with a checkout's netc."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from support import warm
from support.installing import install
from support.page_blocks import Block, same

PROGRAMS = {"netc": ["-m", "netc"], "python": []}


def environment_of(checkout: Path, caches: Path) -> dict[str, str]:
    """The surroundings in which a new user reads: no data sets at hand, the netc of that checkout."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NETC_DATA", "COLUMNS", "PYTEST_ADDOPTS")}
    tables = os.environ.get("NETC_CACHE", str(caches))
    return {
        **kept,
        "XDG_CACHE_HOME": str(caches),
        "NETC_CACHE": tables,
        "PYTHONPATH": os.pathsep.join([str(checkout), str(caches / "site")]),
    }


def run(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a block that says `run`; AssertionError where it prints something else."""
    if block.language == "python":
        run_session(block, folder, environment)
    else:
        run_console(block, folder, environment)


def run_console(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    """Each command of a block, and the lines under it; `> FILE` keeps what a command prints.

    `pip install PROJECT` puts a package where the netc of the page finds it, and downloads nothing.
    """
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    assert commands, f"{block.name}: a command begins with `$ `"
    for text in commands:
        line, _, expected = text.partition("\n")
        command, _, kept = line.partition(" > ")
        program, *arguments = shlex.split(command)
        if program == "pip":
            install(folder / arguments[-1], Path(environment["PYTHONPATH"].split(os.pathsep)[-1]))
            continue
        assert program in PROGRAMS, f"{block.name}: {program} is not run"
        status, printed = _python([*PROGRAMS[program], *arguments], folder, environment)
        assert status == (2 if block.says("fails") else 0), f"{block.name}: {command}\n{printed}"
        if kept:
            (folder / kept).write_text(printed, encoding="utf-8")
        else:
            assert same(expected, printed), f"{block.name}: {command} prints\n{printed}"


def run_session(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    """A script, or a session with what it prints."""
    script = folder / "session.txt"
    script.write_text(block.text, encoding="utf-8")
    words = ["-m", "doctest", "-o", "ELLIPSIS"] if ">>>" in block.text else []
    status, printed = _python([*words, script.name], folder, environment)
    assert status == 0, f"{block.name}: {printed}"


def _python(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit status of `python WORDS`, and what it prints.

    Commands of this checkout's netc are forked from a process that has it. Scripts and sessions are not: some show what
    they need not import.
    """
    if list(words[:2]) == PROGRAMS["netc"] and environment["PYTHONPATH"].split(os.pathsep)[0] == str(warm.ROOT):
        return warm.run(words[1:], folder, environment)
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout
