"""Model packages: a net with weights, names of classes, rule for records, licence, figures, and hashes of all files.

A package is a folder, or one file that is a zip of it (`.netz`), with `manifest.json`. Files have plain names and lie
in no folder of it. Sizes are those of the manifest, looked at before anything is unpacked; what is written is hashed on
its way, and never lands beside the folder that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..compiler.program import UserError, printable
from .atomic import replace_file
from .data.files import DEFLATE_RATIO, check_regular, explained

SCHEMA = "netc.zoo.pack/1"
MANIFEST = "manifest.json"
SUFFIX = ".netz"
LARGEST_MANIFEST = 1 << 20  # bytes
MOST_FILES = 64
LARGEST = 1 << 34  # bytes of all files of a package
PIECE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_SUM = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DEFLATED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Rule:
    """What happens to the records of an input: value = (record - mean) * scale of the middle of so many pixels.

    mean: numbers, one for all or one a channel, or a file of the package. crop: height and width, or none.
    """

    input: str
    scale: float
    mean: tuple[float, ...] | str
    crop: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        mean = self.mean if isinstance(self.mean, str) else list(self.mean)
        return {"input": self.input, "scale": self.scale, "mean": mean, "crop": list(self.crop)}


@dataclass(frozen=True)
class Manifest:
    """What a package says of itself. file, weights, labels, sample: of its files; net: the one of the file.

    records, metrics: of the sample, the means of the net's losses and metrics on it, which hold to `tolerance`, of the
    value or of one. files: each with its bytes and its SHA-256.
    """

    name: str
    licence: str
    file: str
    net: str
    weights: str
    labels: str | None
    sample: str | None
    records: int
    metrics: Mapping[str, float]
    tolerance: float
    transform: tuple[Rule, ...]
    files: Mapping[str, tuple[int, str]]

    def as_dict(self) -> dict[str, Any]:
        """The form of `manifest.json`, without its schema."""
        return {
            **{key: getattr(self, key) for key in ("name", "licence", "file", "net", "weights", "labels", "sample")},
            "records": self.records,
            "metrics": dict(self.metrics),
            "tolerance": self.tolerance,
            "transform": [one.as_dict() for one in self.transform],
            "files": {name: {"bytes": count, "sha256": digest} for name, (count, digest) in self.files.items()},
        }

    def encoded(self) -> bytes:
        return (json.dumps({"schema": SCHEMA, **self.as_dict()}, indent=2, ensure_ascii=False) + "\n").encode()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(count for count, _ in self.files.values())


KEYS = {"schema", "name", "licence", "file", "net", "weights", "labels", "sample", "records", "metrics", "tolerance"}
KEYS |= {"transform", "files"}


class Package:
    """A package at a path, whose manifest is read and checked; UserError for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            self.folder = path.is_dir()
        with self._opened() as archive, self._stream(archive, MANIFEST, LARGEST_MANIFEST) as stream:
            self.manifest = _manifest(path, stream.read(LARGEST_MANIFEST + 1))
        with self._opened() as archive:
            for name, (count, _) in self.manifest.files.items():
                self._check_size(archive, name, count)

    def sums(self) -> dict[str, bool]:
        """Whether each file has the bytes that the manifest says."""
        with self._opened() as archive:
            return {name: self._copy(archive, name, None) for name in self.manifest.files}

    def unpack(self, folder: Path) -> None:
        """Write all files into a folder that is there; UserError where one is not what the manifest says."""
        room = shutil.disk_usage(folder).free
        if self.manifest.size > room:
            raise UserError(f"{self.path}: takes {self.manifest.size:,} bytes unpacked, {folder} has room for {room:,}")
        with self._opened() as archive:
            for name in self.manifest.files:
                with (folder / name).open("xb") as out:
                    same = self._copy(archive, name, out)
                if not same:
                    raise UserError(f"{self.path}: {name} is not the file that was packed: its SHA-256 differs")
        (folder / MANIFEST).write_bytes(self.manifest.encoded())

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile | None]:
        """The archive, or None for a folder; every fault of it is a `UserError`."""
        if self.folder:
            with explained(self.path):
                yield None
            return
        check_regular(self.path)
        with explained(self.path):
            try:
                with zipfile.ZipFile(self.path) as archive:
                    names = archive.namelist()
                    if len(names) != len(set(names)) or len(names) > MOST_FILES + 1:
                        raise UserError(f"{self.path}: has files twice, or more than {MOST_FILES} of them")
                    yield archive
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
                raise UserError(f"{self.path}: not a readable package ({printable(str(error), 100)})") from None

    def _check_size(self, archive: zipfile.ZipFile | None, name: str, count: int | None) -> int:
        """The bytes of a file; a UserError where it is absent, claims what cannot be, or has not `count`."""
        if archive is None:
            if (self.path / name).is_symlink():
                raise UserError(f"{self.path}: {name} is a link, which may lead out of it")
            check_regular(self.path / name)
            found = (self.path / name).stat().st_size
        else:
            if name not in archive.namelist():
                raise UserError(f"{self.path}: there is no {name} in it")
            info = archive.getinfo(name)
            found = info.file_size
            if info.compress_type not in _DEFLATED or info.flag_bits & 1:
                raise UserError(f"{self.path}: {name} is encrypted, or packed by something else than deflate")
            if found > info.compress_size * DEFLATE_RATIO + DEFLATE_RATIO:
                raise UserError(f"{self.path}: {name} claims {found:,} bytes, more than it can hold")
        if count is not None and found != count:
            raise UserError(f"{self.path}: {name} has {found:,} bytes, its manifest says {count:,}")
        return found

    @contextmanager
    def _stream(self, archive: zipfile.ZipFile | None, name: str, most: int) -> Iterator[IO[bytes]]:
        if self._check_size(archive, name, None) > most:
            raise UserError(f"{self.path}: {name} has more than {most:,} bytes")
        with (self.path / name).open("rb") if archive is None else archive.open(name) as stream:
            yield stream

    def _copy(self, archive: zipfile.ZipFile | None, name: str, out: IO[bytes] | None) -> bool:
        """Write a file's bytes, never more than it may have; whether they are those that were packed."""
        count, digest = self.manifest.files[name]
        done, left = hashlib.sha256(), count
        with self._stream(archive, name, count) as stream:
            while piece := stream.read(min(PIECE, left + 1)):
                left -= len(piece)
                if left < 0:
                    return False
                done.update(piece)
                if out is not None:
                    out.write(piece)
        return left == 0 and done.hexdigest() == digest


