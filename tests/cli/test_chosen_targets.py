"""The target of a run that names none: C where it is long and a compiler is of use, numpy else, and it says why."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

import netc
from netc.__main__ import cli
from netc.api import choosing
from support.c_program import needs_compiler

NET = """net tiny {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3)
    loss nll = softmax_loss(scores, label)
}
data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 4)
train tiny {
    from: made
    solver: sgd(lr: 0.1)
    steps: 5
    test: made
}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.net").write_text(NET)


def trained(folder: str, *flags: str) -> tuple[str, dict[str, np.ndarray]]:
    """What was said beside the run, and its weights."""
    done = CliRunner().invoke(cli, ["train", "tiny.net", "--folder", folder, *flags])
    assert done.exit_code == 0, done.output
    return done.stderr, load_file(f"{folder}/tiny.safetensors")


def alike(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(one[name].tobytes() == other[name].tobytes() for name in one)


@needs_compiler
def test_a_long_run_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    told, short = trained("short")
    assert "target" not in told
    monkeypatch.setattr(choosing, "WORTH", 100.0)
    told, long = trained("long")
    assert "operations, so the target is c, by " in told
    assert "(--target numpy needs no compiler)" in told
    assert alike(long, trained("c", "--target", "c")[1])
    for name, wanted in short.items():
        np.testing.assert_allclose(long[name], wanted, rtol=1e-5, atol=1e-7)
    told, numpy = trained("numpy", "--target", "numpy")
    assert "target" not in told
    assert alike(numpy, short)
    history = netc.train("tiny.net", folder="api", quiet=True)
    assert len(history.losses) == 5


def test_processes_that_share_a_run_take_the_target_of_one() -> None:
    from netc.api.training import Training
    from netc.request import request

    wanted = request(steps=5), request(steps=5, ranks=2), request(steps=5, parts=4)
    runs = [Training(Path("tiny.net"), one) for one in wanted]
    alone, *shared = (choosing.work(each.blocks[0], each.steps[0]) for each in runs)
    assert shared == pytest.approx([alone, alone], rel=0.05)


def test_what_a_run_takes_goes_by_its_work() -> None:
    from netc.api.training import Training
    from netc.request import request

    few, many = (Training(Path("tiny.net"), request(steps=steps)) for steps in (5, 500))
    one, other = (choosing.work(each.blocks[0], each.steps[0]) for each in (few, many))
    # A linear layer of 16 by 3 on four records, forward and twice backward; the loss comes on top.
    assert 5 * 3 * 2 * 16 * 3 * 4 < one < 5 * 3 * 2 * 16 * 3 * 4 * 2
    assert other == 100 * one


def test_without_a_compiler_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.c import compiling

    monkeypatch.setattr(choosing, "WORTH", 100.0)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    assert "target" not in trained("out")[0]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "does not run: it says nothing"),
        (
            'case "$*" in *--version*) echo cc 1;; *) echo "error: no" >&2; exit 1;; esac',
            "refuses the program: error: no",
        ),
    ],
)
def test_a_compiler_that_is_of_no_use_is_done_without(script: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("cc").write_text(f"#!/bin/sh\n{script}\n")
    Path("cc").chmod(stat.S_IRWXU)
    monkeypatch.setattr(choosing, "WORTH", 100.0)
    monkeypatch.setenv("CC", str(Path("cc").absolute()))
    told, _ = trained("out")
    assert f"the target c would be taken, but the C compiler `{Path('cc').absolute()}` {said}" in told
    assert told.rstrip().endswith("; the target is numpy")
