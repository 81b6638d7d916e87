"""A run of the command that is killed and resumed ends in the bits of one that was not: net, solver, data, tests."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.runtime.log import read_log
from netc.runtime.snapshot import latest
from netc.runtime.tensors import read_tensors

ROOT = Path(__file__).parents[2]
STEPS = 160

NET = """
net small(classes = 4) {
    input image: f32[N, 2, 9, 9]
    input label: i32[N]
    body = image |> conv(64, 3) as conv1 |> batch_norm |> relu |> max_pool(2) |> dropout(0.4)  # 64: folded weights
    logits = body |> linear(classes) as score
    loss nll = softmax_loss(logits, label)
    metric top1 = accuracy(logits, label)
}
data training = synthetic(shape: [2, 9, 9], classes: 4, records: 50, batch: 8, scale: 1/256, shuffle: true,
                          mirror: true)
data heldout = synthetic(shape: [2, 9, 9], classes: 4, records: 30, seed: 1, batch: 8, scale: 1/256)
train small {
    from: training
    test: heldout every 7
    solver: SOLVER
    schedule: step(gamma: 0.5, every: 50, warmup: 5, warmup_from: 0.1)
    steps: STEPS
    display: every 10
    snapshot: every SNAPSHOT
    accumulate: BATCHES
    seed: 3
}
"""


def write(folder: Path, solver: str, *, snapshot: int, batches: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = NET.replace("SOLVER", solver).replace("SNAPSHOT", str(snapshot)).replace("BATCHES", str(batches))
    path = folder / "small.net"
    path.write_text(text.replace("STEPS", str(STEPS)))
    return path


def command(path: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "netc", "train", str(path), "--folder", str(folder), *more]


def start(path: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(path, folder, *more),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def finished(path: Path, folder: Path, *more: str) -> str:
    process = start(path, folder, *more)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out


def ended(folder: Path) -> dict[str, Any]:
    """All that a run leaves: weights, the tensors of the last snapshot, losses, rates, tests."""
    history = read_log(folder / "log.jsonl")
    found, notes = latest(folder / "snapshots")
    assert found is not None
    assert notes == []
    assert found.step == STEPS
    left: dict[str, Any] = {f"weights {k}": v for k, v in read_tensors(folder / "small.safetensors").items()}
    left |= {f"snapshot {k}": v for k, v in read_tensors(folder / "snapshots" / found.tensors).items()}
    left |= {"losses": history.losses, "rates": history.rates, "steps": history.steps, "averaged": found.losses}
    left |= {f"test {name}": history.tests["heldout"][name] for name in ("nll", "top1")}
    left |= {f"place {name}": value for name, value in found.position.items()}
    return left | {"tests": history.tests["heldout"].steps}


def equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(np.asarray(other[name]), np.asarray(value), err_msg=name)


SGD = "sgd(lr: 0.05, momentum: 0.9, weight_decay: 0.0005)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on two threads that was not disturbed; its file is beside it."""
    folder = tmp_path_factory.mktemp("whole")
    finished(write(folder, SGD, snapshot=0), folder / "run", "--threads", "2")
    return folder / "run"


SOLVERS = [
    pytest.param(SGD, 1, "2", id="sgd"),
    pytest.param("adam(lr: 0.01, weight_decay: 0.0005)", 1, "1", id="adam", marks=pytest.mark.slow),
    pytest.param("adadelta(lr: 1)", 3, "2", id="accumulated", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("solver", "batches", "threads"), SOLVERS)
def test_killed_and_resumed_it_ends_in_the_same_bits(
    solver: str, batches: int, threads: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if solver == SGD:
        expected = ended(request.getfixturevalue("whole"))
    else:
        finished(write(tmp_path, solver, snapshot=20, batches=batches), tmp_path / "whole", "--threads", threads)
        expected = ended(tmp_path / "whole")
    assert {"snapshot .history0/conv1.weight", "snapshot .step"} <= set(expected)
    path = write(tmp_path, solver, snapshot=3, batches=batches)  # how often it is saved changes nothing
    process = start(path, tmp_path / "killed", "--threads", threads)
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith("step 20 of "):
        assert line, "the run ended before it came to step 20"
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run was over before it was killed"
    assert not (tmp_path / "killed" / "small.safetensors").exists(), "weights are those of the end"
    found, notes = latest(tmp_path / "killed" / "snapshots")
    assert found is not None
    assert notes == []
    assert 18 <= found.step < STEPS
    out = finished(path, tmp_path / "killed", "--threads", threads, "--resume")
    assert "may differ" not in out
    assert f"going on after step {found.step} of" in out
    equal(expected, ended(tmp_path / "killed"))


def test_tests_during_training_are_those_of_the_weights_at_that_step(whole: Path) -> None:
    path, weights = whole.parent / "small.net", whole / "small.safetensors"
    arguments = ["test", str(path), "--weights", str(weights), "--threads", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "netc", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    values = json.loads(done.stdout)["results"]["heldout"]["values"]
    assert read_log(whole / "log.jsonl").tests["heldout"].last() == values


def test_interrupted_and_resumed_it_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    path = write(tmp_path, SGD, snapshot=0)
    process = start(path, tmp_path / "stopped", "--threads", "2")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step 20 of "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "go on with --resume" in out
    assert "Traceback" not in out
    finished(path, tmp_path / "stopped", "--threads", "2", "--resume")
    equal(ended(whole), ended(tmp_path / "stopped"))
