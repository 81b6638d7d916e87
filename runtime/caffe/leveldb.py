"""LevelDB, a database in a folder of sorted tables, by the library `plyvel`.

The library writes into the folder of what it only reads, and locks it. So it is given another folder with links to the
files: the data may be read-only, and be read by several at a time.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from ...compiler.program import UserError
from ..atomic import new_folder
from ..data.files import explained, memory_limit
from ..tensors import printable
from .extras import needed

CURRENT = "CURRENT"
OWN = ("LOCK", "LOG", "LOG.old")  # files that the library makes for whoever opens a database
BYTES_A_KEY = 64  # of memory, beside the key's own


class LevelDb:
    """A database opened for reading: values by their number in the order of keys, which are listed at first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        plyvel = needed("plyvel", f"{path}: LevelDB")
        with explained(path):
            files = [file for file in path.iterdir() if file.name not in OWN]
        if not any(file.name == CURRENT for file in files):
            raise UserError(f"{path}: not a LevelDB database: it has no file {CURRENT}")
        self._folder = tempfile.TemporaryDirectory(prefix="netc-leveldb-")
        with explained(path):
            for file in files:
                (Path(self._folder.name) / file.name).symlink_to(file.resolve())
        self._error: type[Exception] = plyvel.Error
        self._keys: list[bytes] = []
        left = memory_limit()
        try:
            # Paranoid, the library refuses damaged records; left to itself it would leave them out without a word.
            self._database = plyvel.DB(self._folder.name, create_if_missing=False, paranoid_checks=True)
            weakref.finalize(self, self._database.close)
            for key in self._database.iterator(include_value=False, verify_checksums=True):
                left -= len(key) + BYTES_A_KEY
                if left < 0:
                    raise UserError(f"{path}: has more keys than this machine can list")
                self._keys.append(key)
        except (plyvel.Error, OSError) as error:
            raise self._damaged(error) from None

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> bytes:
        """A record's key."""
        return self._keys[number]

    def value(self, number: int) -> bytes:
        """A record's value; UserError where the file is damaged."""
        try:
            found: bytes | None = self._database.get(self._keys[number], verify_checksums=True)
        except (self._error, OSError) as error:
            raise self._damaged(error) from None
        if found is None:
            raise UserError(f"{self.path}: damaged: the record {number:,} is gone")
        return found

    def _damaged(self, error: Exception) -> UserError:
        reason = printable(str(error).replace(self._folder.name, str(self.path)).split("\n")[0], 200)
        return UserError(f"{self.path}: not a LevelDB database, or damaged: {reason}")


def write_leveldb(path: Path, records: Iterator[tuple[bytes, bytes]]) -> int:
    """Write records into a new database, a folder that is not there yet, whole or not at all; how many there were."""
    plyvel = needed("plyvel", f"{path}: LevelDB")
    count = 0
    with new_folder(path) as folder:
        try:
            database = plyvel.DB(str(folder), create_if_missing=True)
            for key, value in records:
                database.put(key, value)
                count += 1
            database.close()
        except plyvel.Error as error:
            raise UserError(f"{path}: cannot be written: {printable(str(error), 200)}") from None
    return count
