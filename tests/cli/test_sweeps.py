"""Settings from outside that reach training, and sweeps over them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netc.compiler.build import load
from netc.runtime.log import read_log, records
from netc.runtime.tensors import read_tensors
from support.commands import run

NET = """const wide = 4

net tiny(depth = 1) {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    h = image |> linear(wide) as hidden
    scores = h |> linear(3) as score
    loss nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
}

data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 4, scale: 1/256)
data heldout = synthetic(shape: [1, 4, 4], classes: 3, batch: 4, records: 32, seed: 2, scale: 1/256)

train tiny(depth: 2) {
    from: made
    test: heldout every 4
    solver: sgd(lr: 0.1)
    schedule: step(gamma: 0.5, every: 10)
    steps: 8
}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.net").write_text(NET, encoding="utf-8")
    return tmp_path


def test_settings_reach_all_that_a_file_says() -> None:
    settings = {
        "lr": 0.25, "solver.momentum": 0.5, "schedule.gamma": 0.1, "data.batch": 2, "heldout.batch": 16, "wide": 7,
        "depth": 3, "steps": 5, "solver.decay": "l1",
    }  # fmt: skip
    experiment = load(Path("tiny.net"), settings=settings)
    (spec,) = experiment.trains
    assert (spec.solver["lr"], spec.solver["momentum"], spec.solver["decay"]) == (0.25, 0.5, "l1")
    assert spec.schedule["gamma"] == 0.1
    assert (spec.data[0].get("batch"), spec.tests[0].data.get("batch")) == (2, 16)
    assert experiment.consts["wide"] == 7
    assert (spec.settings["depth"], spec.steps) == (3, 5)
    assert load(Path("tiny.net")).trains[0].solver["lr"] == 0.1


def test_flags_of_a_run_reach_it() -> None:
    assert run("train", "tiny.net", "--folder", "a", "--set", "wide=6", "--set", "lr=0.5", "--display", "4")[0] == 0
    assert read_tensors(Path("a/tiny.safetensors"))["hidden.weight"].shape == (6, 16)
    assert read_log(Path("a/log.jsonl")).rates[0] == 0.5
    words = ("--weights", "a/tiny.safetensors", "--set", "wide=6", "--set", "lr=0", "--display", "4")
    code, out, _ = run("train", "tiny.net", "--folder", "b", *words)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if " of 8 " in line] == ["1", "4", "8"]
    before, after = (read_tensors(Path(f"{name}/tiny.safetensors")) for name in "ab")
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("constant", "value"), [("wide", "true"), ("wide", "broad")])
def test_a_constant_keeps_its_kind(constant: str, value: str) -> None:
    code, _, err = run("train", "tiny.net", "--set", f"{constant}={value}")
    assert code == 2
    assert "the constant `wide` is 4, so it cannot become" in err


def test_a_sweep_runs_each_combination_tabulates_and_plots() -> None:
    code, out, err = run("train", "tiny.net", "--sweep", "lr=0.1,1e12", "--sweep", "seed=1..2", "--display", "0")
    assert code == 0
    assert "run 4 of 4: lr=1e12" not in err
    place = Path("runs/tiny/sweep-1")
    with (place / "sweep.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["lr", "seed", "loss", "heldout nll", "heldout top1", "failed"]
    assert [(row["lr"], row["seed"], row["failed"]) for row in table] == [
        ("0.1", "1", ""),
        ("0.1", "2", ""),
        ("1000000000000.0", "1", "diverged"),
        ("1000000000000.0", "2", "diverged"),
    ]
    history = read_log(place / "lr=0.1,seed=2" / "log.jsonl")
    assert float(table[1]["heldout top1"]) == history.tests["heldout"].last()["top1"]
    assert float(table[1]["loss"]) == pytest.approx(history.losses.mean())
    assert Image.open(place / "curves.png").size[1] > Image.open(place / "curves.png").size[0] / 2
    assert f"{table[1]['lr']}" in out
    assert "4 runs of tiny" in out
    # The same run by itself.
    assert run("train", "tiny.net", "--folder", "alone", "--set", "lr=0.1", "--seed", "2")[0] == 0
    runs = (place / "lr=0.1,seed=2", Path("alone"))
    ours, alone = (read_tensors(one / "tiny.safetensors") for one in runs)
    assert all(np.array_equal(ours[name], alone[name]) for name in alone)


@pytest.mark.parametrize(("flags", "other"), [(["--set", "seed=3"], "--set seed"), (["--seed", "3"], "--seed")])
def test_what_is_swept_is_not_set_beside(flags: list[str], other: str) -> None:
    code, _, err = run("train", "tiny.net", "--sweep", "seed=1..2", *flags)
    assert (code, err) == (2, f"netc: error: --sweep seed and {other} contradict each other\n")
    assert not Path("runs").exists()


def test_a_sweep_goes_on_where_it_was_stopped() -> None:
    assert run("train", "tiny.net", "--sweep", "seed=1..2")[0] == 0
    place = Path("runs/tiny/sweep-1")
    (place / "seed=2" / "tiny.safetensors").unlink()
    lines = (place / "seed=1" / "log.jsonl").read_bytes()
    code, out, _ = run("train", "tiny.net", "--sweep", "seed=1..3", "--resume")
    assert code == 0
    assert (place / "seed=1" / "log.jsonl").read_bytes() == lines, "it had ended"
    assert [record["kind"] for record in records(place / "seed=2" / "log.jsonl")].count("resume") == 1
    assert "3 runs of tiny" in out
    assert not Path("runs/tiny/sweep-2").exists()


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (("lr=0.1,0.1",), "a value is given twice"),
        (("lr=",), "--sweep wants NAME=VALUE"),
        (("lr=0.1,",), "--sweep lr wants values as 0.1,0.01 or 1..3"),
        (("seed=3..1",), "--sweep seed wants values as 0.1,0.01 or 1..3"),
        (("seed=1..2000",), "2,000 runs are more than 1,000"),
        (("lrr=1,2",), "has no setting `lrr`; did you mean `lr`?"),
        (("lr=0.1,-1",), "sgd: `lr` takes a number from 0 up, not -1"),
    ],
)
def test_a_sweep_that_cannot_be_begins_nothing(sweep: tuple[str, ...], said: str) -> None:
    words = [word for one in sweep for word in ("--sweep", one)]
    code, _, err = run("train", "tiny.net", *words)
    assert code == 2
    assert said in err
    assert not Path("runs").exists()
