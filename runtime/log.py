"""The log of a run as JSON lines: one record a line, appended as it happens, read again for plots and by `--resume`.

Kinds: `run` (header), `resume`, `step`, `test`, `best` (of the tests so far), `snapshot`, `stop` (interrupted, or a
loss that is no number), `end`.
A process that is killed leaves at most one line that is not whole, at the end: it does not count, and resuming cuts it
off. What a resumed run does again stands twice; the later line counts. Numbers that JSON lacks are the strings "nan",
"inf" and "-inf".
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ..compiler.program import UserError
from .atomic import write_text
from .data.files import check_regular
from .history import History

MAX_LINE = 1 << 20  # bytes
JSON = json.JSONEncoder(allow_nan=False)


class Log:
    """Appends records to a file (or to none) and to a `History`; a context manager that closes the file."""

    def __init__(self, path: Path | None, history: History) -> None:
        self.history = history
        self.path = path
        self._file: IO[bytes] | None = None
        if path is not None:
            try:
                _cut_last_line(path)
                self._file = path.open("ab", buffering=0)
            except OSError as error:
                raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None

    def write(self, kind: str, **fields: Any) -> None:
        """Append one record; it is with the system when this returns, so a killed process loses none."""
        record = {"kind": kind, **fields}
        self.history.add(record)
        if self._file is None:
            return
        stamped = {"kind": kind, "time": round(time.time(), 3), **fields}
        try:
            _write_all(self._file, JSON.encode(_finite(stamped)).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from None

    def flush(self) -> None:
        """Wait until all records are on the disk, as far as the file is on one."""
        if self._file is not None:
            with suppress(OSError):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, one after the other; a `UserError` with the line for anything that is none."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    if len(line) == MAX_LINE:
                        raise UserError(f"{path}:{number}: not a line of a log: longer than {MAX_LINE:,} bytes")
                    return  # the process was killed while it wrote
                yield _record(path, number, line)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def mend(path: Path) -> str:
    """Make a damaged log (the power failed while it was written) one that can be gone on with; a line about it, or "".

    What stands before the damage stays; the whole is kept beside it under another name.
    """
    good = 0
    try:
        for _ in records(path):
            good += 1
    except UserError as error:
        kept = path.with_name(f"{path.name}.damaged")
        try:
            with path.open("rb") as file:
                lines = list(islice(file, good))
            os.replace(path, kept)
        except OSError:
            raise error from None
        write_text(path, b"".join(lines).decode())
        return f"{error}; the log goes on after the lines before that, the whole is kept as {kept.name}"
    return ""


def read_log(path: Path) -> History:
    """The history that a log tells; a `UserError` as from `records`."""
    history = History()
    for record in records(path):
        history.add(record)
    return history


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(f"{path}:{number}: not a line of a log: no JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise UserError(f"{path}:{number}: not a line of a log: no record with a `kind`")
    try:
        if record["kind"] in ("step", "test", "resume") and (type(record["step"]) is not int or record["step"] < 0):
            raise TypeError
        if record["kind"] == "step":
            record |= {"loss": _number(record["loss"]), "rate": _number(record["rate"])}
        if record["kind"] in ("step", "test"):
            record["values"] = {str(name): _number(value) for name, value in record["values"].items()}
        if record["kind"] == "test" and not isinstance(record["data"], str):
            raise TypeError
        if record["kind"] == "run":
            record |= {"net": str(record["net"]), "losses": [str(name) for name in record.get("losses", ())]}
        if record.get("step", 0) >= 1 << 63:
            raise TypeError
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(f"{path}:{number}: not a `{record['kind'][:20]}` record") from None
    return record


def _number(value: Any) -> float:
    if isinstance(value, str):
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value]
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _finite(value: Any) -> Any:
    """The same with numbers that JSON lacks as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Write all of it, or cut off what was written of it and raise OSError."""
    start = file.seek(0, os.SEEK_END)
    try:
        done = 0
        while done < len(data):
            done += file.write(data[done:])
    except OSError:
        file.truncate(start)
        raise


def _cut_last_line(path: Path) -> None:
    """Cut off a last line that has no end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - MAX_LINE)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
