"""`netc data convert` and `netc data mean`: databases of images, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc.runtime.caffe.lmdb import Lmdb
from netc.runtime.caffe.mean import read_blob_file
from support.commands import run
from support.data_files import first, pixels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for number in range(4):
        Image.fromarray(pixels(5, 6, 3, seed=number)).save(tmp_path / "img" / f"{number}.png")
    Image.fromarray(pixels(5, 6, 3, seed=4)).save(tmp_path / "img" / "4.jpg", quality=90)
    (tmp_path / "list.txt").write_text("".join(f"img/{name} {k - 1}\n" for k, name in enumerate(NAMES)))
    return tmp_path


NAMES = ("0.png", "1.png", "2.png", "3.png", "4.jpg")


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_images_become_records(folder: Path, backend: str) -> None:
    status, _, told = run("data", "convert", folder / "list.txt", folder / "db", "--backend", backend)
    assert status == 0, told
    batch = first(backend, folder, path="db", batch=5)
    listed = first("image_list", folder, path="list.txt", batch=5, order="bgr")
    np.testing.assert_array_equal(batch["image"], listed["image"])
    np.testing.assert_array_equal(batch["label"], [-1, 0, 1, 2, 3])
    status, printed, _ = run("data", "mean", folder / "db", folder / "mean.binaryproto")
    mean = read_blob_file(folder / "mean.binaryproto")
    np.testing.assert_allclose(mean[0], batch["image"].mean(axis=0), rtol=1e-6)
    assert printed.split("\n")[0] == f"channel 0: {mean[0, 0].mean(dtype=np.float64):.6g}"


def test_images_stay_the_files_that_they_are(folder: Path) -> None:
    assert run("data", "convert", folder / "list.txt", folder / "db", "--encoding", "png")[0] == 0
    database = Lmdb(folder / "db")
    assert [database.key(k) for k in (0, 4)] == [b"00000000_img/0.png", b"00000004_img/4.jpg"]
    assert (folder / "img/0.png").read_bytes() in database.value(0)
    batch = first("lmdb", folder, path="db", batch=5)
    listed = first("image_list", folder, path="list.txt", batch=5, order="bgr")
    np.testing.assert_array_equal(batch["image"], listed["image"])  # the JPEG too: it was made a PNG, without loss


def test_the_order_is_drawn_from_the_seed(folder: Path) -> None:
    labels = []
    for name, flags in (("a", ["--shuffle", "--seed", "3"]), ("b", ["--shuffle", "--seed", "3"]), ("c", ["--shuffle"])):
        assert run("data", "convert", folder / "list.txt", folder / name, *flags)[0] == 0
        labels.append(first("lmdb", folder, path=name, batch=5)["label"].tolist())
    assert labels[0] == labels[1] != labels[2]
    assert sorted(labels[2]) == [-1, 0, 1, 2, 3]


def test_what_is_refused(folder: Path) -> None:
    Image.fromarray(pixels(5, 7, 3)).save(folder / "img" / "2.png")
    status, _, told = run("data", "convert", folder / "list.txt", folder / "db", "--check-size")
    assert (status, "2.png: is 3 x 5 x 7, the first image 3 x 5 x 6" in told) == (2, True)
    assert not (folder / "db").exists()
    assert run("data", "convert", folder / "list.txt", folder / "db")[0] == 0
    status, _, told = run("data", "mean", folder / "db", folder / "mean.binaryproto")
    assert (status, "record 2 is 3 x 5 x 7, the first 3 x 5 x 6" in told) == (2, True)
    status, _, told = run("data", "convert", folder / "list.txt", folder / "db")
    assert (status, "is there already" in told) == (2, True)
    status, _, told = run("data", "convert", folder / "list.txt", folder / "other", "--height", 4)
    assert (status, "give both `height` and `width`" in told) == (2, True)
