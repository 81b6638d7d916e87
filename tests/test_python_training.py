"""Training from Python: data of the caller's own in every form, callbacks, rates of one's own, nets as text."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.runtime.callbacks import Running
from netc.runtime.history import History
from netc.runtime.log import records
from support.own_data import BATCH, RECORDS, TEXT, Rows, pieces, rows

FILED = TEXT.replace("from: []", "from: rows\n    test: rows every 3").replace(
    "train a", 'data rows = npz("rows.npz", arrays: [x, y], batch: 8)\ntrain a'
)


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw them takes longer than all else here."""
    monkeypatch.setattr("netc.runtime.curves.write_curves", lambda path, history: None)


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    return rows()


def train(data: Any, **more: Any) -> History:
    return netc.train(TEXT, data, **{"quiet": True, "threads": 1, "batch": BATCH, **more})


def expected(x: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
    """The losses of steps on the records in their order, again from their beginning at their end."""
    step = netc.compile(TEXT, mode="train", dims={"N": BATCH}, threads=1)
    rows = [np.arange(i * BATCH, (i + 1) * BATCH) % len(x) for i in range(steps)]
    return np.array([step(x[row], y[row])["nll"] for row in rows], np.float32)


FORMS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "batches of a size": lambda x, y: pieces(x, y, BATCH),
    "batches of another size": lambda x, y: pieces(x, y, 3),
    "large batches": lambda x, y: pieces(x, y, 19),
    "dictionaries": lambda x, y: [{"y": b, "x": a, "more": None} for a, b in pieces(x, y, 5)],
    "lists, as a loader collates them": lambda x, y: [[a, b] for a, b in pieces(x, y, 5)],
    "records": lambda x, y: list(zip(x, y.tolist(), strict=True)),
    "records by name": lambda x, y: [{"x": a, "y": b} for a, b in zip(x, y, strict=True)],
    "a function": lambda x, y: lambda: iter(pieces(x, y, 7)),
    "a generator": lambda x, y: (piece for _ in range(9) for piece in pieces(x, y, 7)),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_iterable_gives_its_records_in_their_order(form: str, made: tuple[np.ndarray, np.ndarray]) -> None:
    history = train(FORMS[form](*made))
    np.testing.assert_array_equal(history.losses, expected(*made, 6))


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: {"x": x, "y": y},
        lambda x, y: (x, y),
        lambda x, y: (x.tolist(), y.astype(np.int64)),
        Rows,
        lambda x, y: {"y": y, "x": x.astype(np.float64), "other": "passed over"},
    ],
)
def test_arrays_and_data_sets_are_what_a_file_is(
    form: Callable[..., Any], made: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    """The same order, the same tests, the same bits as from a file that holds them."""
    np.savez(tmp_path / "rows.npz", x=made[0], y=made[1])
    (tmp_path / "a.net").write_text(FILED.replace("batch: 8", "batch: 8, shuffle: true"))
    filed = netc.train(tmp_path / "a.net", quiet=True, threads=1)
    found = train(form(*made), test_data=form(*made), test_every=3)
    np.testing.assert_array_equal(found.losses, filed.losses)
    assert found.tests["test"].steps.tolist() == [3, 6]
    for name in ("nll", "top1"):
        np.testing.assert_allclose(found.tests["test"][name], filed.tests["rows"][name], rtol=1e-6)
    assert found.state is not None
    assert filed.state is not None
    for name in filed.state:
        np.testing.assert_array_equal(found.state[name], filed.state[name])


def test_data_take_the_place_of_the_files(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """The batch and the order are the file's; what it names is not opened."""
    (tmp_path / "a.net").write_text(FILED)
    history = netc.train(tmp_path / "a.net", made, test_data=pieces(*made, 6), quiet=True, threads=1)
    np.testing.assert_array_equal(history.losses, expected(*made, 6))
    assert history.tests["rows"].steps.tolist() == [3, 6]
    tested = netc.test(tmp_path / "a.net", history.state, made, threads=1, batch=6)
    assert tested["rows"]["nll"] == history.tests["rows"]["nll"][-1]
    assert netc.test(TEXT, history.state, iter(pieces(*made, 6)), batch=5)["test"]["top1"] == pytest.approx(
        history.tests["rows"]["top1"][-1]
    )


@pytest.mark.parametrize(("form", "batch"), [("batches", 5), ("arrays", RECORDS), ("records", 64)])
def test_the_batch_is_that_of_the_batches(
    form: str, batch: int, made: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data: Any = {"batches": pieces(*made, 5), "arrays": made, "records": list(zip(*made, strict=True))}[form]
    netc.train(TEXT, data, quiet=True, steps=1, folder=tmp_path / "run")
    assert next(records(tmp_path / "run" / "log.jsonl"))["batch"] == batch


def test_a_generator_that_ends_ends_the_run(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """As if its steps were done: with a test, a snapshot and the weights of the last whole batch."""
    history = train(iter(pieces(*made, 9)), test_data=made, folder=tmp_path / "run")
    assert len(history.losses) == RECORDS // BATCH
    assert history.tests["test"].steps.tolist() == [2]
    assert history.weights is not None
    np.testing.assert_array_equal(history.losses, expected(*made, 2))
    step = netc.compile(TEXT, mode="train", dims={"N": BATCH}, threads=1)
    for i in (0, 8):
        step(made[0][i : i + 8], made[1][i : i + 8])
    assert history.state is not None
    np.testing.assert_array_equal(history.state["enc.weight"], step.state["enc.weight"])


@pytest.mark.parametrize("form", ["batches of another size", "a generator", "a function"])
def test_a_run_on_iterables_goes_on_to_the_same_bits(
    form: str, made: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    straight = train(FORMS[form](*made), steps=9)
    train(FORMS[form](*made), steps=4, folder=tmp_path / "run")
    again = train(FORMS[form](*made), steps=9, folder=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(again.losses, straight.losses)
    short = iter(pieces(*made, 3)[:3])
    with pytest.raises(netc.UserError, match=r"fewer than [0-9]+ records, where the run would go on"):
        train(short, steps=12, folder=tmp_path / "run", resume=True)


def test_torch_is_taken_and_not_imported(made: tuple[np.ndarray, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, IterableDataset, TensorDataset

    x, y = torch.from_numpy(made[0]), torch.from_numpy(made[1]).long()

    class Stream(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(x, y, strict=True))

        def __len__(self) -> int:
            return len(x)

    losses = expected(*made, 6)
    for data in (DataLoader(TensorDataset(x, y), batch_size=7), Stream(), DataLoader(Stream(), batch_size=6)):
        np.testing.assert_array_equal(train(data).losses, losses)
    np.testing.assert_array_equal(train(TensorDataset(x, y)).losses, train(made).losses)
    np.testing.assert_array_equal(train((x.requires_grad_(), y)).losses, train(made).losses)
    script = f"import netc, numpy as np, sys\nnetc.train({TEXT!r}, (np.zeros((8, 6)), np.zeros(8, int)), quiet=True)\n"
    done = subprocess.run([sys.executable, "-c", script + "assert 'torch' not in sys.modules"], check=False)
    assert done.returncode == 0


WRONG: dict[str, tuple[Callable[[np.ndarray, np.ndarray], Any], str]] = {
    "a number": (lambda x, y: 5, "`data` takes arrays by the names of inputs"),
    "a missing array": (lambda x, y: {"x": x}, "data: there is no `y`; it holds x"),
    "one array": (lambda x, y: x, r"data: one array for the inputs \(x, y\)"),
    "three": (lambda x, y: (x, y, y), r"data: 3 arrays for the inputs \(x, y\)"),
    "another shape": (lambda x, y: (x[:, :5], y), r"`x` has the shape \[20, 5\], the input is f32\[N,6\]"),
    "another number of rows": (lambda x, y: (x, y[:5]), "differ in their numbers of rows: `x` 20, `y` 5"),
    "numbers for labels": (lambda x, y: (x, x[:, 0]), r"`y` holds float32, the input is i32\[N\]"),
    "texts": (lambda x, y: (x, ["a"] * 20), "`y` holds <U1, not numbers"),
    "ragged": (lambda x, y: ([[1.0], [2.0, 3.0]], y), "`x` is no array of numbers"),
    "nothing": (lambda x, y: (x[:0], y[:0]), "there is no record in it"),
    "no batches": (lambda x, y: [], "there is no batch in it"),
    "a list of arrays": (lambda x, y: [x, y], r"data: one array for the inputs \(x, y\)"),
    "a label out of range": (lambda x, y: (x, y + 9), "`y`"),
    "a batch of another shape": (lambda x, y: [(x, y), (x.T, y)], r"item 2: `x` has the shape \[6, 20\]"),
    "a record of another shape": (lambda x, y: Rows(x.T, y), "data: record 0: `x`"),
    "a function of numbers": (lambda x, y: lambda: 5, "the function returns 5"),
    "an empty pass": (lambda x, y: lambda: iter(()), "there is no batch in it"),
}


@pytest.mark.parametrize("what", WRONG)
def test_data_that_do_not_fit_are_refused(what: str, made: tuple[np.ndarray, np.ndarray]) -> None:
    give, said = WRONG[what]
    with pytest.raises(netc.UserError, match=said) as found:
        netc.train(TEXT, give(*made), quiet=True)
    assert str(found.value).isprintable()


def test_an_iterator_is_no_data_for_two_tests(made: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(netc.UserError, match="test_data: an iterator gives one pass"):
        train(made, test_data=iter(pieces(*made, 4)), test_every=2)


def test_a_block_without_data_says_where_they_come_from() -> None:
    for call in (lambda: netc.train(TEXT), lambda: netc.test(TEXT, "any")):
        with pytest.raises(netc.UserError, match=r"learns from no data .*; in Python they are given: `data=`"):
            call()


class Watching(netc.Callback):
    """Notes what it is told."""

    def __init__(self, stop_at: int = 0) -> None:
        self.told: list[str] = []
        self.stop_at = stop_at

    def on_begin(self, run: Running) -> None:
        self.told.append(f"begin {run.step} of {run.steps}")

    def on_step(self, run: Running) -> None:
        self.told.append(f"step {run.step}")
        assert run.loss == run.history.losses[-1]
        assert run.rate == run.history.rates[-1]
        assert set(run.values) == {"nll", "top1"}
        if run.step == self.stop_at:
            run.stop()

    def on_test(self, run: Running, data: str, values: Mapping[str, float]) -> None:
        self.told.append(f"test {data} {run.step}")
        assert values["nll"] == run.history.tests[data]["nll"][-1]

    def on_snapshot(self, run: Running, path: Path) -> None:
        self.told.append(f"snapshot {path.name}")

    def on_end(self, run: Running) -> None:
        self.told.append(f"end {run.step}")


def test_callbacks_are_told_of_each_event(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    watching = Watching()
    train(made, steps=3, test_data=made, test_every=2, callbacks=watching, folder=tmp_path / "run")
    steps = ["step 1", "step 2", "test test 2", "step 3", "test test 3"]
    assert watching.told == ["begin 0 of 3", *steps, "snapshot step-000003.json", "end 3"]


def test_a_callback_ends_a_run_as_if_its_steps_were_done(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    watching = Watching(stop_at=2)
    history = train(made, test_data=made, callbacks=[watching], folder=tmp_path / "run")
    assert watching.told[-4:] == ["step 2", "test test 2", "snapshot step-000002.json", "end 2"]
    assert len(history.losses) == 2
    assert history.weights is not None
    other = train(made, test_data=made, test_every=2, callbacks=[lambda run: run.step == 2 and run.stop()])
    np.testing.assert_array_equal(other.losses, history.losses)
    assert other.tests["test"].steps.tolist() == [2]
    again = train(made, folder=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(again.losses, train(made).losses)


def test_a_callback_may_stop_in_a_test_and_write_the_state(made: tuple[np.ndarray, np.ndarray]) -> None:
    class Stops:
        def on_test(self, run: Running, data: str, values: Mapping[str, float]) -> None:
            run.state["score.bias"] = np.full(3, 7.0)
            run.stop()

    history = train(made, test_data=made, test_every=4, callbacks=Stops())
    assert history.tests["test"].steps.tolist() == [4]
    assert len(history.losses) == 4
    assert history.state is not None
    assert history.state["score.bias"].tolist() == [7.0] * 3


def test_what_a_callback_raises_ends_the_run(made: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    def fails(run: Running) -> None:
        if run.step == 2:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        train(made, callbacks=fails, folder=tmp_path / "run")
    kinds = [record["kind"] for record in records(tmp_path / "run" / "log.jsonl")]
    assert kinds.count("step") == 2


class Misspelled:
    def on_epoch(self, run: Running) -> None:
        raise AssertionError


@pytest.mark.parametrize("wrong", [5, [None], object(), Watching, [Misspelled()], "on_step"])
def test_what_is_no_callback_is_refused(wrong: Any, made: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(netc.UserError, match="a callback"):
        train(made, callbacks=wrong)


def test_a_rate_of_ones_own(made: tuple[np.ndarray, np.ndarray]) -> None:
    """The update is the rate times the gradient, whatever the schedule says; inputs are given in their order."""
    x, y = made[0][:8], made[1][:8]
    text = TEXT.replace(", momentum: 0.9", "")
    step = netc.compile(text, mode="train", dims={"N": 8}, gradients=["score.bias"])
    for rate in (0.1, 0.02, 0):
        before = step.state["score.bias"].copy()
        gradient = step(x, y, rate=rate)["score.bias.grad"]
        np.testing.assert_allclose(before - step.state["score.bias"], rate * gradient, rtol=1e-3, atol=1e-7)
    several = netc.compile(text.replace("steps: 6", "steps: 6\n    accumulate: 2"), mode="train", dims={"N": 8})
    before = several.state["score.bias"].copy()
    for _ in range(2):
        several(x, y=y, rate=0.0)
    assert np.array_equal(several.state["score.bias"], before)
    wrong: Any
    for wrong in (-1, "fast", None, float("nan"), [0.1]):
        with pytest.raises(netc.UserError, match="`rate` takes a number from 0 up"):
            step(x, y, rate=wrong)
    with pytest.raises(netc.UserError, match="3 arrays for the inputs x, y"):
        step(x, y, y)
    with pytest.raises(netc.UserError, match="`x` twice"):
        step(x, x=x, y=y)
    with pytest.raises(netc.UserError, match="unknown: rate"):
        netc.compile(text, dims={"N": 8}, outputs=["prob"])(x, rate=0.1)


def test_an_input_of_the_name_rate_is_an_input() -> None:
    text = "net a {\n    input rate: f32[N, 2]\n    y = rate |> linear(1)\n    loss l = mean(y)\n}\n"
    text += "train a {\n    from: []\n    solver: sgd(lr: 0.5)\n    steps: 1\n}\n"
    step = netc.compile(text, mode="train", dims={"N": 2})
    before = step.state["y.weight"].copy()
    step(rate=np.ones((2, 2)), **{".rate": 0.0})
    assert np.array_equal(step.state["y.weight"], before)
    step(rate=np.ones((2, 2)))
    assert not np.array_equal(step.state["y.weight"], before)


def test_a_step_leaves_no_memory_behind(made: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the history is as long as it may be; what each step recorded would be 48 bytes and more."""
    monkeypatch.setattr("netc.runtime.history.LIMIT", 256)
    monkeypatch.setattr("netc.runtime.history.RECENT", 64)
    held: list[int] = []

    def measured(run: Running) -> None:
        if run.step == 500:
            tracemalloc.start()
        elif run.step in (1000, 3000):
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])

    try:
        train(made, steps=3000, display=0, callbacks=measured)
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 2000 * 12
