"""`netc data fetch` and `netc data list`: public data sets, got once, checked by their SHA-256, and kept.

Relies on pooch, which writes a download beside its place and moves it there when the checksum fits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from ...compiler.program import UserError
from ..atomic import replace_file
from .catalogue import DATASETS, Dataset, RemoteFile, cache_folder, locate
from .cifar import files_of as cifar_files
from .files import explained
from .mnist import files_of as mnist_files

Notify = Callable[[str], None]
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class DatasetInfo:
    """A line of `netc data list`. where: the folder with the files, "embedded…", or empty. size: bytes to fetch."""

    name: str
    what: str
    where: str
    size: int
    terms: str


def list_datasets(data_dir: Path | None = None) -> list[DatasetInfo]:
    """The data sets that netc knows, and where each was found."""
    found = []
    for dataset in DATASETS.values():
        folder = next((folder for folder in locate(dataset.name, data_dir) if _has(dataset.name, folder)), None)
        where = str(folder) if folder else "embedded (5,000 + 1,000)" if dataset.name == "mnist" else ""
        found.append(DatasetInfo(dataset.name, dataset.what, where, dataset.size, dataset.terms))
    return found


def fetch(name: str, *, notify: Notify | None = None) -> Path:
    """Get a data set into the user's cache, unless it is there; returns the folder. What was got is checked."""
    dataset = DATASETS.get(name)
    if dataset is None:
        raise UserError(f"there is no data set `{name}`; there are {', '.join(DATASETS)}")
    folder = cache_folder(name)
    if dataset.unpacked and all((folder / file).is_file() for file in dataset.unpacked):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from None
    for file in dataset.files:
        path = _retrieve(dataset, file, folder, notify or (lambda text: None))
        if dataset.unpacked:
            _unpack(path, dataset.unpacked, folder)
            path.unlink()
    return folder


def _has(name: str, folder: Path) -> bool:
    """Whether the training files of a data set lie in a folder."""
    try:
        return bool(cifar_files(folder, "train") if name == "cifar10" else mnist_files(folder, "train"))
    except UserError:  # some of the files only
        return False


def _retrieve(dataset: Dataset, file: RemoteFile, folder: Path, notify: Notify) -> Path:
    """One file, from the first mirror that has it."""
    import logging

    import pooch

    pooch.get_logger().setLevel(logging.ERROR)
    path = folder / file.name
    reason = ""
    for mirror in dataset.mirrors:
        if not path.is_file():
            notify(f"fetching {mirror}{file.name} ({file.size / 1e6:.1f} MB)")
        try:
            download = pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS)
            got = pooch.retrieve(
                mirror + file.name, f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=download
            )
            return Path(got)
        except Exception as error:  # pooch and requests raise many kinds; every one means: not from here
            reason = f"{mirror}: {_reason(error)}"
    raise UserError(
        f"cannot fetch {dataset.name} ({reason}); put {', '.join(f.name for f in dataset.files)} in {folder}, "
        f"or in a folder given by --data or NETC_DATA"
    )


def _reason(error: Exception) -> str:
    """An exception of a download in a few words."""
    kind = type(error).__name__
    if isinstance(error, ValueError) and "hash" in str(error):
        return "the file there is not the published one: its SHA-256 differs"
    known = {"ConnectionError": "no connection", "ConnectTimeout": "no answer", "ReadTimeout": "no answer"}
    return known.get(kind) or f"{kind}: {str(error).splitlines()[0][:120] if str(error) else 'no reason given'}"


def _unpack(archive: Path, names: tuple[str, ...], folder: Path) -> None:
    """Take the files of these names, and nothing else, out of a .tar.gz; each written whole or not at all."""
    import tarfile

    with explained(archive):
        try:
            with tarfile.open(archive, "r:gz") as tar:
                members = {os.path.basename(member.name): member for member in tar if member.isfile()}
                for name in names:
                    content = tar.extractfile(members[name]) if name in members else None
                    if content is None:
                        raise UserError(f"{archive}: {name} is missing in it")
                    with content:
                        replace_file(folder / name, partial(_copy, content))
        except tarfile.TarError as error:
            raise UserError(f"{archive}: not a readable archive ({error})") from None


def _copy(content: IO[bytes], path: Path) -> None:
    """Write what a stream holds to a file."""
    with path.open("wb") as output:
        shutil.copyfileobj(content, output, 1 << 20)
