"""A small net with everything that a run has to keep, in plain numpy: what the training loop is tested with.

Logistic regression with momentum (a history over a flat buffer), a running mean (a statistic) and dropout by the
counters, on data that are shuffled anew in each epoch. As a script it trains in a folder, for tests that kill it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.compiler.program import StateInfo, TensorType
from netc.compiler.spec import DataSpec, Filler, TestSpec, TrainSpec, Use
from netc.runtime.evaluate import PassData
from netc.runtime.history import History
from netc.runtime.progress import Lines
from netc.runtime.state import State
from netc.runtime.train import Test, train

Array = npt.NDArray[Any]
FEATURES, CLASSES, BATCH, RECORDS = 12, 3, 8, 50


def infos(width: int = FEATURES) -> list[StateInfo]:
    count = CLASSES * width + CLASSES
    gaussian = Filler("gaussian", (("std", 0.1),))
    return [
        StateInfo("fc.weight", TensorType((CLASSES, width)), filler=gaussian, buffer=".parameters", layer="fc"),
        StateInfo("fc.bias", TensorType((CLASSES,)), buffer=".parameters", offset=CLASSES * width, layer="fc"),
        StateInfo("norm.mean", TensorType((width,)), "statistic", layer="norm"),
        StateInfo(".history0", TensorType((count,)), "history"),
        StateInfo(".step", TensorType((), "i64"), "counter"),
        StateInfo(".seed", TensorType((), "i64"), "counter"),
    ]


class Net:
    """Stands for an `Executable`: reads and writes the flat buffers of its state, as programs do."""

    def __init__(self, state: State, *, training: bool) -> None:
        self.state = state
        self.training = training
        inputs = ["image", "label", ".rate"] if training else ["image", "label"]
        self.program = SimpleNamespace(
            inputs=dict.fromkeys(inputs), returned=dict.fromkeys(["nll", "top1"]), source=f"tiny {training}"
        )

    def run(self, feeds: Mapping[str, Array], /) -> dict[str, Array]:
        assert set(feeds) == set(self.program.inputs)
        buffers = self.state.buffers
        flat = buffers[".parameters"]
        weight, bias = flat[: CLASSES * FEATURES].reshape(CLASSES, FEATURES), flat[CLASSES * FEATURES :]
        x = feeds["image"] - buffers["norm.mean"]
        if self.training:
            key = np.array([buffers[".seed"], buffers[".step"]], np.uint64)
            x = x * (np.random.Generator(np.random.Philox(key=key)).random(x.shape, np.float32) < 0.8)
        with np.errstate(all="ignore"):
            scores = x @ weight.T + bias
            scores = scores - scores.max(axis=1, keepdims=True)
            prob = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            rows = np.arange(len(x))
            losses = -np.log(prob[rows, feeds["label"]])
            if self.training:
                delta = prob.copy()
                delta[rows, feeds["label"]] -= 1
                gradient = np.concatenate([(delta.T @ x).reshape(-1), delta.sum(axis=0)]) / len(x)
                history = buffers[".history0"]
                history[:] = np.float32(0.9) * history + np.float32(feeds[".rate"]) * gradient.astype(np.float32)
                flat -= history
                buffers["norm.mean"][...] += np.float32(0.1) * (feeds["image"].mean(axis=0) - buffers["norm.mean"])
                buffers[".step"][...] += 1
        return {"nll": losses.mean(), "top1": (prob.argmax(axis=1) == feeds["label"]).mean()}


@dataclass
class Batch:
    columns: dict[str, Array]
    weight: int


class Data:
    """A stream over 50 records in an order of its own for each epoch; the last batch of a test pass is smaller."""

    batch = BATCH

    def __init__(self, seed: int = 5) -> None:
        random = np.random.default_rng(seed)
        self.image = random.standard_normal((RECORDS, FEATURES)).astype(np.float32)
        self.label = (self.image[:, :CLASSES] + 0.3 * random.standard_normal((RECORDS, CLASSES))).argmax(axis=1)
        self.taken = 0

    @property
    def position(self) -> dict[str, int]:
        return {"taken": self.taken}

    def seek(self, position: Any, /) -> None:
        self.taken = position["taken"]

    def next(self) -> Batch:
        places = range(self.taken, self.taken + BATCH)
        orders = {
            place // RECORDS: np.random.default_rng([7, place // RECORDS]).permutation(RECORDS) for place in places
        }
        rows = [int(orders[place // RECORDS][place % RECORDS]) for place in places]
        self.taken += BATCH
        return self._of(rows)

    def one_pass(self) -> Iterator[Batch]:
        for start in range(0, RECORDS, BATCH):
            yield self._of(list(range(start, min(start + BATCH, RECORDS))))

    def _of(self, rows: list[int]) -> Batch:
        return Batch({"image": self.image[rows], "label": self.label[rows]}, len(rows))


def held_out(state: State, every: int, data: PassData) -> Test:
    """A test on the same state."""
    return TestSpec(DataSpec("heldout", "synthetic", (), Path()), every), Net(state, training=False), data


def spec(steps: int, **changed: Any) -> TrainSpec:
    settings: dict[str, Any] = {
        "net": "tiny",
        "settings": {},
        "data": (),
        "tests": (),
        "solver": Use("sgd", (("lr", 0.1), ("momentum", 0.9))),
        "schedule": Use("inv", (("gamma", 0.01), ("power", 0.75))),
        "steps": steps,
        "display": 10,
        "snapshot": 0,
        "clip": None,
        "accumulate": 1,
        "seed": 3,
        "weights": None,
        "fresh": (),
        "folder": Path(),
    }
    return TrainSpec(**settings | changed)


def run(
    folder: Path | None, steps: int, *, resume: bool = False, every: int = 7, **changed: Any
) -> tuple[History, State]:
    """Train the net; the history and the state at the end."""
    state = State(infos())
    state.fill(3)
    wanted = {name: changed.pop(name) for name in ("diagnose", "progress", "keep", "threads") if name in changed}
    history = train(
        Net(state, training=True),
        Data(),
        spec(steps, **changed),
        losses={"nll": 1.0},
        metrics=["top1"],
        tests=[held_out(state, every, Data(6))],
        folder=folder,
        resume=resume,
        **wanted,
    )
    return history, state


if __name__ == "__main__":
    run(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        resume="--resume" in sys.argv,
        snapshot=int(sys.argv[3]),
        progress=Lines(sys.stdout),
    )
