"""`--target triton --device cpu`: every command that runs a program, with the kernels of a GPU, in the interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.runtime.tensors import read_tensors
from netc.runtime.triton.run import device
from support.commands import run
from support.json_forms import parsed

pytest.importorskip("triton")

# Dropout, so that random bits are compared; batch norm, so that statistics are; two batches an update, two programs.
NET = """
net points {
    input x: f32[N, 6]
    input y: i32[N]
    h = x |> linear(8) as enc |> batch_norm as norm |> relu |> dropout(0.25)
    logits = h |> linear(3) as dec
    loss nll = softmax_loss(logits, y)
    metric top1 = accuracy(logits, y)
    output prob = softmax(logits)
}

data few = npz("few.npz", arrays: [x, y], batch: 4, shuffle: true)
data rest = npz("few.npz", arrays: [x, y], batch: 5)

train points {
    from: few
    test: rest every 2
    solver: sgd(lr: 0.05, momentum: 0.9)
    steps: 4
    display: every 1
    snapshot: every 2
    accumulate: ACCUMULATE
    seed: 5
}
"""
HERE = ("--target", "numpy")
THERE = ("--target", "triton", "--device", "cpu")
NOTE = "netc: triton on cpu is Triton's interpreter: slow, for checking kernels\n"
MODE = "netc: train mode, since a loss of `points` is wanted\n"


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("few.npz", x=rng.standard_normal((20, 6), np.float32), y=rng.integers(0, 3, 20).astype(np.int32))
    Path("points.net").write_text(NET.replace("ACCUMULATE", "1"))


def records(folder: str, kind: str) -> list[dict[str, Any]]:
    lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_that_of_numpy(accumulate: int) -> None:
    """Losses, tests between the steps, and what is saved, from the same weights, order and random bits."""
    Path("points.net").write_text(NET.replace("ACCUMULATE", str(accumulate)))
    for name, flags in (("here", HERE), ("there", THERE)):
        code, _, err = run("train", "points.net", "--folder", name, *flags)
        assert code == 0, err
        assert err == (NOTE if name == "there" else "")
    for kind, key in (("step", "loss"), ("test", "values")):
        for one, other in zip(records("here", kind), records("there", kind), strict=True):
            assert one["step"] == other["step"]
            assert other[key] == pytest.approx(one[key], rel=1e-5)
    (here,), (there,) = records("here", "run"), records("there", "run")
    assert here["environment"]["device"] == "cpu"
    assert there["environment"]["device"].startswith("Triton's interpreter, triton 3.")
    wanted, found = (read_tensors(Path(name) / "points.safetensors") for name in ("here", "there"))
    assert wanted.keys() == found.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_run_is_gone_on_with_to_the_same_bits() -> None:
    assert run("train", "points.net", "--folder", "whole", *THERE)[0] == 0
    assert run("train", "points.net", "--folder", "parts", "--steps", "2", *THERE)[0] == 0
    assert run("train", "points.net", "--folder", "parts", "--resume", *THERE)[0] == 0
    wanted, found = (read_tensors(Path(name) / "points.safetensors") for name in ("whole", "parts"))
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())


def test_test_and_run() -> None:
    assert run("train", "points.net", "--folder", "run", "--steps", "2", *HERE)[0] == 0
    weights = ("--weights", "run/points.safetensors")
    means = [parsed(run("test", "points.net", *weights, "--json", *flags)[1]) for flags in (HERE, THERE)]
    here, there = (found["results"]["rest"]["values"] for found in means)
    assert there == pytest.approx(here, rel=1e-5)
    np.savez("in.npz", x=np.load("few.npz")["x"][:7])
    for name, flags in (("here.npz", HERE), ("there.npz", THERE)):
        assert run("run", "points.net", "in.npz", *weights, "--output", "prob", "--out", name, *flags)[0] == 0
    np.testing.assert_allclose(np.load("there.npz")["prob"], np.load("here.npz")["prob"], rtol=1e-5, atol=1e-7)


def test_profile() -> None:
    code, out, err = run("profile", "points.net", "--batch", "4", "--seconds", "0.01", "--json", *THERE)
    assert (code, err) == (0, NOTE + MODE)
    found = parsed(out)
    assert (found["target"], found["device"], found["batch"]) == ("triton", "cpu", 4)
    assert found["fused"]["kernels"] == len(found["kernels"]) < found["unfused"]["kernels"]
    assert all(kernel["ms"] > 0 for kernel in found["kernels"])
    assert found["fused"]["peak_bytes"] > 0


def test_show_writes_for_a_gpu_though_none_is_here() -> None:
    code, out, err = run("show", "points.net", "--stage", "source", "--target", "triton")
    assert (code, err) == (0, MODE)
    assert "@triton.jit" in out


@pytest.mark.parametrize("command", ["train", "test", "run", "profile"])
def test_a_gpu_that_is_missing_is_said_before_anything_is_made(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "driver_present", lambda: False)
    before = sorted(Path().rglob("*"))
    code, out, err = run(command, "points.net", *(["few.npz"] if command == "run" else []), "--device", "cuda")
    assert (code, out) == (2, "")
    assert err == "netc: error: there is no driver for a GPU on this machine: use --device cpu\n"
    assert sorted(Path().rglob("*")) == before
