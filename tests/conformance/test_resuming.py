"""Training that goes on from the real Caffe's files, to the weights that the real Caffe came to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.runtime.caffe.model import read_model
from netc.runtime.tensors import read_tensors
from support.caffe import CONFORMANCE
from support.commands import run

FILES = CONFORMANCE / "files"

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")

LENET = f"""
net lenet {{
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    x = image |> conv(20, 5, lr: [1, 2]) as conv1 |> max_pool(2) |> conv(50, 5, lr: [1, 2]) as conv2 |> max_pool(2)
    y = x |> linear(500, lr: [1, 2]) as ip1 |> relu |> linear(10, lr: [1, 2]) as ip2
    loss nll = softmax_loss(y, label)
}}
data digits = lmdb("{FILES}/lmdb_gray_resized", batch: 8, scale: 1/256)
train lenet {{
    from: digits
    solver: sgd(lr: 0.01, momentum: 0.9, weight_decay: 0.0005)
    schedule: inv(gamma: 0.0001, power: 0.75)
    steps: 10
}}
"""


def test_lenet_goes_on_from_step_5_to_caffes_step_10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lenet.net").write_text(LENET)
    status, _, told = run("train", "lenet.net", "--solverstate", FILES / "lenet_iter_5.solverstate", "--folder", "run")
    assert status == 0, told
    ours = read_tensors(Path("run/lenet.safetensors"))
    compared = 0
    for layer in read_model(FILES / "lenet_iter_10.caffemodel").layers:
        for name, blob in zip(("weight", "bias"), layer.blobs, strict=False):
            np.testing.assert_allclose(ours[f"{layer.name}.{name}"], blob.data, rtol=1e-3, atol=1e-6)
            compared += 1
    assert compared == 8
