"""Preparing a set of photos for training: each is decoded once, brought to one size, and the mean image is taken.

What was prepared before is kept if it is whole, so a conversion that was interrupted goes on where it stopped. Every
photo is written whole or not at all; lists, mean and report follow when all photos are there. The mean is summed in
whole numbers over the prepared files, so neither the order of the work nor an interruption changes a bit of it.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...compiler.program import UserError, printable
from ..atomic import replace_file, sweep, write_text
from ..data.files import explained
from ..data.images import opened_image, unreadable
from ..data.opencv import pixels_of, resized
from ..data.source import Array
from .lmdb import Lmdb
from .making import Images, image_file, make_database
from .mean import write_mean
from .photo_sets import TRAIN, PhotoSet, Split

Fit = Literal["crop", "squash"]
Encoding = Literal["jpg", "png"]
Advance = Callable[[str, int, int], None]
"""Who is told how it goes: the part of the set, photos done, photos in all."""

REPORT, LEFT_OUT, LABELS, MEAN = "prepared.json", "left_out.txt", "labels.txt", "mean.binaryproto"
ENDINGS = {"jpg": (".jpg", ".jpeg"), "png": (".png",)}
CHUNK = 32  # photos that a thread takes at a time
KEPT_REASONS = 100_000


@dataclass(frozen=True)
class Preparing:
    """What becomes of a photo. size: of its sides. fit: `crop` brings the shorter side to it and takes the middle, by
    Pillow's bilinear filter; `squash` brings both to it whatever the shape, to the bytes of Caffe's `convert_imageset`.

    strict: a photo that cannot be read is an error, once all were looked at. database: an LMDB of each part as well,
    shuffled, of the files as they are.
    """

    size: int = 256
    fit: Fit = "crop"
    encoding: Encoding = "jpg"
    strict: bool = False
    database: bool = False


@dataclass(frozen=True)
class Part:
    """What became of one part. made, kept: photos of this run, and of one before. fewest, most: of a class."""

    name: str
    found: int
    prepared: int
    made: int
    kept: int
    left_out: int
    fewest: int
    most: int
    list: str
    database: str | None


@dataclass(frozen=True)
class Prepared:
    """What was done. left_out: files that could not be read, each with the reason; mean: of blue, green and red."""

    folder: str
    classes: int
    size: int
    fit: str
    parts: Sequence[Part]
    left_out: Sequence[tuple[str, str]]
    mean: Sequence[float]
    seconds: float


@dataclass
class _Chunk:
    """What a thread found: for each of its photos why it was left out, or nothing; the sum of the pixels [3, H, W]."""

    reasons: list[str]
    made: int
    total: Array


def prepare(
    photos: PhotoSet, folder: Path, how: Preparing, *, workers: int, advance: Advance = lambda name, done, all_: None
) -> Prepared:
    """Prepare a set into a folder, which may hold what an interrupted call left.

    Its form is that of Caffe's ImageNet: `train/CLASS/NAME.jpg` and a list `train.txt` (`CLASS/NAME.jpg label`), the
    same for `val`, `labels.txt`, and `mean.binaryproto`, the mean image of `train`. `UserError` where the folder holds
    photos of other settings, or nothing could be read.
    """
    begin = time.monotonic()
    _claim(folder, how)
    parts: list[Part] = []
    bad: list[tuple[str, str]] = []
    lists: dict[str, str] = {}
    mean = np.zeros((3, how.size, how.size))
    for split in photos.splits:
        names, reasons, made = _names(split, how), list[str](), 0
        total = np.zeros((3, how.size, how.size), np.int64)
        for chunk in _converted(split, names, folder / split.name, how, workers, advance):
            reasons += chunk.reasons
            made += chunk.made
            total += chunk.total
        good = [row for row, reason in enumerate(reasons) if not reason]
        bad += [(split.files[row], reason) for row, reason in enumerate(reasons) if reason]
        if split.name == TRAIN and good:
            mean = total / len(good)
        count = np.bincount(split.labels[good], minlength=len(photos.classes))
        part = Part(
            name=split.name,
            found=len(names),
            prepared=len(good),
            made=made,
            kept=len(good) - made,
            left_out=len(names) - len(good),
            fewest=int(count.min()),
            most=int(count.max()),
            list=str(folder / f"{split.name}.txt"),
            database=str(folder / f"{split.name}_lmdb") if how.database else None,
        )
        parts.append(part)
        lists[part.list] = "".join(f"{names[row].replace(os.sep, '/')} {split.labels[row]}\n" for row in good)
    _told_of_bad(folder, bad, parts, how)
    same = {path for path, text in lists.items() if _list_of(Path(path)) == text}
    for path in lists.keys() - same:
        _write(Path(path), lists[path].encode("utf-8", "surrogateescape"))
    write_text(folder / LABELS, "".join(f"{name}\n" for name in photos.classes))
    write_mean(folder / MEAN, mean.astype(np.float32))
    for part in parts if how.database else ():
        _database(folder, part, how, changed=part.made > 0 or part.list not in same)
    means = [round(float(value), 4) for value in mean.mean(axis=(1, 2))]
    seconds = round(time.monotonic() - begin, 1)
    done = Prepared(str(folder), len(photos.classes), how.size, how.fit, parts, bad, means, seconds)
    write_text(folder / REPORT, json.dumps(_settings(how) | {"done": asdict(done)}, indent=2) + "\n")
    return done


def _settings(how: Preparing) -> dict[str, object]:
    """What all photos of a folder have in common."""
    return {"size": how.size, "fit": how.fit, "encoding": how.encoding}


def _claim(folder: Path, how: Preparing) -> None:
    """Make the folder, or see that what it holds was prepared in the same way."""
    with explained(folder):
        folder.mkdir(exist_ok=True)
        strange = any(folder.iterdir()) and not (folder / REPORT).is_file()
    if strange:
        raise UserError(f"{folder}: is there already and holds other things; choose another name")
    if (folder / REPORT).is_file():
        with explained(folder / REPORT):
            text = (folder / REPORT).read_text(encoding="utf-8", errors="replace")
            said = json.loads(text)  # a ValueError is explained, too
        before = {key: said.get(key) for key in _settings(how)} if isinstance(said, dict) else {}
        if before != _settings(how):
            was = ", ".join(f"{key} {value}" for key, value in before.items())
            raise UserError(f"{folder}: was prepared with {was}; choose another name, or remove it")
    else:
        write_text(folder / REPORT, json.dumps(_settings(how)) + "\n")


def _names(split: Split, how: Preparing) -> list[str]:
    """What the prepared photos of a part are called; no two alike."""
    names = [name if name.lower().endswith(ENDINGS[how.encoding]) else f"{name}.{how.encoding}" for name in split.names]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise UserError(f"{split.name}: two photos would be called {printable(twice)}: name each once")
    return names


def _converted(
    split: Split, names: Sequence[str], folder: Path, how: Preparing, workers: int, advance: Advance
) -> Iterator[_Chunk]:
    """What became of the photos of a part, in their order; the work is shared by threads."""
    places = {os.path.dirname(name) for name in names}
    for place in places:
        with explained(folder / place):
            (folder / place).mkdir(parents=True, exist_ok=True)
        sweep(folder / place)
    starts = range(0, len(names), CHUNK)
    pool = ThreadPoolExecutor(workers)
    try:
        advance(split.name, 0, len(names))
        work = pool.map(lambda at: _chunk(split.files[at : at + CHUNK], names[at : at + CHUNK], folder, how), starts)
        for done, chunk in zip(starts, work, strict=True):
            advance(split.name, min(done + CHUNK, len(names)), len(names))
            yield chunk
    finally:  # Ctrl-C too: what is not begun is not done
        pool.shutdown(cancel_futures=True)


def _chunk(files: Sequence[str], names: Sequence[str], folder: Path, how: Preparing) -> _Chunk:
    """Photos one after the other."""
    found = _Chunk([], 0, np.zeros((3, how.size, how.size), np.int64))
    for file, name in zip(files, names, strict=True):
        target, data = folder / name, b""
        try:
            if "\n" in name:
                raise UserError("its name has a line break, which no list can hold")
            pixels = _kept(Path(file), target, how)
            if pixels is None:
                data = _made(Path(file), how)
                pixels = _pixels(data, target, how)
        except UserError as error:
            found.reasons.append(str(error).removeprefix(f"{printable(file)}: "))
            continue
        if data:  # where this cannot be written, the photo is not to blame
            _write(target, data)
            found.made += 1
        found.total += pixels
        found.reasons.append("")
    return found


def _write(path: Path, data: bytes) -> None:
    def write(part: Path) -> None:
        part.write_bytes(data)

    replace_file(path, write)


def _kept(file: Path, target: Path, how: Preparing) -> Array | None:
    """The pixels of a photo that is prepared already, whole, and not older than its source; else None."""
    try:
        if target.stat().st_mtime < file.stat().st_mtime:
            return None
        return _pixels(target.read_bytes(), target, how)
    except (OSError, UserError):
        return None


def _pixels(data: bytes, name: Path, how: Preparing) -> Array:
    """What a prepared file holds: [3, size, size], blue first; a `UserError` if it is not whole, or of another size."""
    with opened_image(io.BytesIO(data), name) as image:
        if (image.height, image.width) != (how.size, how.size):
            raise UserError(f"{name}: is {image.height} x {image.width}, not {how.size} x {how.size}")
        try:
            return np.moveaxis(pixels_of(image, "color")[..., ::-1], -1, 0)
        except Exception as error:
            raise unreadable(name, error) from None


def _made(file: Path, how: Preparing) -> bytes:
    """The prepared file of a photo: its own bytes where it has the size, the encoding and colours, else a new one."""
    from PIL.Image import Resampling

    with explained(file):
        data = file.read_bytes()
    with opened_image(io.BytesIO(data), file) as image:
        wanted = {"jpg": "JPEG", "png": "PNG"}[how.encoding]
        alike = image.format == wanted and image.mode == "RGB" and image.size == (how.size, how.size)
        try:
            if how.fit == "squash" or alike:
                array = resized(pixels_of(image, "color"), how.size, how.size)
            else:
                width, height = (max(how.size, round(side * how.size / min(image.size))) for side in image.size)
                left, top = (width - how.size) // 2, (height - how.size) // 2
                smooth = image.convert("RGB").resize((width, height), Resampling.BILINEAR)
                array = np.asarray(smooth.crop((left, top, left + how.size, top + how.size)))
        except Exception as error:
            raise unreadable(file, error) from None
    return data if alike else image_file(np.moveaxis(array[..., ::-1], -1, 0), how.encoding)


def _told_of_bad(folder: Path, bad: Sequence[tuple[str, str]], parts: Sequence[Part], how: Preparing) -> None:
    """The file that names what was left out; a `UserError` where that may not be, or leaves nothing."""
    lines = "".join(f"{printable(file)}: {reason}\n" for file, reason in bad[:KEPT_REASONS])
    if lines or (folder / LEFT_OUT).exists():
        write_text(folder / LEFT_OUT, lines)
    if bad and how.strict:
        file, reason = bad[0]
        count = f"{len(bad):,} photo{'s' if len(bad) > 1 else ''}"
        raise UserError(f"{count} cannot be read, named in {folder / LEFT_OUT}; the first: {printable(file)}: {reason}")
    empty = next((part for part in parts if not part.prepared), None)
    if empty is not None:
        raise UserError(f"{empty.name}: none of its {empty.found:,} photos can be read, as {folder / LEFT_OUT} says")


def _list_of(path: Path) -> str | None:
    """A list as a call before this one left it."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _database(folder: Path, part: Part, how: Preparing, *, changed: bool) -> None:
    """An LMDB of the part, as Caffe's data layers read it: in a random order, the files as they are.

    One that is there is kept where nothing is changed since.
    """
    assert part.database is not None
    path = Path(part.database)
    if not path.exists():
        make_database(Path(part.list), folder / part.name, path, "lmdb", Images(encoding=how.encoding, shuffle=True))
    elif changed or len(Lmdb(path)) != part.prepared:
        raise UserError(f"{path}: is there already, of other photos; remove it, so that it is made again")
