"""A folder with a compiled net in it: it appears whole or not at all, and replaces only one that netc wrote."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..compiler.codegen.target import TARGETS, imported
from ..grammar.source import UserError

FORMAT = 1
MANIFEST = "manifest.json"
MAX_MANIFEST = 1 << 24  # bytes


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Make the folder with what `write` puts into the empty one that it is given.

    One that an earlier call wrote, for whatever target, is replaced. UserError for one that holds anything that netc
    does not write there, or that cannot be written.
    """
    _check_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        apart = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}") from None
    try:
        part = apart / "new"
        part.mkdir()
        write(part)
        _flush(part)
        _put(part, folder, apart / "old")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    except UserError as error:  # of the weights, with the name that they have for now
        raise UserError(str(error).replace(str(part), str(folder))) from None
    finally:
        shutil.rmtree(apart, ignore_errors=True)


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


def _put(part: Path, folder: Path, old: Path) -> None:
    """Move the finished folder to its place; one that is there goes to `old` first, and back if that fails."""
    if not folder.exists():
        os.rename(part, folder)
        return
    os.rename(folder, old)
    try:
        os.rename(part, folder)
    except OSError:
        os.rename(old, folder)
        raise


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
