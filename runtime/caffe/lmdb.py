"""LMDB, a database in one file of pages: a tree whose leaves hold keys and values in order. Its reader is our own.

The library maps the file and trusts it: one that is cut short ends the process. Here pages are read, every number in
them is checked before it is used, and a value is read when it is wanted. Source: the comments of LMDB's `mdb.c`.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...compiler.program import UserError
from ..atomic import new_folder
from ..data.files import check_regular, explained, memory_limit
from .extras import needed
from .wire import Damaged

Words = npt.NDArray[np.int64]

FILE = "data.mdb"
MAGIC, VERSIONS = 0xBEEFC0DE, (1, 2)
PAGE_SIZES = [512 << k for k in range(8)]
HEADER = 16  # bytes of a page before what it holds
NODE = 8  # bytes of a node before its key
META = 136  # bytes of a meta page that are read
BRANCH, LEAF, OVERFLOW = 1, 2, 4  # flags of pages
BIG, OTHER = 1, 6  # flags of nodes: the value has pages of its own; what Caffe does not write
DUPLICATES = 4  # flag of a tree: several values a key
NOTHING = 2**64 - 1  # the root of an empty tree
MAX_DEPTH = 64
BYTES_A_RECORD = 64  # of memory, for the place of each


class Lmdb:
    """A database opened for reading: values by their number in the order of keys. Nothing is written or locked."""

    def __init__(self, path: Path) -> None:
        self.path = path / FILE if path.is_dir() else path
        check_regular(self.path)
        with explained(self.path):
            self._file = self.path.open("rb", buffering=0)
            self._size = self._file.seek(0, 2)
        self._lock = threading.Lock()
        try:
            self._page, self._depth, entries, root = self._meta()
            if entries * BYTES_A_RECORD > memory_limit():
                raise Damaged(f"{entries:,} records, more than this machine can list")
            self._keys, self._values = self._index(root, entries)
        except (Damaged, struct.error) as error:
            raise UserError(f"{self.path}: not an LMDB database, or damaged: {error}") from None

    def __len__(self) -> int:
        return len(self._values)

    def key(self, number: int) -> bytes:
        """A record's key; UserError where the file is damaged."""
        return self._bytes(self._keys[number])

    def value(self, number: int) -> bytes:
        """A record's value; UserError where the file is damaged."""
        return self._bytes(self._values[number])

    def _bytes(self, place: Words) -> bytes:
        at, size = map(int, place)
        try:
            return self._read(at, size)
        except Damaged as error:
            raise UserError(f"{self.path}: damaged: {error}") from None

    def _read(self, at: int, size: int) -> bytes:
        """Bytes of the file; `Damaged` where it has fewer."""
        if at + size > self._size:
            raise Damaged(f"{size:,} bytes at {at:,}, the file has {self._size:,}")
        with self._lock, explained(self.path):
            self._file.seek(at)
            found = self._file.read(size)
            while len(found) < size and (more := self._file.read(size - len(found))):
                found += more
        if len(found) < size:
            raise Damaged(f"it is cut short at byte {at + len(found):,}")
        return found

    def _meta(self) -> tuple[int, int, int, int]:
        """Size of pages, and depth, records and root of the tree, of the newer of the two first pages."""
        found: list[tuple[int, tuple[int, int, int, int]]] = []
        second = 0
        for at in (0, *PAGE_SIZES):
            if (at and second not in (0, at)) or at + META + HEADER > self._size:
                continue
            page = self._read(at + HEADER, META)
            magic, version = struct.unpack_from("<II", page)
            (size,) = struct.unpack_from("<I", page, 24)
            if magic != MAGIC or version not in VERSIONS or size not in PAGE_SIZES:
                continue
            second = second or size
            flags, depth = struct.unpack_from("<HH", page, 76)
            entries, root = struct.unpack_from("<QQ", page, 104)
            (number,) = struct.unpack_from("<Q", page, 128)
            if flags & DUPLICATES:
                raise Damaged("it has several values a key, which Caffe does not write")
            found.append((number, (size, depth, entries, root)))
        if not found:
            raise Damaged("it has no valid first page")
        return max(found)[1]

    def _index(self, root: int, entries: int) -> tuple[Words, Words]:
        """Where all keys and values lie, [records, 2]: the first byte and the number of bytes."""
        keys = [np.empty((0, 2), np.int64)]
        values = [np.empty((0, 2), np.int64)]
        count = 0
        for at, page in self._leaves(root) if root != NOTHING else ():
            key, value = self._nodes(at, page)
            count += len(key)
            if count > entries:
                raise Damaged(f"more than the {entries:,} records that it should have")
            keys.append(key)
            values.append(value)
        if count != entries:
            raise Damaged(f"{count:,} records, where it should have {entries:,}")
        return np.concatenate(keys), np.concatenate(values)

    def _leaves(self, root: int) -> Iterator[tuple[int, bytes]]:
        """The leaves in order, each with its first byte; a tree that goes round is `Damaged`."""
        left = self._size // self._page
        waiting = [(root, min(self._depth, MAX_DEPTH))]
        while waiting:
            number, depth = waiting.pop()
            left -= 1
            if left < 0 or depth < 1:
                raise Damaged("its pages go round")
            if not 2 <= number < self._size // self._page:
                raise Damaged(f"page {number:,}, where there are {self._size // self._page:,}")
            at = number * self._page
            page = self._read(at, self._page)
            own, _, flags, lower, upper = struct.unpack_from("<QHHHH", page)
            if own != number or not HEADER <= lower <= upper <= self._page:
                raise Damaged(f"page {number:,} is no page")
            if flags & BRANCH:
                waiting += [(child, depth - 1) for child in reversed(self._children(page))]
            elif flags & LEAF:
                yield at, page
            else:
                raise Damaged(f"page {number:,} is of no kind that Caffe writes")

    def _offsets(self, page: bytes) -> Words:
        """Where the nodes of a page begin in it."""
        (lower,) = struct.unpack_from("<H", page, 12)
        found = np.frombuffer(page, "<u2", (lower - HEADER) // 2, HEADER).astype(np.int64)
        if len(found) and (found.min() < HEADER or found.max() + NODE > self._page or (found & 1).any()):
            raise Damaged("a node beside its page")
        return found

    def _children(self, page: bytes) -> Sequence[int]:
        """The pages below a branch."""
        words = np.frombuffer(page, "<u2").astype(np.int64)
        at = self._offsets(page) // 2
        found: list[int] = (words[at] | words[at + 1] << 16 | words[at + 2] << 32).tolist()
        return found

    def _nodes(self, begin: int, page: bytes) -> tuple[Words, Words]:
        """Where keys and values of a leaf's nodes lie in the file."""
        words = np.frombuffer(page, "<u2").astype(np.int64)
        offsets = self._offsets(page)
        at = offsets // 2
        sizes, flags, lengths = words[at] | words[at + 1] << 16, words[at + 2], words[at + 3]
        data = offsets + NODE + lengths
        big = (flags & BIG).astype(bool)
        if (flags & OTHER).any():
            raise Damaged("it holds databases within a database, which Caffe does not write")
        if len(at) and (data + np.where(big, 8, sizes)).max() > self._page:
            raise Damaged("a record beside its page")
        keys = np.stack([begin + offsets + NODE, lengths], axis=1)
        places = begin + data
        if big.any():
            eight = np.frombuffer(page, np.uint8)[data[big, None] + np.arange(8)]
            numbers = np.ascontiguousarray(eight).view("<u8")[:, 0]
            pages = self._size // self._page
            if numbers.min() < 2 or numbers.max() >= pages:
                raise Damaged(f"a value on page {int(numbers.max()):,}, where there are {pages:,}")
            places[big] = numbers.astype(np.int64) * self._page + HEADER
        if len(at) and (places + sizes).max() > self._size:
            raise Damaged("a record beside the file")
        return keys, np.stack([places, sizes], axis=1)


def write_lmdb(path: Path, records: Iterator[tuple[bytes, bytes]]) -> int:
    """Write records into a new database, a folder that is not there yet, whole or not at all; how many there were."""
    lmdb = needed("lmdb", f"{path}: LMDB")
    count, room = 0, 1 << 24
    with new_folder(path) as folder:
        try:
            with lmdb.open(str(folder), map_size=room) as environment:
                for batch in _batches(records):
                    need = sum(2 * len(key) + 2 * len(value) + (1 << 13) for key, value in batch)
                    room = max(room, 2 * _used(environment) + need)
                    environment.set_mapsize(room)
                    with environment.begin(write=True) as transaction:
                        for key, value in batch:
                            if not transaction.put(key, value, overwrite=False):
                                raise UserError(f"{path}: two records have the key {key!r}")
                    count += len(batch)
        except lmdb.Error as error:
            raise UserError(f"{path}: cannot be written: {error}") from None
    return count


def _used(environment: object) -> int:
    """The bytes of an environment that hold pages."""
    info, stat = environment.info(), environment.stat()  # type: ignore[attr-defined]
    used: int = (info["last_pgno"] + 1) * stat["psize"]
    return used


def _batches(records: Iterator[tuple[bytes, bytes]], size: int = 256) -> Iterator[list[tuple[bytes, bytes]]]:
    batch: list[tuple[bytes, bytes]] = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
