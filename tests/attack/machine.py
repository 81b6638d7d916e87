"""Fault injection: kills, full disks, short writes and failing flushes, at each call that changes files.

`python -m attack.machine FOLDER MOST` runs under `faults.c`, which counts those calls of the C library, of Python as of
native code, and makes the nth fail. For every scenario, kind of fault and call a child is forked that writes over what
was there. After it what a reader finds must be the old content or the new, bit for bit; a write that failed must have
said so and left nothing; and the same write must succeed when it is tried again. Children are killed at random moments
as well, which may lie between two of those calls.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from attack.scenarios import NEW, OLD, SCENARIOS, Scenario
from netc.grammar.source import UserError

HERE = Path(__file__).resolve().parent
# As `faults.c` numbers them.
KINDS = {"kill": 1, "kill in a write": 2, "full disk": 3, "short write": 4, "failing fsync": 5}
ANY_MOMENT = "kill at any moment"
ENOUGH = 85  # kills at random moments of each scenario


def attack(base: Path, library: Path, most: int) -> Iterator[dict[str, Any]]:
    """A row for each scenario and kind of fault. most: how many calls of each, evenly spread, are made to fail."""
    faults = ctypes.CDLL(str(library))
    for name, scenario in SCENARIOS.items():
        folder = base / name.replace(" ", "-")
        count = _calls(folder, scenario, faults)
        numbers = list(range(1, count + 1))
        if count > most:
            numbers = sorted({1 + i * (count - 1) // (most - 1) for i in range(most)})
        for kind, code in KINDS.items():
            found: Counter[str] = Counter()
            wrong: list[str] = []
            for number in numbers:
                status, fault = _tried(folder, scenario, partial(faults.fault_arm, code, number), found)
                if fault:
                    found["lost"] += 1
                    wrong.append(f"{name}, {kind} at call {number} of {count}, {status}: {fault}")
            yield {"scenario": name, "kind": kind, "calls": count, **found, "wrong": wrong[:3]}
        yield _killed_at_any_moment(folder, name, min(most, ENOUGH))


def _killed_at_any_moment(folder: Path, name: str, kills: int) -> dict[str, Any]:
    """The row of so many kills at moments that are drawn; some come too late, and are tried beside them."""
    scenario, random = SCENARIOS[name], Random(name)
    _fresh(folder, scenario)
    began = time.monotonic()
    _child(partial(scenario.put, folder, NEW), lambda: None)
    lasts = time.monotonic() - began
    found: Counter[str] = Counter()
    wrong: list[str] = []
    while found["killed"] < kills and found["tried"] < 4 * kills:
        moment = random.uniform(0, lasts)
        _, fault = _tried(folder, scenario, lambda: None, found, moment)
        if fault:
            found["lost"] += 1
            wrong.append(f"{name}, killed after {moment:.4f} s: {fault}")
    return {"scenario": name, "kind": ANY_MOMENT, "calls": 0, **found, "wrong": wrong[:3]}


def _tried(
    folder: Path, scenario: Scenario, arm: Callable[[], object], found: Counter[str], moment: float | None = None
) -> tuple[str, str]:
    """How a write ended while something failed, and what is wrong with what it left, or nothing."""
    _fresh(folder, scenario)
    before = set(os.listdir(folder))
    status = _child(partial(scenario.put, folder, NEW), arm, moment)
    found["tried"] += 1
    found[status] += 1
    try:
        version = scenario.seen(folder)
        found["new" if version == NEW else "old"] += 1
        _judge(status, version, scenario)
        left = set(os.listdir(folder)) - before
        if left and status == "refused" and version == OLD and not scenario.many:
            raise AssertionError(f"a write that failed left {sorted(left)}")
        scenario.put(folder, NEW)
        assert scenario.seen(folder) == NEW, "the next write gives the old content"
    except Exception as error:
        return status, f"{type(error).__name__}: {error}"
    return status, ""


def _judge(status: str, version: int, scenario: Scenario) -> None:
    assert status in ("killed", "refused", "written"), status
    if status == "written" and not scenario.quiet:
        assert version == NEW, "it says that it is written, and the old content is there"


def _fresh(folder: Path, scenario: Scenario) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scenario.put(folder, OLD)


def _calls(folder: Path, scenario: Scenario, faults: ctypes.CDLL) -> int:
    """How many calls a write makes that change files."""
    _fresh(folder, scenario)
    faults.fault_arm(KINDS["kill"], -1)
    scenario.put(folder, NEW)
    count = int(faults.fault_calls())
    faults.fault_arm(0, 0)
    assert count > 3, "the calls are not seen"
    return count


def _child(act: Callable[[], None], arm: Callable[[], object], moment: float | None = None) -> str:
    """Run in a forked child, armed: killed, refused (a UserError), written, or what else it raised.

    moment: seconds after which it is killed, if it has not ended.
    """
    child = os.fork()
    if child:
        if moment is not None:
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)  # which does nothing to a child that has ended, and is not yet waited for
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return "killed"
        return {0: "written", 2: "refused"}.get(os.WEXITSTATUS(status), "traceback")
    code = 3
    try:
        arm()
        act()
        code = 0
    except UserError:
        code = 2
    except OSError as error:  # the command line has a line for it
        code = 2 if error.errno else 3
    finally:
        os._exit(code)


def built(folder: Path) -> Path | None:
    """The library, compiled; None where there is no compiler, or no LD_PRELOAD."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "faults.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(HERE / "faults.c"), "-ldl"], check=True
    )
    return library


def rows(most: int = 10**6) -> list[dict[str, Any]] | None:
    """The table of all faults; None where they cannot be made."""
    with tempfile.TemporaryDirectory() as name:
        library = built(Path(name))
        if library is None:
            return None
        environment = os.environ | {
            "LD_PRELOAD": str(library),
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)]),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "attack.machine", name, str(most)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    for row in attack(Path(sys.argv[1]) / "files", Path(sys.argv[1]) / "faults.so", int(sys.argv[2])):
        print(json.dumps(row), flush=True)
