"""`netc caffe test`, `extract_features`, `classify`, `detect`: what they print and write, against Caffe's log."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from netc.caffe.net import Net
from netc.runtime.caffe.datum import parse_datum
from netc.runtime.caffe.leveldb import LevelDb
from netc.runtime.caffe.lmdb import Lmdb
from support.caffe import CONFORMANCE
from support.commands import run

FILES = CONFORMANCE / "files"
NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
needs_shared = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "sums" type: "InnerProduct" bottom: "data" top: "sums" inner_product_param { num_output: 2 } }
"""


def done(*words: object) -> str:
    status, printed, told = run("caffe", *words)
    assert status == 0, told
    return printed


def refused(*words: object) -> str:
    status, _, told = run("caffe", *words)
    assert status == 2
    return told


@pytest.fixture
def lenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Caffe's own LeNet, its database where its prototxt says."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FILES / "lmdb_gray_resized", tmp_path / "files" / "lmdb_gray_resized")
    shutil.copy(FILES / "lenet_train_test.prototxt", tmp_path)
    return tmp_path / "lenet_train_test.prototxt"


@pytest.fixture
def weighted(tmp_path: Path) -> tuple[Path, Path]:
    """A net whose outputs are the first pixel and the sum of all, and its weights."""
    path, weights = tmp_path / "net.prototxt", tmp_path / "w.caffemodel"
    path.write_text(NET)
    net = Net(str(path), 1)
    net.params["sums"][0].data[...] = [np.eye(1, 48)[0], np.ones(48)]
    net.save(str(weights))
    return path, weights


@needs_shared
def test_a_test_prints_what_caffe_printed(lenet: Path) -> None:
    log = (FILES / "lenet_test.log").read_text()
    lines = [line.split("] ", 1)[1] for line in log.splitlines() if "caffe.cpp:" in line]
    wanted = lines[next(i for i, line in enumerate(lines) if line.startswith("Running for")) :]
    weights = re.findall(r"-?-weights[= ](\S+)", log) or ["lenet_iter_10.caffemodel"]
    printed = done("test", "-model", lenet, "-weights", FILES / Path(weights[0]).name, "-iterations=4").splitlines()
    assert len(printed) == len(wanted) == 12
    for mine, theirs in zip(printed, wanted, strict=True):
        numbers = [re.findall(NUMBER, line) for line in (mine, theirs)]
        assert re.sub(NUMBER, "#", mine) == re.sub(NUMBER, "#", theirs)
        assert list(map(float, numbers[0])) == pytest.approx(list(map(float, numbers[1])), rel=2e-5)


@needs_shared
@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_features_become_databases(lenet: Path, backend: str) -> None:
    weights = FILES / "lenet_iter_10.caffemodel"
    printed = done("extract_features", weights, lenet, "ip1,pool2", "a,b", 3, backend)
    assert printed.splitlines()[0] == "a: 24 records of ip1"
    database = Lmdb if backend == "lmdb" else LevelDb
    one, other = database(Path("a")), database(Path("b"))
    net = Net(str(lenet), 1, weights=str(weights))
    for batch in range(3):
        net.forward()
        for row in range(8):
            number = 8 * batch + row
            assert one.key(number) == f"{number:010d}".encode()
            for records, name in ((one, "ip1"), (other, "pool2")):
                image = parse_datum(records.value(number)).image
                assert image is not None
                value = net.blobs[name].data[row]
                np.testing.assert_allclose(image, value.reshape(value.shape + (1,) * (3 - value.ndim)), rtol=1e-6)
    assert "there is no blob `ip9`" in refused("extract_features", weights, lenet, "ip9", "c", 1, backend)
    assert "as many are wanted" in refused("extract_features", weights, lenet, "ip1", "c,d", 1, backend)
    assert "would take" in refused("extract_features", weights, lenet, "ip1", "c", 10**12, backend)
    assert not Path("c").exists()


