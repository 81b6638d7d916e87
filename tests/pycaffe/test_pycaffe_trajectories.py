"""Solvers of `netc.caffe` on trajectories that the real Caffe computed: rates, losses, parameters and histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
from support.caffe import CONFORMANCE

FOLDER = CONFORMANCE / "solvers"
CASES = sorted(FOLDER.glob("*.npz"))
# A bias before a batch norm: its gradient is 0, and what Caffe has is rounding, which adaptive solvers blow up.
UNLEARNABLE = ("conv/1", "bn/0")

pytestmark = pytest.mark.skipif(not CASES, reason=f"{FOLDER} is absent")


def near(ours: Any, caffes: Any, what: str) -> None:
    # Caffe computes in single precision, so its own rounding is what separates the two.
    scale = max(float(np.abs(caffes).max(initial=0.0)), 1e-3)
    np.testing.assert_allclose(ours, caffes, rtol=2e-4, atol=2e-5 * scale, err_msg=what)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_trajectory(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    (tmp_path / "net.prototxt").write_text(str(arrays["net"]))
    (tmp_path / "solver.prototxt").write_text(str(arrays["solver"]))
    monkeypatch.chdir(tmp_path)
    solver = caffe.get_solver("solver.prototxt")
    net = solver.net
    for key in (key for key in arrays if key.startswith("init/")):
        _, layer, number = key.split("/")
        net.params[layer][int(number)].data[...] = arrays[key]
    passes = iter(range(len(arrays["loss"])))
    losses: list[float] = []
    feeds = [key for key in arrays if key.startswith("data/")]

    def feed(layer: int) -> None:
        if layer == 0:
            k = next(passes)
            for key in feeds:
                net.blobs[key.removeprefix("data/")].data[...] = arrays[key][k]

    def seen() -> None:
        losses.append(sum(float(net.blobs[name].data.sum()) for name, w in net.blob_loss_weights.items() if w == 1))

    net.before_forward(feed)
    solver.add_callback(lambda: None, seen)
    kept = {key for key in arrays if key.startswith("init/")}
    for number, after in enumerate(arrays["lr_after"], 1):
        solver.step(1)
        assert solver.iter == number
        assert solver.lr == pytest.approx(float(after), rel=1e-6)
        for key in kept:
            blob = key.removeprefix("init/")
            layer, index = blob.split("/")
            if f"it{number}/{blob}" in arrays and not ("init/bn/0" in kept and blob in UNLEARNABLE):
                near(net.params[layer][int(index)].data, arrays[f"it{number}/{blob}"], f"{blob} after {number}")
    batches = len(arrays["loss"]) // len(arrays["lr_after"])
    near(np.array(losses), arrays["loss"][batches - 1 :: batches], "losses")
    histories = solver._update.histories()
    assert len(histories) == sum(key.startswith("history/") for key in arrays)
    # Statistics too have histories, since they decay; that of the mean follows what rounding left of a bias.
    names = [slot.key for slot in solver._update.slots]
    for number, history in enumerate(histories):
        if "init/bn/0" not in kept or names[number % len(names)] not in ("conv.bias", "bn.mean"):
            near(history, arrays[f"history/{number}"], f"history {number}")
