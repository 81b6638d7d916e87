"""The example of Caffe's CIFAR-10 files: its script makes what the solvers read, and the second stage goes on."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc.catalogue import catalogue, copy_files
from netc.runtime.caffe.mean import read_blob_file
from support.caffe import CONFORMANCE
from support.commands import run

MODELS = CONFORMANCE.parent / "data" / "models" / "cifar10_quick"
PLACE = "examples/cifar10"

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is absent")


@pytest.mark.slow
def test_both_stages_by_caffes_own_solvers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy_files(catalogue()["cifar10_caffe"], tmp_path)
    planes = []
    with tarfile.open("photos.tar", "w") as archive:
        for split, count in (("train", 20), ("test", 10)):
            for k in range(10 * count):
                pixels = np.full((32, 32, 3), (20 * (k % 10), 10, 255 - 20 * (k % 10)), np.uint8)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "JPEG", quality=95)
                entry = tarfile.TarInfo(f"{split}/class{k % 10}/{k:04}.jpg")
                entry.size = file.tell()
                file.seek(0)
                archive.addfile(entry, file)
                file.seek(0)
                planes += [np.asarray(Image.open(file))] if split == "train" else []
    words = [sys.executable, "prepare.py", "photos.tar", str(MODELS)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert f"{PLACE}/cifar10_train_leveldb: 200 photos" in said
    assert run("caffe", "compute_image_mean", f"{PLACE}/cifar10_train_leveldb", f"{PLACE}/mean.binaryproto")[0] == 0
    mean = np.moveaxis(np.mean(planes, axis=0), -1, 0)[None]  # red first, as Caffe's databases of CIFAR-10 are
    np.testing.assert_allclose(read_blob_file(Path(PLACE, "mean.binaryproto")), mean, atol=1e-3)

    more = ("--steps", "3", "--for-caffe", f"{PLACE}/cifar10_quick", "--target", "numpy")
    code, _, told = run("train", f"{PLACE}/cifar10_quick_solver.prototxt", *more)
    assert code == 0, told
    state = f"{PLACE}/cifar10_quick_iter_3.solverstate"
    more = ("--steps", "5", "--solverstate", state, "--target", "numpy")
    code, out, told = run("train", f"{PLACE}/cifar10_quick_solver_lr1.prototxt", *more)
    assert code == 0, told
    assert "going on after step 3 of 5" in out
    assert "step 4 of 5" in out
    assert "rate 0.0001" in out
