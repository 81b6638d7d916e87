"""Atomic replacement of a compiled net's folder: it appears whole or not at all, and replaces only what netc wrote."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..compiler.codegen.target import TARGETS, imported
from ..grammar.source import UserError

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST = 1 << 24  # bytes
NEW = "new"
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: fcntl.h, linux/fs.h


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Make the folder with what `write` puts into the empty one that it is given.

    One that an earlier call wrote, for whatever target, is replaced. UserError for one that holds anything that netc
    does not write there, or that cannot be written.
    """
    folder = folder.resolve()  # a link stays a link
    _check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        apart = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}") from None
    with _held(apart):
        try:
            part = apart / NEW
            part.mkdir()
            write(part)
            _flush(part)
            _put(part, folder)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
        except UserError as error:  # of the weights, with the name that they have for now
            raise UserError(str(error).replace(str(part), str(folder))) from None
        finally:
            shutil.rmtree(apart, ignore_errors=True)


def module_name(net: str, *beside: str) -> str:
    """The name of a net's module in its folder; not that of a module of Python's, of numpy, or of others beside it."""
    taken = {*sys.stdlib_module_names, "numpy", *beside}
    return f"net_{net}" if net.lower() in taken else net


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the table of what the folder holds."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _check_free(folder: Path) -> None:
    """UserError unless the folder is absent, empty, or one of a compiled net and nothing else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file; give a folder")
    if not any(folder.iterdir()):
        return
    path = folder / MANIFEST
    try:
        if not path.is_file() or path.stat().st_size > MAX_MANIFEST:
            raise ValueError
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or not isinstance(manifest["net"], str):
            raise ValueError
        own = _owner(manifest["target"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{folder}: holds other files; give a new folder") from None
    # By name, not as the manifest lists them: it may be somebody else's, and all that is there will be removed.
    for held in folder.rglob("*"):
        name = held.relative_to(folder).as_posix()
        if name.split("/")[0] == "__pycache__" or name == MANIFEST or (held.is_dir() and not held.is_symlink()):
            continue
        if not held.is_file() or not own(manifest, name):
            raise UserError(f"{folder}: holds other files beside those of a compiled net; give a new folder")


def _owner(target: str) -> Callable[[Mapping[str, Any], str], bool]:
    """Which files, by their paths in the folder, belong to a net compiled for a target; KeyError for another one."""
    own: Callable[[Mapping[str, Any], str], bool] = imported(f"{TARGETS[target].folder}:own")
    return own


def _put(part: Path, folder: Path) -> None:
    """Put the finished folder into its place; what was there is left at `part`, or gone."""
    if not folder.exists():
        os.rename(part, folder)
    elif not _exchanged(part, folder):
        _put_files(part, folder)


def _exchanged(one: Path, other: Path) -> bool:
    """Have two folders change places at once, so that a name never stands for none; False where that cannot be."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # a C library of before 2018
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):  # the kernel or the file system lacks it
        return False
    raise OSError(number, os.strerror(number))


def _put_files(part: Path, folder: Path) -> None:
    """Put the files of a finished folder over those of another, the manifest last; then remove what was only there."""
    made = {path.relative_to(part) for path in part.rglob("*") if path.is_file()}
    for name in sorted(made, key=lambda name: (name.as_posix() == MANIFEST, name)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / name, folder / name)
    for path in [*folder.rglob("*")]:
        if path.is_file() and path.relative_to(folder) not in made:
            path.unlink()
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):  # it holds files of the new net
            path.rmdir()


def _sweep(folder: Path) -> None:
    """Remove what killed processes left beside a folder while they made it."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}-*"):
        if left.is_dir() and not left.is_symlink() and {path.name for path in left.iterdir()} <= {NEW}:
            with _held(left) as free:
                if free:
                    shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, which ends with the process, however it ends; whether it could be had."""
    try:
        import fcntl
    except ImportError:  # Windows: nobody's are swept
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:  # another process has it, or the file system has no locks
            free = False
        yield free
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
