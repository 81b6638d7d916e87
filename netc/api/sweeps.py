"""Hyperparameter sweeps: a file trained once for each combination of values; a table and a picture of all runs.

Each run is a run like any other, in a folder of its own that is named by what is set: `lr=0.1,seed=2`.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..grammar.source import UserError
from ..report.tables import Table
from ..request import Request
from ..runtime.atomic import write_text
from ..runtime.curves import write_comparison
from ..runtime.folder import CURVES, LOG, RUNS
from ..runtime.history import History
from ..runtime.interruption import Diverged
from ..runtime.log import read_log
from ..runtime.train import WINDOW
from .training import Training

MOST = 1000  # runs
TABLE = "sweep.csv"


@dataclass(frozen=True)
class SweepRun:
    """One run: what is set, and what came of it. failed: why it did not reach its end, or ""."""

    settings: Mapping[str, Any]
    history: History
    failed: str = ""

    @property
    def name(self) -> str:
        return title(self.settings)

    @property
    def results(self) -> dict[str, float]:
        """The mean of the last losses, and the last results of each test."""
        losses = self.history.losses[-WINDOW:]
        found = {"loss": float(losses.mean()) if len(losses) else math.nan}
        for data, curve in self.history.tests.items():
            found |= {f"{data} {key}": value for key, value in curve.last().items()}
        return found


def title(settings: Mapping[str, Any]) -> str:
    """What is set, in a few words that are a folder's name, too."""
    words = ",".join(f"{key}={value}" for key, value in settings.items())
    return "".join(c if c.isalnum() or c in "=,.+-_" else "_" for c in words)


def combinations(swept: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Each combination of the values, the last name changing fastest; UserError for too many."""
    count = math.prod(map(len, swept.values()))
    if count > MOST:
        raise UserError(f"--sweep: {count:,} runs are more than {MOST:,}")
    found = [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    if len({title(one) for one in found}) < count:
        raise UserError("--sweep: a value is given twice")
    return found


def folder_of(net: str, *, last: bool = False) -> Path:
    """The folder of a new sweep, `runs/net/sweep-N`, or of the last one."""
    parent = RUNS / net
    numbers = [0]
    for path in parent.glob("sweep-*"):
        with suppress(ValueError):
            numbers.append(int(path.name.removeprefix("sweep-")))
    if last and max(numbers) == 0:
        raise UserError(f"{parent}: there is no sweep to go on with")
    return parent / f"sweep-{max(numbers) + (not last)}"


def sweep(
    file: Path,
    want: Request,
    swept: Mapping[str, Sequence[Any]],
    folder: Path | None,
    *,
    resume: bool,
    tell: Callable[[str], None],
    **more: Any,
) -> tuple[Path, list[SweepRun]]:
    """Train once for each combination, in turn; all are checked before the first begins.

    folder: of the sweep; without it a new one (with `resume` the last). resume: runs that have ended are taken as they
    are, those that were stopped go on. more: of each `Training`. A run that diverges does not end the sweep; an
    interruption does. Table and picture are written after each run.
    """
    for name in swept:
        flag = f"--{name}" if name in ("steps", "seed") and getattr(want, name) is not None else f"--set {name}"
        if name in want.settings or not flag.startswith("--set"):
            raise UserError(f"--sweep {name} and {flag} contradict each other")
    wanted = [(one, replace(want, settings={**want.settings, **one})) for one in combinations(swept)]
    trainings = [(one, Training(file, each, **more)) for one, each in wanted]
    if any(len(training.blocks) > 1 for _, training in trainings):
        raise UserError("--sweep is for one `train` block: choose its net with --net")
    net = trainings[0][1].blocks[-1].net
    place = folder or folder_of(net, last=resume)
    runs: list[SweepRun] = []
    for number, (settings, training) in enumerate(trainings, 1):
        own = place / title(settings)
        tell(f"run {number} of {len(trainings)}: {title(settings)}")
        runs.append(_run(training, settings, own, resume=resume))
        write_text(place / TABLE, _csv(runs))
        write_comparison(place / CURVES, {run.name: run.history for run in runs})
    return place, runs


def _run(training: Training, settings: Mapping[str, Any], folder: Path, *, resume: bool) -> SweepRun:
    ended = folder / f"{training.blocks[-1].net}.safetensors"
    if resume and ended.exists():
        return SweepRun(settings, read_log(folder / LOG))
    try:
        history = training.train(folder, resume=resume and (folder / LOG).exists())
    except Diverged as error:
        return SweepRun(settings, read_log(folder / LOG), str(error))
    return SweepRun(settings, history)


def _columns(runs: Sequence[SweepRun]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.results))


def _rows(runs: Sequence[SweepRun], shown: Callable[[float], str]) -> Iterator[list[str]]:
    names = _columns(runs)
    for run in runs:
        results = run.results
        values = [shown(results[name]) if name in results else "" for name in names]
        yield [*map(str, run.settings.values()), *values, "diverged" if run.failed else ""]


def table(runs: Sequence[SweepRun]) -> Table:
    """A row a run: what was set, the last losses, the last tests."""
    failed = any(run.failed for run in runs)
    head = [*runs[0].settings, *(f">{name}" for name in _columns(runs)), *([""] if failed else [])]
    rows = [row if failed else row[:-1] for row in _rows(runs, lambda value: f"{value:.5g}")]
    return Table(f"{len(runs)} runs of {runs[0].history.net}", head, rows)


def _csv(runs: Sequence[SweepRun]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*runs[0].settings, *_columns(runs), "failed"])
    writer.writerows(_rows(runs, repr))
    return text.getvalue()
