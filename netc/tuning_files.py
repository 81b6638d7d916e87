"""Autotuning results in files: one that is named, before the user's own.

The user's lies in the user's cache folder; `netc tune` writes both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .grammar.source import UserError

if TYPE_CHECKING:
    from .passes.lowering.measured import TuningTable

OWN = "schedules.json"


@dataclass(frozen=True)
class TuningFiles:
    """Which schedules programs are compiled with. file: before all others. frozen: UserError for what no file has.

    own: the user's own file is asked besides, or (under) before that file.
    """

    file: Path | None = None
    frozen: bool = False
    own: bool = True
    under: bool = False

    def table(self) -> TuningTable:
        """The entries of both files."""
        from .passes.lowering.measured import TuningTable

        table, own = TuningTable(), own_file() if self.own else None
        if own is not None and own.is_file():
            try:
                table = read_file(own)
            except UserError as error:
                raise UserError(f"{error}; it is your own, which `netc tune` writes: mend it, or delete it") from None
        if self.file is None:
            return table
        given = read_file(self.file)
        return table.over(given) if self.under else given.over(table)


def read_file(path: Path) -> TuningTable:
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


def write_file(path: Path, table: TuningTable) -> None:
    """Write a table, whole or not at all."""
    from .runtime.atomic import write_text

    if path.parent != Path() and not path.parent.exists():
        raise UserError(f"{path.parent}: there is no such folder")
    write_text(path, table.text())


def own_file() -> Path | None:
    """The user's file (there or not): in `NETC_CACHE`, or the user's cache folder; None without a home folder."""
    from .runtime.cache import cache_folder

    folder = cache_folder("kernels")
    return folder.parent / OWN if folder is not None else None
