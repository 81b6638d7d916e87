"""Files that are written whole or not at all: whoever reads one finds the old content or the new one, never a part.

The new content goes to a directory of its own beside the file, is flushed to the disk, and is renamed over the old one;
a process killed in between leaves at most such a directory (`PARTIAL*`), which `sweep` removes.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..compiler.program import UserError

PARTIAL = ".partial-"


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Give `path` the content that `write` puts into the empty file whose path it gets.

    A `UserError` if that fails (no space, no right, no folder); `path` is then as it was before, or, where only its
    folder could not be flushed, as it was to be.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: is there and not a regular file; choose another name")
        path = path.resolve()  # a link stays a link
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {_reason(error)}") from None
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
        part = folder / path.name
        part.touch()
        mode = part.stat().st_mode  # as the user's umask has it; a writer may make the file anew
        write(part)
        os.chmod(part, stat.S_IMODE(mode))
        _flush(part)
        os.replace(part, path)
        _flush(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {_reason(error)}") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` where nothing goes wrong; a `UserError` if something is there already."""
    if path.exists():
        raise UserError(f"{path}: is there already; choose another name")
    try:
        folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=path.parent))
    except OSError as error:
        raise UserError(f"{path}: cannot be made: {_reason(error)}") from None
    try:
        inner = folder / path.name
        inner.mkdir()
        yield inner
        inner.rename(path)
        _flush(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {_reason(error)}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Give `path` this text, whole or not at all; raises as `replace_file` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Give `path` this content, whole or not at all; raises as `replace_file` does."""

    def write(part: Path) -> None:
        part.write_bytes(data)

    replace_file(path, write)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half written in a folder that no other process writes to."""
    for partial in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(partial, ignore_errors=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    """The system's words for an error, without number and path."""
    return error.strerror or str(error)
