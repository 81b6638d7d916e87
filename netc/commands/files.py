"""Files that a command is given: folders stand for the files in them, `-` for standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..grammar.source import Source, UserError

SUFFIXES = (".net", ".prototxt")
STDIN = "-"


def texts(files: Sequence[Path]) -> list[Path | Source]:
    """The files that are meant, in order; of a folder all that end as texts of nets do, in it and below."""
    found: list[Path | Source] = []
    for file in files:
        if str(file) == STDIN:
            found.append(_stdin())
        elif file.is_dir():
            below = sorted(path for path in file.rglob("*") if path.suffix in SUFFIXES and path.is_file())
            if not below:
                raise UserError(f"{file}: there is no {' or '.join(SUFFIXES)} in this folder")
            found += below
        else:
            found.append(file)
    return found


def _stdin() -> Source:
    from ..grammar.parse import MAX_BYTES, decoded

    return decoded("<stdin>", sys.stdin.buffer.read(MAX_BYTES))