@needs_shared
def test_netc_run_has_the_same_features(lenet: Path) -> None:
    weights = FILES / "lenet_iter_10.caffemodel"
    done("extract_features", weights, lenet, "ip1", "a", 4, "lmdb")
    status, _, told = run("run", lenet, "--data", "test", "--output", "ip1", "-o", "f.npz", "--weights", weights)
    assert status == 0, told
    records = Lmdb(Path("a"))
    with np.load("f.npz") as file:
        assert len(file["ip1"]) == len(records) == 32
        for number, row in enumerate(file["ip1"]):
            image = parse_datum(records.value(number)).image
            assert image is not None
            np.testing.assert_allclose(image.reshape(-1), row, rtol=1e-4, atol=1e-6)


def test_images_are_classified(weighted: tuple[Path, Path], tmp_path: Path) -> None:
    net, weights = weighted
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    for i, image in enumerate(pixels):
        PIL.Image.fromarray(image).save(tmp_path / "photos" / f"{i}.png")
    np.save(tmp_path / "mean.npy", np.array([1.0, 2.0, 3.0]))
    how = ("--model_def", net, "--pretrained_model", weights, "--images_dim", "4,4", "--center_only")
    more = ("--mean_file", tmp_path / "mean.npy", "--ext", "png")
    printed = done("classify", tmp_path / "photos", tmp_path / "out.npy", *how, *more)
    found = np.load(tmp_path / "out.npy")
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found[:, 0], pixels[:, 0, 0, 2] - 1.0, atol=1e-3)  # blue comes first
    np.testing.assert_allclose(found[:, 1], pixels.reshape(3, -1).sum(1) - 16 * 6.0, rtol=1e-5)
    assert printed.splitlines()[0].startswith(f"0.png: 1 {found[0, 1]:.4f}, 0 ")
    np.save(tmp_path / "images.npy", (pixels / 255).astype(np.float32))
    done("classify", tmp_path / "images.npy", tmp_path / "again.npy", *how, *more)
    np.testing.assert_allclose(np.load(tmp_path / "again.npy"), found, rtol=1e-5)
    assert "there is no image *.jpg" in refused("classify", tmp_path / "photos", tmp_path / "x.npy", *how)
    assert "whole numbers" in refused("classify", "a", "b", *how, "--channel_swap", "2,x")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    assert "bad.png" in refused("classify", tmp_path / "bad.png", tmp_path / "x.npy", *how)


def test_windows_are_classified(weighted: tuple[Path, Path], tmp_path: Path) -> None:
    net, weights = weighted
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    listing = tmp_path / "windows.csv"
    listing.write_text(f"filename,ymin,xmin,ymax,xmax\n{tmp_path / 'a.png'},0,0,4,4\n{tmp_path / 'a.png'},2,3,6,7\n")
    how = ("--model_def", net, "--pretrained_model", weights)
    assert done("detect", listing, tmp_path / "out.csv", *how, "--context_pad", "0").endswith("2 windows\n")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["filename", "ymin", "xmin", "ymax", "xmax", "class0", "class1"]
    for row in rows:
        top, left = int(row["ymin"]), int(row["xmin"])
        assert float(row["class0"]) == pytest.approx(pixels[top, left, 2], rel=1e-4, abs=1e-3)
        assert float(row["class1"]) == pytest.approx(pixels[top : top + 4, left : left + 4].sum(), rel=1e-4)
    assert "MATLAB" in refused("detect", listing, "x.csv", *how, "--crop_mode", "selective_search")
    assert "has room for less" in refused("detect", listing, "x.csv", *how)
    for line, why in (("a.png,0,0,4", "windows.csv:2"), ("a.png,5,0,4,4", "is no window"), ("a,0,0,inf,4", "numbers")):
        listing.write_text(f"filename,ymin,xmin,ymax,xmax\n{line}\n")
        assert why in refused("detect", listing, tmp_path / "x.csv", *how, "--context_pad", "0")
    assert not (tmp_path / "x.csv").exists()
