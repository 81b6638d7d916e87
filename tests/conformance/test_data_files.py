"""The data layers of the real Caffe, batch by batch: what its databases and lists become, bit for bit."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.runtime.caffe.datum import parse_datum
from netc.runtime.caffe.leveldb import LevelDb
from netc.runtime.caffe.lmdb import Lmdb
from support.caffe import CONFORMANCE
from support.commands import run
from support.data_files import stream

FILES = CONFORMANCE / "files"

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")

IMAGES = {"path": "list.txt", "root": "img", "order": "bgr", "batch": 3}
# What each data layer is called here; the names of its columns are those of Caffe's tops.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "raw": ("lmdb", {"path": "lmdb_raw", "batch": 5}),
    "raw_crop_mean_scale": (
        "lmdb",
        {"path": "lmdb_raw", "batch": 5, "crop": 23, "mean": "mean.binaryproto", "scale": 0.00390625},
    ),
    "raw_mean_values": ("lmdb", {"path": "lmdb_raw", "batch": 5, "mean": [104.0, 117.0, 123.0]}),
    "raw_mean_value1": ("lmdb", {"path": "lmdb_raw", "batch": 5, "mean": [100.0], "scale": 0.5, "crop": 30}),
    "jpeg": ("lmdb", {"path": "lmdb_jpeg", "batch": 5}),
    "jpeg_crop_mean": ("lmdb", {"path": "lmdb_jpeg", "batch": 5, "crop": 21, "mean": "mean.binaryproto"}),
    "png_resized": ("lmdb", {"path": "lmdb_png_resized", "batch": 5}),
    "png_force_gray": ("lmdb", {"path": "lmdb_png_resized", "batch": 5, "colors": "gray"}),
    "png_force_encoded_color": ("lmdb", {"path": "lmdb_png_resized", "batch": 5, "colors": "color"}),
    "gray": ("lmdb", {"path": "lmdb_gray_resized", "batch": 5, "scale": 0.00390625}),
    "leveldb": ("leveldb", {"path": "leveldb_raw", "batch": 5}),
    "float": ("lmdb", {"path": "lmdb_float", "batch": 4, "scale": 2.0}),
    "hdf5": ("hdf5", {"path": "h5_list.txt", "batch": 3}),
    "image": ("image_list", IMAGES),
    "image_resize": ("image_list", IMAGES | {"height": 20, "width": 30}),
    "image_resize_up": ("image_list", IMAGES | {"height": 50, "width": 60}),
    "image_gray": ("image_list", IMAGES | {"height": 20, "width": 30, "gray": True}),
    "image_crop_mean": ("image_list", IMAGES | {"crop": 25, "mean": [100.0, 110.0, 120.0], "scale": 0.01}),
}


@pytest.mark.parametrize("name", CASES)
def test_batches_as_caffes(name: str) -> None:
    source, settings = CASES[name]
    with np.load(FILES / f"data__{name}.npz") as wanted, stream(source, FILES, **settings) as found:
        compared = 0
        while f"out@{compared}/label" in wanted:
            columns = found.next().columns
            for top in ("data", "label"):
                key = f"out@{compared}/{top}"
                if key in wanted:
                    ours = columns.get("image" if top == "data" else top, columns.get(top))
                    np.testing.assert_array_equal(ours, wanted[key], err_msg=key)
            compared += 1
        assert compared >= 3


def test_every_random_crop_is_one_of_its_record() -> None:
    whole = stream("lmdb", FILES, path="lmdb_raw", batch=5)
    taken = stream("lmdb", FILES, path="lmdb_raw", batch=5, mode="train", crop=20, mirror=True)
    seen = set()
    with whole, taken:
        for _ in range(3):
            for record, part in zip(whole.next().columns["image"], taken.next().columns["image"].copy(), strict=True):
                places = [
                    (y, x, flip)
                    for y in range(record.shape[1] - 19)
                    for x in range(record.shape[2] - 19)
                    for flip in (1, -1)
                    if np.array_equal(record[:, y : y + 20, x : x + 20][..., ::flip], part)
                ]
                assert len(places) == 1
                seen |= set(places)
    assert len({flip for _, _, flip in seen}) == 2
    assert len(seen) > 10


def test_records_as_caffe_finds_them() -> None:
    said: dict[str, list[dict[str, Any]]] = json.loads((FILES / "datums.json").read_text())
    for name, records in said.items():
        database = Lmdb(FILES / name)
        assert len(database) == len(records)
        for number, record in enumerate(records):
            assert database.key(number).decode() == record["key"]
            datum = parse_datum(database.value(number))
            assert (datum.label, datum.image is None) == (record["label"], record["encoded"])
            held = datum.file if datum.image is None else datum.image.tobytes() if record["n_data"] else b""
            assert zlib.crc32(held) == record["crc"]
            if datum.image is not None:
                assert datum.image.shape == (record["channels"], record["height"], record["width"])


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("lmdb_raw", []),
        ("lmdb_gray_resized", ["--gray", "--height", "28", "--width", "28"]),
        ("leveldb_raw", ["--height", "12", "--width", "14", "--backend", "leveldb"]),
    ],
)
def test_a_database_of_images_holds_what_caffe_writes(tmp_path: Path, name: str, flags: list[str]) -> None:
    status, printed, told = run("data", "convert", FILES / "list.txt", tmp_path / "db", "--root", FILES / "img", *flags)
    assert (status, told, printed) == (0, "", f"{tmp_path / 'db'}: 32 records\n")
    opened = LevelDb if name.startswith("leveldb") else Lmdb
    ours, caffes = opened(tmp_path / "db"), opened(FILES / name)
    for number in range(32):
        assert ours.key(number) == caffes.key(number)
        assert ours.value(number) == caffes.value(number)


def test_the_mean_of_a_database_has_caffes_bits(tmp_path: Path) -> None:
    status, printed, told = run("data", "mean", FILES / "lmdb_raw", tmp_path / "mean.binaryproto")
    assert status == 0, told
    assert printed.startswith("channel 0: ")
    assert (tmp_path / "mean.binaryproto").read_bytes() == (FILES / "mean.binaryproto").read_bytes()
