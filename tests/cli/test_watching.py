"""The keys `keep` and `stop` of a `train` block, and tests from step 0: the best weights, an early end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler.build import load
from netc.compiler.spec import Watched
from netc.grammar.source import Source, SourceErrors
from netc.runtime.improvement import unimproved
from netc.runtime.log import read_log, records
from netc.runtime.tensors import read_tensors
from support.commands import run

NET = """net tiny {{
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3) as score
    loss nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
}}

data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 4, scale: 1/256)
data heldout = synthetic(shape: [1, 4, 4], classes: 3, batch: 4, records: 32, seed: 2, scale: 1/256)

train tiny {{
    from: made
    {test}
    solver: sgd(lr: {rate})
    steps: {steps}
    display: 0
{keys}}}
"""


def write(*keys: str, test: str = "test: heldout every 4", rate: float = 0.5, steps: int = 20) -> str:
    lines = "".join(f"    {key}\n" for key in keys)
    return NET.format(keys=lines, test=test, rate=rate, steps=steps)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(text: str, *flags: str) -> str:
    Path("tiny.net").write_text(text, encoding="utf-8")
    code, out, err = run("train", "tiny.net", "--folder", "run", *flags)
    assert code == 0, err
    return out


def test_the_best_weights_are_those_of_the_best_test() -> None:
    trained(write("keep: best(nll)", rate=3))
    history = read_log(Path("run/log.jsonl"))
    found = history.tests["heldout"]["nll"]
    best = [record for record in records(Path("run/log.jsonl")) if record["kind"] == "best"]
    assert best[-1]["step"] == history.tests["heldout"].steps[found.argmin()]
    assert found.argmin() < len(found) - 1, "else the last weights would do"
    assert [record["value"] for record in best] == sorted((r["value"] for r in best), reverse=True)
    kept, last = (read_tensors(Path(f"run/tiny.{name}safetensors")) for name in ("best.", ""))
    assert not np.array_equal(kept["score.weight"], last["score.weight"])
    code, out, _ = run("test", "tiny.net", "--weights", "run/tiny.best.safetensors")
    assert code == 0
    assert f"nll {found.min():.4g}"[:9] in out


def test_a_run_ends_after_tests_that_found_nothing_better() -> None:
    out = trained(write("stop: no better top1 for 2 tests", rate=0, steps=100))
    history = read_log(Path("run/log.jsonl"))
    assert history.tests["heldout"].steps.tolist() == [4, 8, 12]
    assert len(history) == 12
    assert "step 12: no better top1 for 2 tests; the run ends" in out
    assert Path("run/tiny.safetensors").exists()
    trained(write("stop: no better top1 for 2 tests", rate=0, steps=100), "--resume")
    assert len(read_log(Path("run/log.jsonl"))) == 12, "it is over, also when it is resumed"


def test_a_test_comes_before_the_first_step() -> None:
    trained(write("keep: best(nll)", test="test: heldout every 10 from 0"))
    assert read_log(Path("run/log.jsonl")).tests["heldout"].steps.tolist() == [0, 10, 20]


@pytest.mark.parametrize(("keep", "count"), [("keep: all", 10), ("keep: 4", 4), ("keep: [best(top1), 2]", 2)])
def test_as_many_snapshots_are_kept_as_it_says(keep: str, count: int) -> None:
    trained(write(keep, "snapshot: every 2"))
    assert len([*Path("run/snapshots").glob("*.json")]) == count


def test_what_is_watched() -> None:
    keys = ("keep: lowest(heldout.top1)", "stop: no lower nll for 1 test")
    (spec,) = load(Source("t.net", write(*keys))).trains
    assert spec.best == Watched("top1", False, "heldout")
    assert spec.stop == (Watched("nll", False), 1)


def test_what_is_no_number_is_never_better() -> None:
    larger = Watched("top1", True)
    assert unimproved([(1, float("nan")), (2, 0.5), (3, 0.5), (4, float("nan"))], larger) == 2
    assert unimproved([(1, 0.5), (2, 0.75)], larger) == 0


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("keep: best(top2)", "did you mean `top1`?"),
        ("keep: best(made.top1)", "train: `made` is not tested on"),
        ("keep: some", "such as `keep: best(top1)`"),
        ("keep: [best(top1), all, best(nll)]", "train: `keep` keeps the weights of one test"),
        ("keep: [5, all]", "train: `keep` keeps one number of snapshots"),
        ("stop: no better top1 for 0 tests", "takes a whole number from 1 up, not 0"),
        ("stop: never", "such as `stop: no better top1 for 5 tests`"),
        ("stop: no bigger top1 for 5 tests", "such as `stop: no better top1 for 5 tests`"),
        ("snapshot: no better top1 for 5 tests", "train: `snapshot` takes a number"),
        ("patience: 5", "did you mean `stop`?"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(key: str, said: str) -> None:
    with pytest.raises(SourceErrors) as caught:
        load(Source("t.net", write(key)))
    assert said in caught.value.errors[0].render()
    assert caught.value.errors[0].span.line == 18


def test_without_tests_nothing_is_watched() -> None:
    with pytest.raises(SourceErrors, match="nothing is tested"):
        load(Source("t.net", write("keep: best(top1)", test="seed: 1")))
