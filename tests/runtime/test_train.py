"""The training loop: what it records, when it tests and saves, how it stops, and that stopping changes no bit."""

from __future__ import annotations

import io
import signal
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.compiler.spec import Use
from netc.runtime.evaluate import evaluate, numbers
from netc.runtime.interruption import Diverged, Interrupted
from netc.runtime.learning_rate import rate
from netc.runtime.log import read_log, records
from netc.runtime.progress import Lines
from netc.runtime.snapshot import latest
from netc.runtime.state import State
from netc.runtime.train import train
from support.tiny_run import BATCH, RECORDS, Data, Net, held_out, infos, run, spec


def same(a: State, b: State) -> bool:
    return all(np.array_equal(a.buffers[name], b.buffers[name], equal_nan=True) for name in a.buffers)


def test_it_learns_and_records_each_step() -> None:
    history, state = run(None, 120)
    assert list(history.steps) == list(range(1, 121))
    assert history.losses[-20:].mean() < 0.6 * history.losses[:5].mean()
    schedule = spec(1).schedule
    assert list(history.rates) == [rate(schedule, 0.1, step, 120) for step in range(120)]
    assert history.metrics["nll"][3] == history.losses[3]
    assert int(state.buffers[".step"]) == 120


def test_tests_run_every_so_often_and_once_at_the_end() -> None:
    history, _ = run(None, 20, every=7)
    assert list(history.tests["heldout"].steps) == [7, 14, 20]
    assert list(run(None, 14, every=7)[0].tests["heldout"].steps) == [7, 14]
    assert list(run(None, 14, every=0)[0].tests["heldout"].steps) == [14]


def test_a_test_is_the_mean_over_all_records() -> None:
    state = State(infos())
    state.fill(1)
    net, data = Net(state, training=False), Data()
    found = evaluate(net, data, ["nll", "top1"])
    assert found is not None
    whole = net.run({"image": data.image, "label": data.label})
    assert RECORDS % BATCH  # the last batch is another size
    assert found[1] == RECORDS
    assert found[0]["nll"] == pytest.approx(float(whole["nll"]), rel=1e-6)
    assert found[0]["top1"] == pytest.approx(float(whole["top1"]), rel=1e-12)


def test_an_output_of_several_numbers_is_recorded_one_by_one() -> None:
    assert numbers({"a": np.array([[2.0]]), "b": np.array([1, 3])}) == {"a": 2.0, "b[0]": 1.0, "b[1]": 3.0}


def test_the_displayed_loss_is_the_mean_of_the_steps_behind_it() -> None:
    out = io.StringIO()
    history, _ = run(None, 30, display=10, progress=Lines(out))
    shown = [line for line in out.getvalue().splitlines() if " of 30 " in line]
    assert [line.split(" of ")[0] for line in shown] == ["step 1", "step 10", "step 20", "step 30"]
    assert f"loss {history.losses[10:20].mean():.5g}" in shown[2]
    assert f"top1 {history.metrics['top1'][10:20].mean():.5g}" in shown[2]
    assert f"rate {history.rates[19]:.4g}" in shown[2]
    assert "records/s" in shown[2]


def test_a_run_leaves_log_curves_snapshots_and_weights(tmp_path: Path) -> None:
    history, state = run(tmp_path, 20, snapshot=5)
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == [f"step-0000{step}.{kind}" for step in (10, 15, 20) for kind in ("json", "safetensors")]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    other = State(infos())
    other.load(tmp_path / "tiny.safetensors")
    assert np.array_equal(other["fc.weight"], state["fc.weight"])
    assert history.weights == tmp_path / "tiny.safetensors"
    kinds = [record["kind"] for record in records(tmp_path / "log.jsonl")]
    assert kinds[0] == "run"
    assert kinds[-1] == "end"
    assert (kinds.count("step"), kinds.count("test"), kinds.count("snapshot")) == (20, 3, 4)
    assert list(read_log(tmp_path / "log.jsonl").losses) == list(history.losses)


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    run(tmp_path, 2)
    before = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds another run"):
        run(tmp_path, 2)
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_a_longer_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    straight, expected = run(None, 40)
    run(tmp_path, 23, snapshot=10)
    history, state = run(tmp_path, 40, resume=True, snapshot=10)
    assert same(state, expected)
    np.testing.assert_array_equal(history.losses, straight.losses)
    assert list(history.tests["heldout"].steps) == [7, 14, 21, 23, 28, 35, 40]
    again = read_log(tmp_path / "log.jsonl")
    np.testing.assert_array_equal(again.losses, straight.losses)


