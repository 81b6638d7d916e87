"""Readers that break the contract, each in its way: what the harness must find."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from attack.readers import MEGABYTE, Reader
from netc.grammar.source import UserError


def _valid() -> list[bytes]:
    return [b"one two three four five six seven eight\n"]


def _make(random: Random, samples: Sequence[bytes]) -> bytes:
    words = samples[0].split()
    random.shuffle(words)
    return b" ".join(words)


def _crashes(path: Path) -> None:
    if path.read_bytes().startswith(b"seven"):
        raise ZeroDivisionError("division by zero")


def _speaks(path: Path) -> None:
    raise UserError("two\nlines") if path.read_bytes().startswith(b"one") else UserError("")


def _waits(path: Path) -> None:
    while not path.read_bytes().endswith(b"\n"):
        time.process_time()


def _eats(path: Path) -> None:
    if not path.read_bytes().endswith(b"\n"):
        b"x" * (100 * MEGABYTE)


def _writes(path: Path) -> None:
    if not path.read_bytes().endswith(b"\n"):
        (path.parents[1] / "beside.txt").write_text("x", encoding="utf-8")


def _starts(path: Path) -> None:
    if not path.read_bytes().endswith(b"\n"):
        subprocess.run([sys.executable, "-c", ""], check=False)


def _leaves(path: Path) -> None:
    if not path.read_bytes().endswith(b"\n"):
        path.with_name("left").write_text("x", encoding="utf-8")


def _dies(path: Path) -> None:
    if not path.read_bytes().endswith(b"\n"):
        os._exit(3)


HOW = {
    "crashes": _crashes,
    "speaks": _speaks,
    "waits": _waits,
    "eats": _eats,
    "writes": _writes,
    "starts": _starts,
    "leaves": _leaves,
    "dies": _dies,
}


def readers() -> dict[str, Reader]:
    """One row for each way."""
    return {
        name: Reader(name, "case.txt", _valid, _make, read, text=True, seconds=0.3, memory=50 * MEGABYTE)
        for name, read in HOW.items()
    }
