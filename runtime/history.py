"""What a training run recorded: losses, rates and metrics by step, and the results of its tests.

It is made record by record, by the training loop as it goes or by the reader of a log, so both give the same.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .state import State

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
Record = Mapping[str, Any]
LIMIT = 1 << 18  # steps of a curve at most
RECENT = 10_000  # steps at its end that are kept whatever comes before


class Curve:
    """Values of several names at the same steps; a value that was not recorded at a step is NaN there.

    Of a very long run it holds every second step, every fourth, and so on, and the last 10,000 in any case.
    """

    def __init__(self) -> None:
        self._steps = array("q")
        self._values: dict[str, array[float]] = {}
        self._stride = 1

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append a step; one that is there already, or later ones, are dropped first."""
        if self._steps and step <= self._steps[-1]:
            self.cut(step - 1)
        elif len(self._steps) >= LIMIT:
            self._thin()
        for name in values:
            if name not in self._values:
                self._values[name] = array("d", [math.nan] * len(self._steps))
        self._steps.append(step)
        for name, kept in self._values.items():
            kept.append(values.get(name, math.nan))

    def _thin(self) -> None:
        """Leave out steps, evenly, until half of the memory is free."""
        steps = self.steps
        kept = steps % self._stride == 0
        while kept.sum() > LIMIT // 2:
            self._stride *= 2
            kept = steps % self._stride == 0
        kept[-RECENT:] = True
        self._steps = array("q", steps[kept].tobytes())
        for name in self._values:
            self._values[name] = array("d", self[name][kept].tobytes())

    def cut(self, step: int) -> None:
        """Forget all that came after a step."""
        count = int(np.searchsorted(self.steps, step, side="right"))
        del self._steps[count:]
        for kept in self._values.values():
            del kept[count:]

    @property
    def steps(self) -> Steps:
        """The steps, ascending."""
        return np.array(self._steps, np.int64)

    def __getitem__(self, name: str) -> Floats:
        """The values of one name, one for each step."""
        return np.array(self._values[name], np.float64)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._steps)

    def tail(self, name: str, count: int) -> Sequence[float]:
        """The last `count` values of one name."""
        return self._values[name][-count:]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def last(self) -> dict[str, float]:
        """The values at the last step."""
        return {name: kept[-1] for name, kept in self._values.items() if kept}


class History:
    """A run: `steps`, `losses`, `rates`, and per name `metrics` and `tests`; shows itself in a notebook.

    losses are the weighted sums that were minimized, of single steps: of all, or of a run of more than 262,144 steps of
    those in `steps`, evenly apart; the log has all. `tests["heldout"]` is a `Curve`. state: what was learned, of a run
    of this process.
    """

    def __init__(self) -> None:
        self.net = ""
        self.loss_names: tuple[str, ...] = ()
        self.folder: Path | None = None
        self.weights: Path | None = None
        self.state: State | None = None
        self.tests: dict[str, Curve] = {}
        self._steps = Curve()
        self._metrics = Curve()

    @property
    def steps(self) -> Steps:
        """The steps that were recorded, counted from 1."""
        return self._steps.steps

    @property
    def losses(self) -> Floats:
        """The loss of each step."""
        return self._column("loss")

    @property
    def rates(self) -> Floats:
        """The rate of each step."""
        return self._column("rate")

    @property
    def metrics(self) -> dict[str, Floats]:
        """What the net reports of each training batch, by name."""
        return {name: self._metrics[name] for name in self._metrics}

    def add(self, record: Record) -> None:
        """Take up one record of the log; kinds that say nothing about curves are passed over."""
        match record["kind"]:
            case "run":
                self.net = str(record["net"])
                self.loss_names = tuple(record.get("losses", ()))
            case "resume":
                self.cut(record["step"])
            case "step":
                self._steps.add(record["step"], {"loss": record["loss"], "rate": record["rate"]})
                self._metrics.add(record["step"], record["values"])
            case "test":
                self.tests.setdefault(record["data"], Curve()).add(record["step"], record["values"])

    def recent(self, count: int, names: Collection[str]) -> dict[str, Sequence[float]]:
        """The last values of some metrics of training batches, at most `count` of each."""
        return {name: self._metrics.tail(name, count) for name in names if name in self._metrics}

    def cut(self, step: int) -> None:
        """Forget what came after a step, which a resumed run does again."""
        for curve in (self._steps, self._metrics, *self.tests.values()):
            curve.cut(step)

    def plot(self) -> Figure:
        """Loss, metrics and rate against the step, as a matplotlib figure."""
        from .curves import figure

        return figure(self)

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        text = f"<History of {self.net or 'a net'}: {len(self):,} steps"
        if len(self):
            text += f", loss {self.losses[-1]:.4g}"
        for name, curve in self.tests.items():
            text += f", {name} {', '.join(f'{k} {v:.4g}' for k, v in curve.last().items())}"
        return text + ">"

    def _repr_html_(self) -> str:
        import base64
        import io

        rows = [("steps", f"{len(self):,}")]
        if len(self):
            rows.append(("loss of the last step", f"{self.losses[-1]:.4g}"))
        for name, curve in self.tests.items():
            rows += [(f"{name}: {key}", f"{value:.4g}") for key, value in curve.last().items()]
        if self.weights is not None:
            rows.append(("weights", str(self.weights)))
        cells = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in rows)
        table = f"<table><caption>{escape(self.net)}</caption>{cells}</table>"
        if not len(self):
            return table
        png = io.BytesIO()
        self.plot().savefig(png, format="png", dpi=80)
        return f'{table}<img src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'

    def _column(self, name: str) -> Floats:
        return self._steps[name] if len(self._steps) else np.empty(0)
