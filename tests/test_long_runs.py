"""Long runs time their products first: when that pays, what is kept, and that a resumed run keeps its choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.api import long_runs
from netc.api.algorithms import Times
from netc.api.choosing import work
from netc.api.long_runs import CACHE, FILE, RunPrograms, pays, with_algorithms
from netc.compiler.program import Program
from netc.driver import Compilation, compilation
from netc.numbers import numbers
from netc.passes.lowering.measured import TuningTable
from netc.tuning_files import TuningFiles, read_file, write_file
from support.c_program import needs_compiler

NET = """
net small {
    input image: f32[N, 16, 8, 8]
    input label: i32[N]
    logits = image |> conv(16, 3, pad: 1) as conv1 |> relu |> conv(16, 3, pad: 1) as conv2 |> linear(10) as fc
    loss nll = softmax_loss(logits, label)
}
data made = synthetic(shape: [16, 8, 8], classes: 10, batch: 4)
train small {
    from: made
    solver: sgd(lr: 0.1)
    steps: 4
    snapshot: every 2
}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net, and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    Path("small.net").write_text(NET, encoding="utf-8")
    return tmp_path / "cache"


def step(**more: Any) -> Compilation:
    return compilation(Path("small.net"), **{"mode": "train", "dims": {"N": 4}, "target": "c", "threads": 1, **more})


class Watch:
    """Each candidate is faster than the one before, or slower. calls: how often something was timed."""

    def __init__(self, faster: bool = True) -> None:
        self.calls, self.faster = 0, faster

    def __call__(self, programs: Sequence[Program], budget: float) -> Times:
        self.calls += 1
        times = [1e-3 / (k + 1) if self.faster else 1e-3 * (k + 1) for k in range(len(programs))]
        return [
            dict.fromkeys((int(name[1:]) for name in one.outputs), [seconds] * 3)
            for one, seconds in zip(programs, times, strict=True)
        ]


def begun(made: Compilation, watch: Watch, folder: Path, *, resume: bool = False, long: bool = True) -> RunPrograms:
    spec = replace(made.training, steps=10**9 if long else 4)
    return with_algorithms(spec, made, [], folder, lambda line: None, resume=resume, measures=True, watch=watch)


def test_a_run_is_long_by_its_operations_and_threads(home: Path) -> None:
    made = step()
    assert not pays(made.training, made)
    assert pays(replace(made.training, steps=10**8), made)
    cost, seconds = 10 + 1.5 * 6, work(made.training, made) / 4 / 1e11
    assert pays(replace(made.training, steps=int(1.1 * 20 * cost / seconds)), made)
    assert not pays(replace(made.training, steps=int(0.9 * 20 * cost / seconds)), made)
    assert not pays(replace(made.training, steps=int(1.1 * 20 * cost / seconds)), step(threads=2))


def test_what_a_long_run_measured_the_next_one_takes(home: Path) -> None:
    watch = Watch()
    first = begun(step(), watch, Path("one"))
    assert watch.calls == 1
    assert first.step.program.source != step().program.source, "and no other command asks for it"
    second = begun(step(), Watch(faster=False), Path("two"))
    assert second.step.program.source == first.step.program.source
    assert begun(step(), watch, Path("three"), long=False).step.program.source == step().program.source
    assert watch.calls == 1
    assert (home / CACHE).is_file()
    assert not (home / "schedules.json").exists()


def test_a_resumed_run_keeps_its_choices(home: Path) -> None:
    """Whatever happens to the cache and to the user's own file."""
    first = begun(step(), Watch(), Path("one"))
    first.keep(Path("one"), resume=False)
    source = first.step.program.source
    (home / CACHE).unlink()
    watch = Watch(faster=False)
    again = begun(step(), watch, Path("one"), resume=True)
    assert again.step.program.source == source
    short = begun(step(), watch, Path("two"), long=False)
    short.keep(Path("two"), resume=False)
    plain = short.step.program.source
    assert watch.calls == 0
    entries = read_file(Path("one") / FILE).entries
    write_file(home / "schedules.json", TuningTable(entries))
    assert step().program.source == source, "the user's own"
    again = begun(step(), watch, Path("two"), resume=True)
    assert again.step.program.source == plain != source


def test_what_the_user_says_goes_first(home: Path) -> None:
    watch = Watch()
    kept = begun(step(), watch, Path("one"))
    kept.keep(Path("one"), resume=False)
    (home / CACHE).unlink()
    file = TuningFiles(Path("one") / FILE)
    for made in (step(schedules=file), step(numbers=numbers(direct=True, target="c")), step(target="numpy")):
        assert begun(made, watch, Path("two")).step is made
    assert watch.calls == 1


@needs_compiler
def test_the_command_measures_and_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_runs, "pays", lambda spec, step: True)
    monkeypatch.setattr("netc.api.algorithms.stopwatch", Watch())
    train = ["train", "small.net", "--target", "c", "--threads", "1"]
    plain = CliRunner().invoke(cli, [*train, "--no-tune", "--folder", "plain"], catch_exceptions=False)
    assert "timed first" not in plain.stderr
    assert not read_file(Path("plain") / FILE).entries
    done = CliRunner().invoke(cli, [*train, "--folder", "run"], catch_exceptions=False)
    assert "netc: a long run: its products are timed first (--no-tune leaves that)" in done.stderr
    assert "products that have a choice take another algorithm" in done.stderr
    assert len(read_file(Path("run") / FILE).entries) == 6
    half = CliRunner().invoke(cli, [*train, "--folder", "half", "--steps", "2"], catch_exceptions=False)
    assert "timed first" not in half.stderr, "the cache has them"
    (home / CACHE).unlink()
    more = CliRunner().invoke(cli, [*train, "--folder", "half", "--resume"], catch_exceptions=False)
    assert more.exit_code == 0
    assert "timed first" not in more.stderr
    ends = [(Path(folder) / "small.safetensors").read_bytes() for folder in ("run", "half")]
    assert ends[0] == ends[1]