class Signalling(Data):
    """Data that send a signal to their process while a certain batch is asked for."""

    def __init__(self, at: int, number: int) -> None:
        super().__init__()
        self.at, self.number = at, number

    def next(self) -> Any:
        if self.taken == self.at * BATCH:
            signal.raise_signal(self.number)
        return super().next()

    def one_pass(self) -> Any:
        for i, batch in enumerate(super().one_pass()):
            if i == 3 and self.at < 0:
                self.at = 0
                signal.raise_signal(self.number)
            yield batch


def signalled(folder: Path | None, data: Data, test: Data, steps: int = 30) -> tuple[Interrupted, State]:
    state = State(infos())
    state.fill(3)
    net, tests = Net(state, training=True), [held_out(state, 7, test)]
    with pytest.raises(Interrupted) as caught:
        train(net, data, spec(steps), losses={"nll": 1.0}, metrics=["top1"], tests=tests, folder=folder)
    return caught.value, state


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_run_after_the_step_and_saves(name: str, tmp_path: Path) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    error, _ = signalled(tmp_path, Signalling(12, number), Data(6))
    assert error.exit_code == 128 + number
    assert error.step == 13
    assert str(tmp_path / "snapshots" / "step-000013.json") in str(error)
    assert "--resume" in str(error)
    assert signal.getsignal(number) is before
    history, state = run(tmp_path, 30, resume=True)
    straight, expected = run(None, 30)
    assert same(state, expected)
    np.testing.assert_array_equal(history.tests["heldout"]["nll"], straight.tests["heldout"]["nll"])


def test_a_test_that_was_interrupted_is_done_again_by_resume(tmp_path: Path) -> None:
    error, _ = signalled(tmp_path, Data(), Signalling(-1, signal.SIGINT))
    assert error.step == 7
    assert len(error.history.tests) == 0
    history, _ = run(tmp_path, 30, resume=True)
    straight, _ = run(None, 30)
    np.testing.assert_array_equal(history.tests["heldout"].steps, straight.tests["heldout"].steps)
    np.testing.assert_array_equal(history.tests["heldout"]["nll"], straight.tests["heldout"]["nll"])


def test_without_a_folder_an_interrupted_run_says_that_nothing_is_saved() -> None:
    error, _ = signalled(None, Signalling(2, signal.SIGINT), Data(6))
    assert error.snapshot is None
    assert "nothing was saved" in str(error)
    assert len(error.history) == 3


def test_training_on_another_thread_leaves_signals_alone() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(run(None, 3)[0])))
    thread.start()
    thread.join()
    assert found == [3]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        state = State(infos())
        state.fill(3)
        history = train(Net(state, training=True), Signalling(2, signal.SIGINT), spec(5), losses={"nll": 1.0})
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(history) == 5


def test_a_loss_that_is_no_number_stops_with_the_state_before_the_step(tmp_path: Path) -> None:
    seen: list[Any] = []

    def diagnose(feeds: Any, state: State) -> str:
        seen.append((dict(feeds), state.buffers[".parameters"].copy(), int(state.buffers[".step"])))
        return "it appeared first in fc (a.net:3)"

    def poison(data: Data) -> Data:
        real = data.next

        def next_() -> Any:
            batch = real()
            if data.taken == 9 * BATCH:
                batch.columns["image"] = batch.columns["image"] * np.nan
            return batch

        data.next = next_  # type: ignore[method-assign]
        return data

    state = State(infos())
    state.fill(3)
    with pytest.raises(Diverged, match=r"step 9: the loss is nan; it appeared first in fc \(a\.net:3\) \(the rate was"):
        train(
            Net(state, training=True),
            poison(Data()),
            spec(30, snapshot=4),
            losses={"nll": 1.0},
            folder=tmp_path,
            diagnose=diagnose,
        )
    (columns, parameters, step), expected = seen[0], run(None, 8)[1]
    assert len(seen) == 1
    assert set(columns) == {"image", "label"}
    assert np.isnan(columns["image"]).all()
    assert step == 8
    assert np.array_equal(parameters, expected.buffers[".parameters"])
    assert list(records(tmp_path / "log.jsonl"))[-1]["kind"] == "stop"
    assert (found := latest(tmp_path / "snapshots")[0]) is not None
    assert found.step == 8


def test_an_infinite_rate_is_found_at_once_or_at_the_snapshot(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"after step 1: fc\.(weight|bias) is not finite; no snapshot"):
        run(tmp_path, 1, solver=Use("sgd", (("lr", 1e39), ("momentum", 0.9))))
    assert not (tmp_path / "tiny.safetensors").exists()