def write_package(out: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Write a package as one file, whole or not at all; the same files give the same bytes."""

    def write(part: Path) -> None:
        with zipfile.ZipFile(part, "w") as archive:
            for name in (MANIFEST, *files):
                info = zipfile.ZipInfo(name)  # of 1980, whenever it is packed
                info.external_attr = 0o644 << 16
                packed = not name.endswith((".safetensors", ".caffemodel"))  # floats hardly become smaller
                info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                with archive.open(info, "w", force_zip64=True) as member:
                    if name == MANIFEST:
                        member.write(manifest.encoded())
                        continue
                    with files[name].open("rb") as stream:
                        shutil.copyfileobj(stream, member, PIECE)

    replace_file(out, write)


def sized(path: Path) -> tuple[int, str]:
    """The bytes and the SHA-256 of a file."""
    check_regular(path)
    with explained(path), path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return stream.tell(), digest


def check_name(name: str, what: str) -> str:
    """A name that a file of a package may have; UserError for another one."""
    if not _NAME.fullmatch(name) or name.lower() == MANIFEST:
        raise UserError(f"{what}: `{printable(name, 60)}` is no name for a file of a package: letters, digits, _ . -")
    return name


def _manifest(path: Path, data: bytes) -> Manifest:
    """The manifest with all it claims checked."""

    def no_number(text: str) -> float:
        raise ValueError(text)

    try:
        tree = json.loads(data, parse_constant=no_number)
    except (ValueError, RecursionError):
        raise UserError(f"{path}: its {MANIFEST} is not JSON") from None
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise UserError(f"{path}: its {MANIFEST} is not of the form {SCHEMA}, which this netc reads")
    try:
        return _of(tree)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, UserError) as error:
        raise UserError(f"{path}: its {MANIFEST} is wrong: {printable(str(error), 120)}") from None


def _of(tree: Mapping[str, Any]) -> Manifest:
    if tree.keys() != KEYS:
        raise ValueError(f"the keys are not {', '.join(sorted(KEYS))}")
    files = {
        check_name(name, "files"): (_whole(row["bytes"], LARGEST), _text(row["sha256"], _SUM))
        for name, row in tree["files"].items()
    }
    if len(files) > MOST_FILES or sum(count for count, _ in files.values()) > LARGEST:
        raise ValueError(f"more than {MOST_FILES} files, or {LARGEST:,} bytes")
    if len({name.lower() for name in files}) != len(files):
        raise ValueError("names of files that differ by capitals alone")
    named = {key: tree[key] for key in ("file", "weights", "labels", "sample")}
    for key, name in named.items():
        if not (isinstance(name, str) and name in files) and (name is not None or key in ("file", "weights")):
            raise ValueError(f"`{key}` names no file of it")
    tolerance = _number(tree["tolerance"])
    if tolerance < 0:
        raise ValueError("a tolerance below 0")
    if bool(tree["metrics"]) != bool(named["sample"]):
        raise ValueError("figures without a sample, or a sample without figures")
    return Manifest(
        **{key: _line(tree[key]) for key in ("name", "licence", "net")},
        **named,
        records=_whole(tree["records"], LARGEST),
        metrics={_line(name): _number(value) for name, value in tree["metrics"].items()},
        tolerance=tolerance,
        transform=tuple(_rule(row, files) for row in _list(tree["transform"])),
        files=files,
    )


def _rule(row: Mapping[str, Any], files: Mapping[str, Any]) -> Rule:
    mean = row["mean"]
    if isinstance(mean, str) and mean not in files:
        raise ValueError("a mean that is no file of it")
    means = mean if isinstance(mean, str) else tuple(map(_number, _list(mean)))
    crop = tuple(_whole(side, 1 << 20) for side in _list(row["crop"]))
    if len(crop) not in (0, 2) or row.keys() != {"input", "scale", "mean", "crop"}:
        raise ValueError("a rule of `transform` is none")
    return Rule(_line(row["input"]), _number(row["scale"]), means, crop)


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError("no list where one must be")
    return value


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"a number that is not from 0 to {most:,}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("what must be a number is none")
    return float(value)


def _line(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
        raise ValueError("what must be a line of text is none")
    return value


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("a hash that is none")
    return value
