"""The example of features: the same numbers in three kinds of file, and photos found by what is in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc.catalogue import catalogue, copy_files
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.model import Model, plain_layer, write_model
from support.commands import run

# What is left of a photo is the mean of each colour.
MODEL = """name: "colours"
layer {
  name: "data"
  type: "Input"
  top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } }
}
layer {
  name: "mix"
  type: "Convolution"
  bottom: "data"
  top: "mix"
  convolution_param { num_output: 3 kernel_size: 1 bias_term: false }
}
layer {
  name: "pool"
  type: "Pooling"
  bottom: "mix"
  top: "pool"
  pooling_param { pool: AVE global_pooling: true }
}
"""
KNOWN, ASKED = 12, 6


def script(*words: str) -> str:
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_three_files_hold_the_same_and_find_the_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of two colours, with a model that sees colours: each finds its own."""
    monkeypatch.chdir(tmp_path)
    copy_files(catalogue()["features"], tmp_path)
    (tmp_path / "neighbours.png").unlink()
    rng = np.random.default_rng(0)
    for split, count in (("train", KNOWN), ("val", ASKED)):
        lines = []
        (tmp_path / "photos" / split).mkdir(parents=True)
        for k in range(count):
            pixels = np.clip([(200, 60, 60), (60, 60, 200)][k % 2] + rng.normal(0, 25, (30, 40, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / split / f"{k}.jpg")
            lines.append(f"{split}/{k}.jpg {k % 2}")
        (tmp_path / "photos" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "colours.prototxt").write_text(MODEL)
    weights = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    write_model(Path("colours.caffemodel"), Model("colours", (plain_layer("mix", "Convolution", [Blob(weights)]),)))

    assert script("photos.py", "photos", "colours.prototxt").startswith("photos.txt: 18 photos; photos.prototxt: 2 ")
    for ending in ("npz", "h5"):
        words = ("--data", "test", "--output", "pool", "--weights", "colours.caffemodel", "-o", f"features.{ending}")
        code, out, said = run("run", "photos.prototxt", *words)
        assert code == 0, said
        assert "pool [18, 3, 1, 1]" in out
    taken = ("extract_features", "colours.caffemodel", "photos.prototxt", "pool", "features_lmdb", "1", "lmdb")
    assert run("caffe", *taken)[0] == 0
    told = json.loads(script("neighbours.py", "photos", str(KNOWN)))
    assert told == {"right": 1.0, "photos": ASKED, "apart": pytest.approx(0, abs=1e-6)}
    with Image.open("neighbours.png") as drawn:
        assert drawn.width > 500
    # Features that are others' are seen.
    found = np.load("features.npz")
    np.savez("features.npz", pool=found["pool"][::-1], label=found["label"])
    assert json.loads(script("neighbours.py", "photos", str(KNOWN)))["apart"] > 0.1