class Accumulating(Net):
    """Adds the gradients of its batches to the sum `.gradients`, which `Applying` uses up."""

    def __init__(self, state: State) -> None:
        super().__init__(state, training=True)
        self.program = SimpleNamespace(inputs={"image": None, "label": None}, source="accumulate")

    def run(self, feeds: Any, /) -> Any:
        self.state.buffers[".gradients"][...] += feeds["image"].sum()
        return {"nll": np.float32(feeds["image"].mean()), "top1": np.float32(0)}


class Applying(Accumulating):
    """The update alone: takes the rate."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.program = SimpleNamespace(inputs={".rate": None}, source="apply")
        self.sums: list[float] = []

    def run(self, feeds: Any, /) -> Any:
        assert set(feeds) == {".rate"}
        self.sums.append(float(self.state.buffers[".gradients"]))
        self.state.buffers[".gradients"][...] = 0
        return {}


def test_gradients_are_accumulated_over_several_batches() -> None:
    from netc.compiler.program import StateInfo, TensorType

    state = State([*infos(), StateInfo(".gradients", TensorType(()), "history")])
    apply, data = Applying(state), Data()
    history = train(apply, data, spec(4, accumulate=3), losses={"nll": 2.0}, accumulate=Accumulating(state))
    other = Data()
    images = [other.next().columns["image"] for _ in range(12)]
    sums = [sum(float(x.sum()) for x in images[i : i + 3]) for i in range(0, 12, 3)]
    np.testing.assert_allclose(apply.sums, sums, rtol=1e-4)
    means = [2 * np.mean([x.mean() for x in images[i : i + 3]]) for i in range(0, 12, 3)]
    np.testing.assert_allclose(history.losses, means, rtol=1e-5)
    with pytest.raises(ValueError, match="accumulate"):
        train(apply, data, spec(4, accumulate=3), losses={"nll": 1.0})


def test_what_changed_since_the_snapshot_is_said(tmp_path: Path) -> None:
    run(tmp_path, 5)
    out = io.StringIO()
    run(tmp_path, 8, resume=True, threads=3, seed=4, schedule=Use("fixed"), progress=Lines(out))
    text = out.getvalue()
    for words in ("threads: 1 then, 3 now", "seed: 3 then, 4 now", "schedule: inv(", "steps: 5 then, 8 now"):
        assert words in text
    assert "program" not in text
    out = io.StringIO()
    run(tmp_path, 8, resume=True, threads=3, seed=4, schedule=Use("fixed"), progress=Lines(out))
    assert "may differ" not in out.getvalue()


def test_a_snapshot_of_another_net_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 5)
    with pytest.raises(UserError, match="is of the net `tiny`, not of `large`"):
        run(tmp_path, 8, resume=True, net="large")


def test_a_log_damaged_by_a_power_failure_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    run(tmp_path, 9)
    log = tmp_path / "log.jsonl"
    whole = log.read_bytes()
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:8]) + b"\0" * 100 + b"\n")
    out = io.StringIO()
    history, state = run(tmp_path, 12, resume=True, progress=Lines(out))
    assert f"warning: {log}:9: not a line of a log: no JSON; the log goes on" in out.getvalue()
    assert (tmp_path / "log.jsonl.damaged").read_bytes().endswith(b"\0\n")
    assert same(state, run(None, 12)[1])
    assert list(history.steps) == [1, 2, 3, 4, 5, 6, 7, 10, 11, 12]
    assert list(read_log(log).steps) == list(history.steps)


def test_resuming_a_run_without_snapshot_begins_again(tmp_path: Path) -> None:
    run(tmp_path, 5)
    for path in (tmp_path / "snapshots").iterdir():
        path.unlink()
    out = io.StringIO()
    history, state = run(tmp_path, 12, resume=True, progress=Lines(out))
    assert "there is no snapshot yet" in out.getvalue()
    assert same(state, run(None, 12)[1])
    assert list(history.steps) == list(range(1, 13))
    assert list(read_log(tmp_path / "log.jsonl").steps) == list(range(1, 13))


def test_the_last_loss_is_shown_wherever_the_run_ends() -> None:
    for display, shown in ((10, [1, 10, 20, 23]), (0, [1])):
        out = io.StringIO()
        run(None, 23, display=display, progress=Lines(out))
        steps = [line.split()[1] for line in out.getvalue().splitlines() if " of 23 " in line]
        assert steps == [str(step) for step in shown]
