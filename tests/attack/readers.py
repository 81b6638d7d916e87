"""The table of readers: every place where netc reads what somebody else may have written. A new one is a row.

A row says how a valid file looks, how hostile ones are made of it, and how netc reads it. Functions of a row are called
in the worker, whose folder is the working folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

Make = Callable[[Random, Sequence[bytes]], bytes]
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Reader:
    """One reader.

    file: the name that a case has when it is read. samples: valid files; a test holds that they are read. make: a
    hostile file of a source of chance and the samples. read: reads the file at a path, and raises what it refuses.
    refuses: what it may raise beside the errors of netc. text: cases are made smaller by lines and words, not by bytes.
    quick: how many cases `make test` tries. seconds, memory: bounds of one case, of processor time and in bytes.
    leaves: reading may leave files in its folder. share: of the time of a campaign.
    """

    name: str
    file: str
    samples: Callable[[], list[bytes]]
    make: Make
    read: Callable[[Path], object]
    refuses: tuple[type[Exception], ...] = ()
    text: bool = False
    quick: int = 300
    seconds: float = 3.0
    memory: int = 192 * MEGABYTE
    leaves: bool = False
    share: float = 1.0


def readers() -> dict[str, Reader]:
    """All rows by name."""
    from attack.rows import artifacts, caffe, data, models, packages, texts

    found = [*texts.ROWS, *data.ROWS, *artifacts.ROWS, *caffe.ROWS, *models.ROWS, *packages.ROWS]
    table = {row.name: row for row in found}
    assert len(table) == len(found)
    return table


def case_of(reader: Reader, samples: Sequence[bytes], seed: int, number: int) -> bytes:
    """The case of a number: the same whenever it is asked for."""
    return reader.make(Random(f"{reader.name} {seed} {number}"), samples)
