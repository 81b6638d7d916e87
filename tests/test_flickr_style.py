"""The style recipe: what its script fetches is looked at, what is missing is said, and CaffeNet goes on."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

import netc
from netc.catalogue import EXAMPLES, catalogue, copy_files
from netc.grammar.source import UserError
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.model import Model, plain_layer, write_model

SCRIPT = EXAMPLES.resolve() / "flickr_style.py"
HEAD = ",image_url,label,_split,_hdf5\n"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("flickr_style_example", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, found.name, module)
    found.loader.exec_module(module)
    return module


def photo(number: int) -> bytes:
    """A JPEG of its own."""
    pixels = np.random.default_rng(number).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).resize((60, 50)).save(file, "jpeg")
    return file.getvalue()


def listed(path: Path, rows: int = 12) -> Path:
    lines = [
        f"{k},http://farm1.staticflickr.com/1/{k}.jpg,{k % 20},{'test' if k % 4 == 3 else 'train'},0\n"
        for k in range(rows)
    ]
    path.write_bytes(gzip.compress((HEAD + "".join(lines)).encode()))
    return path


class Flickr:
    """In the place of `download`: photos by their number, but what is told otherwise; it counts what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.other: dict[str, bytes | UserError] = {}

    def __call__(self, address: str, path: Path, most: int) -> None:
        self.asked.append(address)
        name = address.rpartition("/")[2]
        body = self.other.get(name) or photo(int(name.split(".")[0]))
        if isinstance(body, UserError):
            raise body
        path.write_bytes(body)


