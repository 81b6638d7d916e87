"""The log: what is written is read, whatever a crash left; and nothing in a file makes another error than one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler.program import UserError
from netc.runtime.history import Curve, History
from netc.runtime.log import MAX_LINE, Log, read_log, records


def step(log: Log, number: int, loss: float = 1.0, **values: float) -> None:
    log.write("step", step=number, loss=loss, rate=0.1, values=values, seconds=0.01)


def written(path: Path, count: int = 4) -> History:
    history = History()
    with Log(path, history) as log:
        log.write("run", net="lenet", losses=["nll"], steps=9)
        for number in range(1, count + 1):
            step(log, number, loss=number / 3, nll=number / 3, top1=0.5)
        log.write("test", step=count, data="heldout", values={"nll": 0.25}, records=100, seconds=1.0)
    return history


def test_what_is_written_is_read_and_is_what_the_run_had(tmp_path: Path) -> None:
    history = written(tmp_path / "log.jsonl")
    again = read_log(tmp_path / "log.jsonl")
    for one in (history, again):
        assert one.net == "lenet"
        assert one.loss_names == ("nll",)
        assert list(one.steps) == [1, 2, 3, 4]
        assert list(one.losses) == [n / 3 for n in range(1, 5)]
        assert set(one.metrics) == {"nll", "top1"}
        assert one.tests["heldout"].last() == {"nll": 0.25}
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_survive(loss: float, tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl", History()) as log:
        step(log, 1, loss=loss, top1=loss)
    found = read_log(tmp_path / "log.jsonl")
    assert str(float(found.losses[0])) == str(loss)
    assert str(float(found.metrics["top1"][0])) == str(loss)
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_last_line_that_is_not_whole_does_not_count_and_is_cut_off(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    kept = len(whole.splitlines()) - 1
    assert len(list(records(path))) == kept
    with Log(path, History()) as log:
        step(log, 5)
    lines = path.read_bytes().splitlines()
    assert lines[:-1] == whole.splitlines()[:kept]
    assert json.loads(lines[-1])["step"] == 5


def test_what_a_resumed_run_did_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path, 6)
    with Log(path, History()) as log:
        log.write("resume", step=2)
        for number in (3, 4):
            step(log, number, loss=9.0)
    found = read_log(path)
    assert list(found.steps) == [1, 2, 3, 4]
    assert list(found.losses) == [1 / 3, 2 / 3, 9, 9]
    assert len(found.tests["heldout"]) == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"3", "no record with a `kind`"),
        (b'{"kind": 3}', "no record with a `kind`"),
        (b'{"kind": "step", "step": "1", "loss": 1, "rate": 1, "values": {}}', "not a `step` record"),
        (b'{"kind": "step", "step": -1, "loss": 1, "rate": 1, "values": {}}', "not a `step` record"),
        (b'{"kind": "step", "step": 1, "loss": "x", "rate": 1, "values": {}}', "not a `step` record"),
        (b'{"kind": "step", "step": 1, "loss": 1, "rate": 1, "values": 3}', "not a `step` record"),
        (b'{"kind": "step", "step": 99999999999999999999, "loss": 1, "rate": 1, "values": {}}', "not a `step` record"),
        (b'{"kind": "step", "step": 1, "loss": 1' + b"0" * 400 + b', "rate": 1, "values": {}}', "not a `step` record"),
        (b'{"kind": "test", "step": 1, "data": 5, "values": {}}', "not a `test` record"),
        (b'{"kind": "resume"}', "not a `resume` record"),
        (b'{"kind": "run"}', "not a `run` record"),
        (b'{"kind": "run", "net": "a", "losses": 3}', "not a `run` record"),
        (b'"' + b"x" * MAX_LINE, "longer than"),
    ],
)
def test_a_wrong_line_is_named(line: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"kind": "resume", "step": 0}\n' + line + b'\n{"kind": "end"}\n')
    with pytest.raises(UserError) as caught:
        read_log(path)
    assert str(caught.value).startswith(f"{path}:2: not a ")
    assert words in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["step", "loss", "rate", "values", "data", "net", "losses"])


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(["run", "resume", "step", "test", "snapshot", "stop", "end", "later"]),
    fields=st.dictionaries(FIELDS, JSON, max_size=7),
)
def test_no_record_makes_another_error(
    kind: str, fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(json.dumps({"kind": kind} | fields).encode() + b"\n")
    problem = ""
    try:
        read_log(path)
    except UserError as error:
        problem = str(error)
    assert "\n" not in problem


def test_kinds_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    written(path)
    with path.open("a") as file:
        file.write('{"kind": "weather", "step": 3}\n')
    assert len(read_log(path)) == 4


def test_files_that_cannot_be_read_or_written_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_log(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot be written: No such file"):
        Log(tmp_path / "none" / "log.jsonl", History())


def test_a_curve_knows_what_was_not_recorded() -> None:
    curve = Curve()
    curve.add(1, {"a": 1.0})
    curve.add(3, {"a": 2.0, "b": 5.0})
    curve.add(5, {"b": 6.0})
    np.testing.assert_array_equal(curve["a"], [1, 2, np.nan])
    np.testing.assert_array_equal(curve["b"], [np.nan, 5, 6])
    curve.add(3, {"a": 4.0})
    assert list(curve.steps) == [1, 3]
    np.testing.assert_array_equal(curve["a"], [1, 4])


def test_a_long_run_is_held_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are left out evenly, the last ones never; what is held has the values of its steps."""
    monkeypatch.setattr("netc.runtime.history.LIMIT", 1000)
    monkeypatch.setattr("netc.runtime.history.RECENT", 100)
    history = History()
    longest = 0
    for step in range(1, 20_001):
        values = {"a": 2.0 * step} | ({"b": -1.0 * step} if step > 15_000 else {})
        history.add({"kind": "step", "step": step, "loss": 0.5 * step, "rate": 1.0, "values": values})
        longest = max(longest, len(history))
    assert longest == 1000
    steps = history.steps
    assert steps[-101:].tolist() == list(range(19_900, 20_001))
    apart = np.diff(steps)
    assert apart[0] > 1
    assert all(apart[:200] == apart[0])
    assert all(np.diff(apart)[200:] <= 0)
    np.testing.assert_array_equal(history.losses, 0.5 * steps)
    np.testing.assert_array_equal(history.metrics["a"], 2.0 * steps)
    np.testing.assert_array_equal(history.metrics["b"], np.where(steps > 15_000, -1.0 * steps, np.nan))
    history.cut(19_950)
    assert history.steps[-1] == 19_950
