"""The example ImageNet: its script makes a sample, `netc data imagenet` prepares it, and the recipes take that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc
from netc.catalogue import catalogue, copy_files
from netc.runtime.data.caffe_sources import lmdb
from netc.runtime.data.images import image_list
from netc.runtime.data.source import Place
from support.commands import run

RECIPES = ["alexnet", "caffenet", "googlenet", "mobilenet", "resnet50"]
CLASSES = [f"class{k}" for k in range(10)]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example as `netc new` copies it, beside pictures in CIFAR-10's form: a colour for each class, and noise."""
    copy_files(catalogue()["imagenet"], tmp_path)
    rng = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        colour = 128 + 100 * np.cos(2 * np.pi * (number / 10 + np.arange(3) / 3))
        for split, count in (("train", 9), ("test", 3)):
            place = tmp_path / "cifar" / split / name
            place.mkdir(parents=True)
            for k in range(count):
                pixels = np.clip(colour + rng.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{k:04}.jpg")
    monkeypatch.chdir(tmp_path)
    words = [sys.executable, "make_sample.py", "cifar", "photos", "--train", "8", "--val", "2"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said.startswith("photos: 100 photos of class0, ")
    return tmp_path


@pytest.mark.slow
def test_the_sample_is_prepared_and_learned(copied: Path) -> None:
    code, out, said = run("data", "imagenet", "photos", "-o", "prepared", "--size", "40")
    assert code == 0
    assert "10 classes of 40 x 40" in out
    assert [name in said for name in ("page.jpg", "empty.jpg", "cut.jpg")] == [True] * 3
    assert len((copied / "prepared/train.txt").read_text().splitlines()) == 80
    small = {"size": 32, "sample.crop": 32, "others.crop": 32, "others.batch": 20, "lr": 0.01}
    history = netc.train("sample.net", steps=40, settings=small, quiet=True)
    assert history.losses[-5:].mean() < 0.8 * history.losses[:3].mean()
    assert history.tests["others"].last()["nll"] > 0


def test_the_recipes_take_what_is_made(copied: Path) -> None:
    assert run("data", "imagenet", "photos", "-o", "ilsvrc12", "--lmdb")[0] == 0
    for name in RECIPES:
        assert [str(problem) for problem in netc.check(f"{name}.net")] == [], name
    place = Place("photos", copied / "ilsvrc12")
    files = image_list(place, "train.txt", root="train", order="bgr")
    database = lmdb(place, "train_lmdb")
    listed = {files.record("image", k).tobytes(): int(files.record("label", k)) for k in range(files.records)}
    stored = {database.record("image", k).tobytes(): int(database.record("label", k)) for k in range(database.records)}
    assert stored == listed
    assert len(listed) == 80
