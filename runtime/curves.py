"""Curves of a run as a picture: loss, metrics, rate. matplotlib is imported when one is made, and needs no display."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compiler.program import UserError
from .atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .history import Curve, Floats, History

POINTS = 2000  # more than a picture can show; longer curves are averaged down to so many


def figure(history: History) -> Figure:
    """Panels one below the other: loss (with the losses of tests), metrics if there are any, rate."""
    from matplotlib.figure import Figure

    metrics = history.metrics
    losses = {"loss", *history.loss_names}
    reported = {*metrics, *(name for curve in history.tests.values() for name in curve)} - losses
    panels = 3 if reported else 2
    made = Figure(figsize=(8.0, 2.6 * panels), layout="constrained")
    axes: list[Any] = list(np.atleast_1d(made.subplots(panels, 1, sharex=True)))
    _line(axes[0], history.steps, history.losses, "training, each step", light=True)
    _line(axes[0], history.steps, _smoothed(history.losses), "training, running mean")
    _tests(axes[0], history, losses)
    axes[0].set_ylabel("loss")
    if panels == 3:
        for name, values in metrics.items():
            if name not in losses:
                _line(axes[1], history.steps, _smoothed(values), f"{name}, training, running mean")
        _tests(axes[1], history, reported)
        axes[1].set_ylabel("metrics")
    _line(axes[-1], history.steps, history.rates, "")
    axes[-1].set_ylabel("rate")
    axes[-1].set_xlabel("step")
    axes[0].set_title(history.net)
    for axis in axes[:-1]:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    for axis in axes:
        axis.grid(alpha=0.3)
    return made


def comparison(runs: Mapping[str, History]) -> Figure:
    """Several runs in one picture: the running mean of each loss, and a panel for each value that tests report."""
    from matplotlib.figure import Figure

    reported = dict.fromkeys(
        (data, name) for history in runs.values() for data, curve in history.tests.items() for name in curve
    )
    panels = 1 + len(reported)
    made = Figure(figsize=(8.0, 2.6 * panels), layout="constrained")
    axes: list[Any] = list(np.atleast_1d(made.subplots(panels, 1, sharex=True)))
    for label, history in runs.items():
        steps, losses = np.asarray(history.steps, np.float64), _smoothed(history.losses)
        (line,) = axes[0].plot(_thinned(steps), _thinned(losses), label=label, linewidth=1.3)
        for axis, (data, name) in zip(axes[1:], reported, strict=True):
            curve = history.tests.get(data)
            if curve is not None and name in curve:
                axis.plot(curve.steps, curve[name], marker="o", markersize=3, label=label, color=line.get_color())
    axes[0].set_ylabel("loss, running mean")
    for axis, (data, name) in zip(axes[1:], reported, strict=True):
        axis.set_ylabel(f"{name}, {data}")
    axes[-1].set_xlabel("step")
    axes[0].legend(fontsize="small")
    for axis in axes:
        axis.grid(alpha=0.3)
    return made


def write_comparison(path: Path, runs: Mapping[str, History]) -> None:
    """Write that picture as PNG, whole or not at all."""
    made = comparison(runs)
    replace_file(path, lambda part: made.savefig(part, format="png", dpi=110))


def try_curves(path: Path, history: History) -> str:
    """Draw the curves, or say why that cannot be: it must not hide how the run ended."""
    try:
        write_curves(path, history)
    except UserError as error:
        return str(error)
    except Exception as error:  # the library may lack memory, or fail in ways of its own
        return f"{path}: cannot be drawn: {type(error).__name__}: {error}".rstrip(": ")
    return ""


def write_curves(path: Path, history: History) -> None:
    """Write the picture as PNG, whole or not at all."""
    made = figure(history)
    replace_file(path, lambda part: made.savefig(part, format="png", dpi=110))


def _tests(axis: Any, history: History, names: set[str]) -> None:
    for data, curve in history.tests.items():
        for name in curve:
            if name in names:
                _points(axis, curve, name, f"{name}, {data}")


def _points(axis: Any, curve: Curve, name: str, label: str) -> None:
    axis.plot(curve.steps, curve[name], marker="o", markersize=3, label=label)


def _line(axis: Any, steps: Any, values: Floats, label: str, *, light: bool = False) -> None:
    steps, values = _thinned(np.asarray(steps, np.float64)), _thinned(values)
    style = {"alpha": 0.3, "linewidth": 0.7} if light else {"linewidth": 1.3}
    axis.plot(steps, values, label=label, color="tab:blue" if light or not label else None, **style)


def _smoothed(values: Floats) -> Floats:
    """The mean of each value and those before it, over a fiftieth of the curve; what is not a number stays out."""
    window = max(1, len(values) // 50)
    if window == 1:
        return values
    good = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(good, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(good)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    number = counts[ends] - counts[starts]
    means: Floats = np.where(number > 0, (sums[ends] - sums[starts]) / np.maximum(number, 1), np.nan)
    return means


def _thinned(values: Floats) -> Floats:
    """At most `POINTS` values, each the mean of its neighbours."""
    group = -(-len(values) // POINTS)
    if group <= 1:
        return values
    whole = len(values) // group * group
    means: Floats = values[:whole].reshape(-1, group).mean(axis=1)
    return means
