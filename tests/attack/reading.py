"""The campaign of readers: cases are handed to a worker, faults are counted, made small and kept in the corpus."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attack.contract import Outcome
from attack.readers import Reader, case_of
from attack.report import Count
from attack.shrink import smaller

HERE = Path(__file__).resolve().parent
KEPT = HERE / "corpus"
PATIENCE = 60.0  # seconds in which a worker that waits for something must answer


class Pool:
    """One worker, made anew when it dies; a context manager. table: the readers that it has, as `module:function`."""

    def __init__(self, table: str = "attack.readers:readers") -> None:
        self._table = table
        self._folder = Path(tempfile.mkdtemp(prefix="netc-attack-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker, and remove its folder."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process = None

    def _worker(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            work = self._folder / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            paths = [str(HERE.parents[1]), str(HERE.parent)]
            environment = os.environ | {
                "PYTHONPATH": os.pathsep.join(paths),
                "NETC_CACHE": str(self._folder / "cache"),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "attack.worker", str(work), self._table],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                bufsize=0,
            )
            ready = self._line(PATIENCE * 4)
            assert ready is not None, "the worker does not start"
        return self._process

    def _line(self, patience: float, cpu: float = 1e9) -> dict[str, Any] | None:
        """The next line of the worker; None if it died, or one case took more time than it has."""
        assert self._process is not None
        assert self._process.stdout is not None
        began, used, at = time.monotonic(), self._cpu(), self.number
        data = b""
        while b"\n" not in data:
            found, _, _ = select.select([self._process.stdout], [], [], 0.5)
            if found:
                piece = os.read(self._process.stdout.fileno(), 1 << 16)
                if not piece:
                    return None
                data += piece
            elif self.number != at:
                began, used, at = time.monotonic(), self._cpu(), self.number
            elif self._cpu() - used > cpu or (self._cpu() == used and time.monotonic() - began > patience):
                return None
        line, _, self._rest = data.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def number(self) -> int:
        """The number of the case that the worker reads."""
        try:
            return int.from_bytes((self._folder / "number").read_bytes(), "little")
        except OSError:
            return 0

    def _cpu(self) -> float:
        """Seconds of processor time that the worker has used."""
        assert self._process is not None
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def samples(self, row: Reader) -> list[bytes]:
        """The valid files of a reader, as the worker makes them."""
        process = self._worker()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"reader": row.name}).encode() + b"\n")
        answer = self._line(PATIENCE)
        assert answer is not None
        assert "sizes" in answer, f"{row.name}: {answer['error']}"
        data = self._rest
        while len(data) < sum(answer["sizes"]):
            data += os.read(process.stdout.fileno(), 1 << 20)
        found = []
        for size in answer["sizes"]:
            found.append(data[:size])
            data = data[size:]
        return found

    def read(self, row: Reader, data: bytes) -> Outcome:
        """The outcome of a case."""
        answer = self._asked({"reader": row.name, "size": len(data)}, data, row)
        if answer is None:
            return self._lost()
        outcome = Outcome(answer["kind"], answer["said"], answer["where"])
        self._spent(outcome)
        return outcome

    def many(self, row: Reader, seed: int, first: int, count: int) -> tuple[dict[str, Any], Outcome | None]:
        """What became of cases by their numbers, up to the first fault, and that."""
        answer = self._asked({"reader": row.name, "seed": seed, "first": first, "count": count}, b"", row)
        if answer is None:
            done = self.number - first + 1
            nothing = {"done": done, "read": 0, "refused": {}, "seconds": 0.0, "slowest": row.seconds, "largest": 0}
            return nothing, self._lost()
        fault = answer["fault"]
        if not fault:
            return answer, None
        outcome = Outcome(fault["kind"], fault["said"], fault["where"])
        self._spent(outcome)
        return answer, outcome

    def _asked(self, request: dict[str, Any], data: bytes, row: Reader) -> dict[str, Any] | None:
        process = self._worker()
        assert process.stdin is not None
        try:
            left = memoryview(json.dumps(request).encode() + b"\n" + data)
            while left:
                left = left[process.stdin.write(left) or 0 :]
            return self._line(PATIENCE, row.seconds * 4)
        except BrokenPipeError:
            return None

    def _lost(self) -> Outcome:
        """The outcome of a case that the worker did not live to tell."""
        assert self._process is not None
        status = self._process.poll()
        self._end()
        how = f"the process ended, status {status}" if status is not None else "the process hangs"
        return Outcome("fault", how, "the process hangs or dies")

    def _spent(self, outcome: Outcome) -> None:
        if outcome.where in ("memory", "time"):
            self._end()  # memory is measured by its peak


BATCH = 200


def attack_reader(
    pool: Pool, row: Reader, seed: int, goes_on: Callable[[int], bool], first: int = 0, *, shrink: float = 0.0
) -> Count:
    """Read hostile files while `goes_on(number of those done)`.

    shrink: seconds for making the first of each fault small, which is then kept in the corpus; 0 keeps none.
    """
    count = Count(row.name)
    while goes_on(count.tried):
        batch = next((n for n in (BATCH, 20) if goes_on(count.tried + n - 1)), 1)
        found, outcome = pool.many(row, seed, first + count.tried, batch)
        count.tried += found["done"]
        count.read += found["read"]
        count.refused.update(found["refused"])
        count.seconds += found["seconds"]
        count.slowest, count.largest = max(count.slowest, found["slowest"]), max(count.largest, found["largest"])
        if outcome is not None:
            number = first + count.tried - 1
            if count.fault(outcome.where, outcome.said, f"{row.name} {seed} {number}") and shrink:
                keep(pool, row, case_of(row, pool.samples(row), seed, number), outcome, shrink)
    return count


def small_case(pool: Pool, row: Reader, data: bytes, outcome: Outcome, seconds: float) -> bytes:
    """The smallest case with the same fault that was found within so many seconds."""

    def again(candidate: bytes) -> bool:
        return pool.read(row, candidate).where == outcome.where

    return smaller(data, again, text=row.text, seconds=seconds)


def keep(pool: Pool, row: Reader, data: bytes, outcome: Outcome, seconds: float) -> Path:
    """Write a small case of a fault into the corpus."""
    small = small_case(pool, row, data, outcome, seconds)
    folder = KEPT / row.name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(outcome.where.encode()).hexdigest()[:8]
    path.write_bytes(small)
    return path
