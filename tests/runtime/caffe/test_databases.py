"""Caffe's databases and lists as sources of data: what is in them, and files that are damaged, or something else."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import lmdb as library
import numpy as np
import pytest
from PIL import Image

from netc.compiler.program import UserError
from netc.runtime.caffe.datum import datum_bytes, encoded_bytes
from netc.runtime.caffe.leveldb import LevelDb, write_leveldb
from netc.runtime.caffe.lmdb import Lmdb, write_lmdb
from netc.runtime.caffe.mean import write_mean
from support.caffe.binary import Array, numbers
from support.data_files import first, pixels, stream

Records = list[tuple[bytes, bytes]]
WRITERS: dict[str, Callable[[Path, Iterator[tuple[bytes, bytes]]], int]] = {
    "lmdb": write_lmdb,
    "leveldb": write_leveldb,
}


def records(images: list[Array]) -> Records:
    return [(b"%08d" % k, datum_bytes(image, k - 1)) for k, image in enumerate(images)]


def png(image: Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize("kind", WRITERS)
def test_images_and_labels_come_in_the_order_of_keys(tmp_path: Path, kind: str) -> None:
    images = [pixels(3, 4, 5, seed=k) for k in range(5)]
    assert WRITERS[kind](tmp_path / "db", iter(records(images)[::-1])) == 5
    write_mean(tmp_path / "mean.binaryproto", numbers(3, 4, 5))
    batch = first(kind, tmp_path, path="db", batch=5, mean="mean.binaryproto", scale=0.5)
    np.testing.assert_array_equal(batch["image"], (np.stack(images) - numbers(3, 4, 5)) * np.float32(0.5))
    np.testing.assert_array_equal(batch["label"], [-1, 0, 1, 2, 3])
    assert first(kind, tmp_path, path="db", batch=7, columns=["x"]).keys() == {"x"}


def test_floats(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", iter(records([numbers(1, 2, 2), numbers(1, 2, 2, seed=1)])))
    found = first("lmdb", tmp_path, path="db", batch=2)["image"]
    np.testing.assert_array_equal(found, [numbers(1, 2, 2), numbers(1, 2, 2, seed=1)])


def test_encoded_images_come_blue_first_and_in_the_colors_asked_for(tmp_path: Path) -> None:
    color, gray = pixels(4, 5, 3), pixels(4, 5)
    write_lmdb(tmp_path / "db", iter([(b"0", encoded_bytes(png(color), 3)), (b"1", encoded_bytes(png(gray), 4))]))
    found = first("lmdb", tmp_path, path="db", batch=2, colors="color")
    np.testing.assert_array_equal(found["image"][0], np.moveaxis(color[..., ::-1], -1, 0))
    np.testing.assert_array_equal(found["image"][1], np.broadcast_to(gray, (3, 4, 5)))
    np.testing.assert_array_equal(found["label"], [3, 4])
    assert first("lmdb", tmp_path, path="db", batch=2, colors="gray")["image"].shape == (2, 1, 4, 5)
    with pytest.raises(UserError, match="image 1 is 1 x 4 x 5, the first is 3 x 4 x 5"):
        first("lmdb", tmp_path, path="db", batch=2)
    with pytest.raises(UserError, match="image 1 is 1 x 4 x 5, the first has 3 channels"):
        first("lmdb", tmp_path, path="db", batch=2, crop=2)


def test_sizes_may_differ_where_they_are_cropped(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", iter(records([pixels(1, 4, 6), pixels(1, 6, 4)])))
    found = first("lmdb", tmp_path, path="db", batch=2, crop=2)["image"]
    np.testing.assert_array_equal(found[1], pixels(1, 6, 4)[:, 2:4, 1:3])
    with pytest.raises(UserError, match=r"image 1 is 1 x 6 x 4, the first is 1 x 4 x 6; give .* or `crop`"):
        first("lmdb", tmp_path, path="db", batch=2)


def test_our_reader_of_lmdb_finds_what_the_library_does(tmp_path: Path) -> None:
    """Values of every size, so that some have pages of their own, and branches above the leaves."""
    chance = random.Random(0)
    wanted = [(b"%05d" % k, chance.randbytes(chance.choice((0, 3, 100, 1999, 2000, 9000)))) for k in range(600)]
    write_lmdb(tmp_path / "db", iter(wanted))
    database = Lmdb(tmp_path / "db")
    assert [(database.key(k), database.value(k)) for k in range(len(database))] == wanted
    with library.open(str(tmp_path / "db"), readonly=True, lock=False) as environment, environment.begin() as reading:
        assert environment.stat()["depth"] > 1
        assert [(bytes(key), bytes(value)) for key, value in reading.cursor()] == wanted


def test_an_empty_database(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "db", iter([]))
    with pytest.raises(UserError, match="has no records"):
        first("lmdb", tmp_path, path="db", batch=1)


def test_a_database_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"1"
        raise UserError("no more")

    for write in WRITERS.values():
        with pytest.raises(UserError, match="no more"):
            write(tmp_path / "db", broken())
        assert not list(tmp_path.iterdir())
    (tmp_path / "db").mkdir()
    with pytest.raises(UserError, match="is there already"):
        write_lmdb(tmp_path / "db", iter([]))


def test_leveldb_writes_nothing_into_the_folder_and_is_opened_twice(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    write_leveldb(folder, iter(records([pixels(1, 2, 2)] * 3)))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    folder.chmod(0o500)
    one, other = LevelDb(folder), LevelDb(folder)
    assert [one.key(k) for k in range(3)] == [b"00000000", b"00000001", b"00000002"]
    assert one.value(2) == other.value(2) == datum_bytes(pixels(1, 2, 2), 1)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    folder.chmod(0o700)


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 20_000)
    (tmp_path / "empty").mkdir()
    write_lmdb(tmp_path / "other", iter([(b"key", b"no datum")]))
    for source, path, said in (
        ("lmdb", "file", "not an LMDB database, or damaged: it has no valid first page"),
        ("lmdb", "empty", "there is no such file"),
        ("lmdb", "other", "record 0 is no Datum"),
        ("leveldb", "empty", "it has no file CURRENT"),
        ("leveldb", "file", "cannot be read"),
        ("leveldb", "none", "there is no such file"),
        ("hdf5", "file", "cannot be read .File name too long"),
        ("hdf5", "none", "there is no such file"),
    ):
        with pytest.raises(UserError, match=said):
            first(source, tmp_path, path=path, batch=1)


def test_a_damaged_log_of_leveldb_is_refused_not_read_without_its_records(tmp_path: Path) -> None:
    write_leveldb(tmp_path / "db", iter(records([pixels(1, 3, 3, seed=k) for k in range(50)])))
    log = next(path for path in (tmp_path / "db").iterdir() if path.suffix == ".log")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged: .*checksum mismatch"):
        LevelDb(tmp_path / "db")


def write_h5(path: Path, **arrays: Array) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def test_rows_of_several_hdf5_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = numbers(8, 2, 3), np.arange(8)
    write_h5(tmp_path / "a.h5", x=x[:5], y=y[:5], z=x[:5].astype(np.float64))
    write_h5(tmp_path / "b.h5", x=x[5:], y=y[5:], z=x[5:].astype(np.float64))
    (tmp_path / "list.txt").write_text("a.h5\nb.h5\n")
    with stream("hdf5", tmp_path, path="list.txt", batch=3) as opened:
        assert {name: kind for name, (_, kind) in opened.columns.items()} == {"x": "f4", "y": "i4", "z": "f4"}
        for wanted in ([0, 1, 2], [3, 4, 5], [6, 7, 0]):
            columns = opened.next().columns
            np.testing.assert_array_equal(columns["y"], wanted)
            np.testing.assert_array_equal(columns["x"], x[wanted])
            np.testing.assert_array_equal(columns["z"], x[wanted])
    # With room for a file at most, rows in any order are the same.
    monkeypatch.setattr("netc.runtime.caffe.hdf5_rows._room", lambda: 1)
    with stream("hdf5", tmp_path, path="list.txt", batch=8, shuffle=True) as opened:
        columns = opened.next().columns
        assert sorted(columns["y"].tolist()) == list(range(8))
        np.testing.assert_array_equal(columns["x"], x[columns["y"]])
    assert first("hdf5", tmp_path, path="b.h5", batch=3)["y"].tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((3, 2))}, "the array `y` is not there"),
        ({"x": np.zeros((3, 3)), "y": np.zeros(3)}, "the array `x` is not there, or not as in"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(4)}, "array `y` has 4 rows, `x` 3"),
        ({"x": np.zeros((3, 2), "c8"), "y": np.zeros(3)}, "holds complex64, not numbers"),
        ({}, "holds no arrays"),
    ],
)
def test_hdf5_files_that_do_not_go_together(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    write_h5(tmp_path / "a.h5", x=np.zeros((3, 2)), y=np.zeros(3))
    write_h5(tmp_path / "b.h5", **arrays)
    (tmp_path / "list.txt").write_text("a.h5\nb.h5\n")
    with pytest.raises(UserError, match=said):
        first("hdf5", tmp_path, path="list.txt", batch=3)


def test_a_file_of_a_list_is_looked_for_where_caffe_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lists").mkdir()
    write_h5(tmp_path / "a.h5", x=np.ones((3, 2)))
    (tmp_path / "lists" / "list.txt").write_text("a.h5\n")
    monkeypatch.chdir(os.sep)
    assert first("hdf5", tmp_path / "lists", path="list.txt", batch=3)["x"].all()
    (tmp_path / "lists" / "list.txt").write_text("b.h5\n")
    with pytest.raises(UserError, match=r"lists/b.h5: there is no such file"):
        first("hdf5", tmp_path / "lists", path="list.txt", batch=3)
