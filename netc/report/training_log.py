"""Log parsing: the log of a training run, Caffe's (glog) or netc's (JSON lines), as tables of training and of tests.

A row has NumIters, Seconds since the solver began, LearningRate, and what the net printed. Caffe counts the updates
before a step, netc those after it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ..grammar.source import UserError
from ..runtime.data.files import check_regular
from ..runtime.log import MAX_LINE, records

Row = dict[str, float]

_TIME = re.compile(r"^[IWEF](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})\s")
_ITERATION = re.compile(r"Iteration (\d+)")
_TESTING = re.compile(r"Testing net \(#(\d+)\)")
_OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\S+) = (\S+)")
_RATE = re.compile(r"lr = (\S+)")
LEAP = 2000  # a leap year, for dates that do not say theirs


@dataclass
class Tables:
    """The rows of training and of tests, in the order of the log."""

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)


def read_log(path: Path) -> Tables:
    """The tables of a log of either kind; UserError for a file that cannot be read, or has no step of training."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            ours = file.read(1) == b"{"
        found = _ours(path) if ours else _glog(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not found.train and not found.test:
        raise UserError(f"{path}: no log of training: it has neither steps of netc's nor net outputs of Caffe's")
    return found


def _ours(path: Path) -> Tables:
    found, began, rate = Tables(), None, float("nan")
    for number, record in enumerate(records(path), 1):
        try:
            kind, time = record["kind"], float(record["time"])
            began = time if began is None else began
            head = {"NumIters": int(record.get("step", 0)), "Seconds": time - began}
            rate = float(record["rate"]) if kind == "step" else rate
            values = {name: float(value) for name, value in dict(record.get("values", {})).items()}
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"{path}:{number}: no record of a run's log") from None
        if kind in ("step", "test"):
            rows = found.train if kind == "step" else found.test
            rows.append({**head, "LearningRate": rate, **values})
    return found


def _lines(path: Path) -> Iterator[str]:
    """The lines, of which a longer one than a log's comes in pieces."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            yield line.decode("utf-8", "replace")


def _glog(path: Path) -> Tables:
    found, clock, net = Tables(), _Clock(), 0
    step, last, rows = -1, float("nan"), {"Train": Row(), "Test": Row()}
    for line in _lines(path):
        if "] Solving " in line:
            clock.begin(line)
        if testing := _TESTING.search(line):
            net = int(testing[1])
        if iteration := _ITERATION.search(line):
            step = int(iteration[1])
        if step < 0:
            continue
        if output := _OUTPUT.search(line):
            kind, name, value = output.groups()
            table = found.train if kind == "Train" else found.test
            row = rows[kind]
            if not row or row["NumIters"] != step:
                row = rows[kind] = {"NumIters": step, "Seconds": clock.at(line), "LearningRate": last}
                table.append(row)
            row[name if kind == "Train" or not net else f"{name} (#{net})"] = _number(value)
        elif rate := _RATE.search(line):
            last = _number(rate[1])
            for row in rows.values():
                if row and row["NumIters"] == step:
                    row["LearningRate"] = last
    return found


def _number(text: str) -> float:
    try:
        return float(text.rstrip(","))
    except ValueError:
        return float("nan")


class _Clock:
    """Seconds since the solver began, or else since the first line that was asked about."""

    def __init__(self) -> None:
        self.first: datetime | None = None
        self.last: datetime | None = None

    def begin(self, line: str) -> None:
        if self.first is None:
            self.at(line)

    def at(self, line: str) -> float:
        found = _TIME.match(line)
        if found is None:
            return float("nan")
        year, month, day, hour, minute, second = (int(part or LEAP) for part in found.groups()[:6])
        try:
            now = datetime(year, month, day, hour, minute, second, int(found[7].ljust(6, "0")))
        except ValueError:
            return float("nan")
        if self.last is not None and found[1] is None and now < self.last - timedelta(days=180):  # past the new year
            now = now.replace(year=self.last.year + 1) if (now.month, now.day) != (2, 29) else now
        self.first, self.last = self.first or now, now
        return (now - self.first).total_seconds()


def csv_text(rows: list[Row], delimiter: str = ",") -> str:
    """Rows as lines of a table, with a line of names; what a row lacks is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