@pytest.fixture
def flickr(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Flickr:
    made = Flickr()
    monkeypatch.setattr(script, "download", made)
    return made


def silent(text: str) -> None:
    pass


def test_photos_are_looked_at_and_listed(
    script: ModuleType, flickr: Flickr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = script.read_list(listed(tmp_path / "list.csv.gz"))
    assert rows[3] == ("https://farm1.staticflickr.com/1/3.jpg", "3.jpg", 3, "test")
    flickr.other = {"1.jpg": b"<html>", "2.jpg": b"taken back", "4.jpg": photo(4)[:-300], "5.jpg": UserError("gone")}
    monkeypatch.setattr(script, "TAKEN_BACK", hashlib.sha1(b"taken back").hexdigest())
    folder = tmp_path / "flickr_style"
    there = script.assemble(rows, folder, silent)
    left = [0, 3, 6, 7, 8, 9, 10, 11]
    assert [row.label for row in there] == left
    assert sorted(int(path.stem) for path in (folder / "images").iterdir()) == left
    assert (folder / "test.txt").read_text() == "3.jpg 3\n7.jpg 7\n11.jpg 11\n"
    assert (folder / "train.txt").read_text().splitlines() == [f"{k}.jpg {k}" for k in (0, 6, 8, 9, 10)]
    sums = dict(line.split("  ")[::-1] for line in (folder / "sha256.txt").read_text().splitlines())
    assert sums["7.jpg"] == hashlib.sha256(photo(7)).hexdigest()
    # What is missing, and what was changed since, is fetched again, and nothing else.
    flickr.asked, flickr.other = [], {}
    (folder / "images/7.jpg").write_bytes(photo(8))
    assert len(script.assemble(rows, folder, silent)) == 12
    assert sorted(address.rpartition("/")[2] for address in flickr.asked) == [
        "1.jpg",
        "2.jpg",
        "4.jpg",
        "5.jpg",
        "7.jpg",
    ]
    assert (folder / "images/7.jpg").read_bytes() == photo(7)


def test_none_at_all_is_a_mistake(script: ModuleType, flickr: Flickr, tmp_path: Path) -> None:
    rows = script.read_list(listed(tmp_path / "list.csv.gz", 300))
    flickr.other = {row.name: UserError("no connection") for row in rows}
    with pytest.raises(UserError, match="none of 128 photos could be fetched; the first: no connection"):
        script.assemble(rows, tmp_path / "out", silent)
    assert not (tmp_path / "out/train.txt").exists()


def test_rows_are_chosen_as_caffe_does(script: ModuleType, tmp_path: Path) -> None:
    rows = script.read_list(listed(tmp_path / "list.csv.gz"))
    order = np.random.RandomState(3).permutation(12)
    assert [int(row.name[:-4]) for row in script.chosen(rows, 5, 3)] == order[:5].tolist()
    assert len(script.chosen(rows, 0, 3)) == 12


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,http://169.254.169.254/secret.jpg,0,train,0", "row 1: image_url is the address of a photo of Flickr's"),
        ("0,http://staticflickr.com.example.org/1.jpg,0,train,0", "address of a photo"),
        ("0,http://farm1.staticflickr.com/1/..,0,train,0", "address of a photo"),
        ("0,http://farm1.staticflickr.com/1.jpg,20,train,0", "label is a number below 20"),
        ("0,http://farm1.staticflickr.com/1.jpg,1,none,0", "_split is train or test"),
        ("0", "address of a photo"),
    ],
)
def test_rows_of_another_kind(row: str, words: str, script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(f"{HEAD}{row}\n".encode()))
    with pytest.raises(UserError, match=re.escape(words)):
        script.read_list(path)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-9], lambda data: b"a,b\n", lambda data: gzip.compress(b"\xff,1\n")]
)
def test_a_list_that_is_none(change: Callable[[bytes], bytes], script: ModuleType, tmp_path: Path) -> None:
    path = listed(tmp_path / "list.csv.gz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match="not a list of photos, which is a table"):
        script.read_list(path)


@pytest.mark.parametrize("arguments", [[], ["--list", "list.csv.gz"]])
def test_without_a_network_it_says_so_in_a_line(arguments: list[str], tmp_path: Path) -> None:
    listed(tmp_path / "list.csv.gz", 3)
    away = "http://127.0.0.1:9"  # where nothing answers
    environment = {**os.environ, "HTTPS_PROXY": away, "https_proxy": away, "NO_PROXY": "", "no_proxy": ""}
    environment["PYTHONPATH"] = str(EXAMPLES.resolve().parent)
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("flickr_style.py: ")
    assert "cannot be fetched: ProxyError" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not [*tmp_path.rglob("*.txt")]


@pytest.mark.slow
def test_caffenet_goes_on_from_its_weights(
    script: ModuleType, flickr: Flickr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe as it stands, on photos and a `.caffemodel` that stand in for those that are fetched."""
    monkeypatch.chdir(tmp_path)
    copy_files(catalogue()["flickr_style"], tmp_path)
    script.assemble(script.read_list(listed(tmp_path / "list.csv.gz")), tmp_path / "flickr_style", silent)
    began = netc.compile("caffenet.net", dims={"N": 1}, outputs=["prob"], target="numpy", seed=5).state
    layers = [name.removesuffix(".weight") for name in began if name.endswith(".weight")]
    parts = [(name, [Blob(began[f"{name}.{part}"]) for part in ("weight", "bias")]) for name in layers]
    write_model(Path(script.MODEL), Model("CaffeNet", tuple(plain_layer(name, "", blobs) for name, blobs in parts)))
    assert [str(one) for one in netc.check("flickr_style.net") if "ilsvrc12" not in str(one)] == []
    history = netc.train("flickr_style.net", steps=3, batch=4, folder="run", quiet=True)
    assert np.log(20) - 1 < history.losses[0] < np.log(20) + 3
    assert np.isfinite(history.losses).all()
    after = history.state
    assert after is not None
    assert set(after) == {*began} - {"fc8.weight", "fc8.bias"} | {"fc8_flickr.weight", "fc8_flickr.bias"}

    def moved(name: str) -> float:
        return float(np.abs(after[name] - began[name]).max())

    for name in layers[:-1]:
        assert 0 < moved(f"{name}.weight") < 0.01, name
    bias = np.abs(after["fc8_flickr.bias"]).max()  # from 0, at twenty times the rate
    assert 1e-4 < bias < 0.06
    assert 0 <= history.tests["unseen"]["top1"][-1] <= 1
