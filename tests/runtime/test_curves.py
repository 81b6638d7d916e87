"""Curves, what a notebook shows of a history, and what a terminal shows of a run."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.runtime.curves import POINTS, figure, write_curves
from netc.runtime.history import Floats, History
from netc.runtime.progress import Bar, Lines, Silent, duration, open_progress
from support.tiny_run import run


def history(steps: int, **values: float) -> History:
    made = History()
    made.add({"kind": "run", "net": "lenet", "losses": ["nll"]})
    for step in range(1, steps + 1):
        made.add({"kind": "step", "step": step, "loss": 1 / step, "rate": 0.1, "values": {"nll": 1 / step} | values})
    made.add({"kind": "test", "step": steps, "data": "heldout", "values": {"nll": 0.25} | values})
    return made


def points(line: Any) -> tuple[Floats, Floats]:
    """What a line of a picture goes through."""
    return np.asarray(line.get_xdata(), np.float64), np.asarray(line.get_ydata(), np.float64)


def test_panels_are_loss_metrics_and_rate() -> None:
    made = figure(history(30, top1=0.5))
    assert [axis.get_ylabel() for axis in made.axes] == ["loss", "metrics", "rate"]
    loss, metrics, rate = ([line.get_label() for line in axis.get_lines()] for axis in made.axes)
    assert loss == ["training, each step", "training, running mean", "nll, heldout"]
    assert metrics == ["top1, training, running mean", "top1, heldout"]
    assert len(rate) == 1
    steps, losses = points(made.axes[0].get_lines()[0])
    np.testing.assert_array_equal(steps, np.arange(1.0, 31.0))
    np.testing.assert_array_equal(losses, [1 / step for step in range(1, 31)])
    assert made.axes[0].get_title() == "lenet"


def test_without_metrics_there_are_two_panels() -> None:
    assert [axis.get_ylabel() for axis in figure(history(3)).axes] == ["loss", "rate"]


def test_a_long_run_is_averaged_down() -> None:
    steps, losses = points(figure(history(POINTS * 2)).axes[0].get_lines()[0])
    assert len(steps) == POINTS
    assert losses[0] == pytest.approx((1 + 1 / 2) / 2)


def test_what_is_no_number_does_not_hide_the_rest() -> None:
    made = history(200)
    made.add({"kind": "step", "step": 201, "loss": np.nan, "rate": 0.1, "values": {}})
    _, smooth = points(figure(made).axes[0].get_lines()[1])
    assert np.isfinite(smooth).all()
    assert smooth[-1] == pytest.approx(np.mean(1 / np.arange(198, 201)))


def test_the_picture_is_written_whole(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.png", history(3))
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UserError, match="cannot be written"):
        write_curves(tmp_path / "none" / "curves.png", history(3))


def test_a_run_whose_curves_cannot_be_written_still_ends_well(tmp_path: Path) -> None:
    (tmp_path / "run" / "curves.png").mkdir(parents=True)
    out = io.StringIO()
    history, _ = run(tmp_path / "run", 3, progress=Lines(out))
    assert "warning: " in out.getvalue()
    assert history.weights is not None
    assert history.weights.exists()


def test_a_notebook_shows_table_and_picture() -> None:
    made = history(30, top1=0.5)
    made.net = "<b>"
    shown = made._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown
    assert "<td>heldout: top1</td><td>0.5</td>" in shown
    assert re.search(r'<img src="data:image/png;base64,[\w+/=]{1000,}">', shown)
    assert "<img" not in History()._repr_html_()
    assert repr(made) == "<History of <b>: 30 steps, loss 0.03333, heldout nll 0.25, top1 0.5>"


class Terminal(io.StringIO):
    """What says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_and_lines_for_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    bar = open_progress(out)
    assert isinstance(bar, Bar)
    run(None, 14, every=7, progress=bar)
    text = out.getvalue()
    assert "step 7: heldout: nll" in text
    assert "14/14" in text
    assert re.search(r"loss \d.*rate 0\.0\d+.*records/s.*0:00 left", text)


def test_what_is_no_terminal_has_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_progress(io.StringIO()), Lines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_progress(Terminal()), Lines)


def test_names_with_brackets_are_no_markup() -> None:
    out = Terminal()
    bar = Bar(out)
    bar.test(3, "held[out]", {"top[1]": 0.5})
    bar.note("a" * 300)
    assert "held[out]: top[1] 0.5" in out.getvalue()
    assert "a" * 300 in out.getvalue()


def test_a_reader_that_goes_away_does_not_end_a_run() -> None:
    out = io.StringIO()
    out.close()
    assert len(run(None, 12, progress=Lines(out))[0]) == 12


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run(None, 12, progress=Silent())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03"), (float("nan"), "?"), (float("inf"), "?"), (-1, "?")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, netc.runtime.train, netc.runtime.state, netc.runtime.progress\n"
        "heavy = {'rich', 'matplotlib', 'safetensors', 'threadpoolctl'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_picture_that_fails_is_a_warning_of_a_run_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("netc.runtime.curves.write_curves", full)
    out = io.StringIO()
    made, _ = run(tmp_path, 2, progress=Lines(out))
    assert made.weights == tmp_path / "tiny.safetensors"
    assert f"warning: {tmp_path}/curves.png: cannot be drawn: MemoryError\n" in out.getvalue()
