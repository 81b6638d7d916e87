"""The schedule files that programs are compiled with: the committed ones, the user's own, and one that is named.

`using(file, frozen=True)` says it for all that is compiled inside; the command line's --schedules and --frozen do that.
Committed files lie beside the cost model (`passes/lowering/schedules/*.json`), the user's in the user's cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from . import passes
from .grammar.source import UserError

if TYPE_CHECKING:
    from .passes.lowering.measured import Table

COMMITTED = Path(passes.__file__).parent / "lowering" / "schedules"
OWN = "schedules.json"


@dataclass(frozen=True)
class Schedules:
    """Which schedules programs are compiled with. file: before all others. frozen: UserError for what no file has."""

    file: Path | None = None
    frozen: bool = False

    def table(self) -> Table:
        """The entries of all files: those of `file` before the user's, these before the committed ones."""
        table = _committed()
        own = own_file()
        if own is not None and own.is_file():
            try:
                table = read_file(own).over(table)
            except UserError as error:
                raise UserError(f"{error}; it is your own, which `netc tune` writes: mend it, or delete it") from None
        if self.file is not None:
            table = read_file(self.file).over(table)
        return table


_used: ContextVar[Schedules | None] = ContextVar("schedules", default=None)


@contextmanager
def using(file: str | Path | None = None, *, frozen: bool = False) -> Iterator[None]:
    """Compile with a schedule file; with `frozen` fail where a kernel is in none, instead of asking the cost model."""
    token = _used.set(Schedules(Path(file) if file is not None else None, frozen))
    try:
        yield
    finally:
        _used.reset(token)


def in_use() -> Schedules:
    """What `using` says here."""
    return _used.get() or Schedules()


def read_file(path: Path) -> Table:
    """The table of a file; UserError, in a line, where it cannot be read or is no schedule file."""
    from .passes.lowering.measured import LARGEST_FILE, read_table

    try:
        if not path.is_file():
            raise UserError(f"{path}: there is no such schedule file")
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise UserError(f"{path}: {size:,} bytes are too many for schedules")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no schedule file: it is not text in UTF-8") from None
    return read_table(text, str(path))


def write_file(path: Path, table: Table) -> None:
    """Write a table, whole or not at all."""
    from .runtime.atomic import write_text

    if path.parent != Path() and not path.parent.exists():
        raise UserError(f"{path.parent}: there is no such folder")
    write_text(path, table.text())


def own_file() -> Path | None:
    """The user's file (there or not): in `NETC_CACHE`, or the user's cache folder; None without a home folder."""
    if chosen := os.environ.get("NETC_CACHE"):
        return Path(chosen) / OWN
    from .runtime.triton.compile.compiling import cache_folder

    folder = cache_folder()
    return folder.parent / OWN if folder is not None else None


@cache
def _committed() -> Table:
    from .passes.lowering.measured import Table

    table = Table()
    for path in sorted(COMMITTED.glob("*.json")) if COMMITTED.is_dir() else ():
        table = read_file(path).over(table)
    return table
