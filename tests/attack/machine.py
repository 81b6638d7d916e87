"""Fault injection: kills, full disks, short writes and failing flushes, at each call that changes files.

`python -m attack.machine FOLDER` runs under `faults.c`, which counts those calls of the C library, of Python as of
native code, and makes the nth fail. For every scenario, kind of fault and call a child is forked that writes over what
was there. After it what a reader finds must be the old content or the new, bit for bit; a write that failed must have
said so and left nothing; and the same write must succeed when it is tried again.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from netc.api.inference import write_arrays
from netc.deployment.deployed import write_folder
from netc.grammar.actions import Actions
from netc.grammar.source import UserError
from netc.grammar.table import _write, load_parser
from netc.runtime import train
from netc.runtime.atomic import write_text
from netc.runtime.history import History
from netc.runtime.log import Log, mend, read_log
from netc.runtime.progress import Lines
from netc.runtime.snapshot import Snapshot, environment, latest, save
from netc.runtime.state import State
from netc.runtime.tensors import read_tensors, write_tensors
from support.tiny_run import infos, run

HERE = Path(__file__).resolve().parent
# As `faults.c` numbers them.
KINDS = {"kill": 1, "kill in a write": 2, "full disk": 3, "short write": 4, "failing fsync": 5}
OLD, NEW = 1, 2


@dataclass(frozen=True)
class Scenario:
    """Something that is written. put: writes a version of it into a folder. seen: the version that a reader finds.

    quiet: what cannot be written is left, and nothing is said. many: of several files those that were done stay.
    """

    put: Callable[[Path, int], None]
    seen: Callable[[Path], int]
    quiet: bool = False
    many: bool = False


def _arrays(version: int) -> dict[str, np.ndarray[Any, Any]]:
    return {"a": np.full((40, 50), version, np.float32), "b": np.arange(version)}


def _version(found: object, of: Callable[[int], object]) -> int:
    """Which version something is, bit for bit; AssertionError for neither."""
    for version in (OLD, NEW):
        if found == of(version):
            return version
    raise AssertionError(f"neither the old nor the new content: {str(found)[:200]}")


def _text(version: int) -> str:
    return f"version {version}\n" * 3000


def _bytes(arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def _npz_seen(folder: Path) -> int:
    with np.load(folder / "a.npz") as given:
        return _version(_bytes(dict(given)), lambda version: _bytes(_arrays(version)))


def _state(version: int) -> State:
    state = State(infos())
    state.fill(version)
    return state


def _put_snapshot(folder: Path, version: int) -> None:
    known = Snapshot(
        net="tiny", step=version, steps=9, position={"taken": version}, losses=(0.5,), tested=True,
        counters={".step": version, ".seed": 3}, solver="sgd", schedule="fixed", seed=3,
        environment=environment("a", 1),
    )  # fmt: skip
    save(folder, known, _state(version), keep=1)


def _snapshot_seen(folder: Path) -> int:
    found, _ = latest(folder)
    assert found is not None, "there is no snapshot any more"
    other = _state(9)
    found.restore(other)
    version = _version(_bytes(other.logical()), lambda v: _bytes(_state(v).logical()))
    assert version == found.step
    return version


def _put_log(folder: Path, version: int) -> None:
    with Log(folder / "log.jsonl", History()) as log:
        for step in (2 * version - 1, 2 * version):
            log.write("step", step=step, loss=float(step), rate=0.1, values={"top1": 0.5})


def _log_seen(folder: Path) -> int:
    """Records that were written stay, whatever comes after them; the first step of the new version may stand alone."""
    assert not mend(folder / "log.jsonl")
    steps = read_log(folder / "log.jsonl").steps.tolist()
    assert steps in ([1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 3, 4]), steps
    return NEW if 4 in steps else OLD


def _put_folder(folder: Path, version: int) -> None:
    def write(part: Path) -> None:
        (part / "n.py").write_text(_text(version), encoding="utf-8")
        (part / "n.safetensors").write_bytes(_text(version).encode())
        digests = {name: hashlib.sha256((part / name).read_bytes()).hexdigest() for name in ("n.py", "n.safetensors")}
        manifest = {"format": 1, "target": "numpy", "net": "n", "files": digests, "version": version}
        (part / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    write_folder(folder / "net", write)


def _folder_seen(folder: Path) -> int:
    manifest = json.loads((folder / "net" / "manifest.json").read_text(encoding="utf-8"))
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / "net" / name).read_bytes()).hexdigest() == digest, (
            f"{name} is of another version"
        )
    version = manifest["version"]
    assert isinstance(version, int)
    return version


def _put_run(folder: Path, version: int) -> None:
    """Ten steps of training, with snapshots; then resumed up to the twentieth."""
    _ended()
    run(folder / "run", 10 * version, resume=version == NEW, snapshot=5, progress=Lines(io.StringIO()))


@cache
def _ended() -> dict[str, bytes]:
    """The state after twenty steps that nothing interrupted."""
    vars(train)["try_curves"] = lambda *_: ""  # a picture takes a second, and is written as a text is
    return _bytes(run(None, 20, progress=Lines(io.StringIO()))[1].logical())


def _run_seen(folder: Path) -> int:
    """Resumed after whatever happened, the run ends with the bits of one that was not interrupted."""
    history, state = run(folder / "run", 20, resume=True, snapshot=5, progress=Lines(io.StringIO()))
    assert _bytes(state.logical()) == _ended(), "other bits than without interruption"
    assert history.steps.tolist() == list(range(1, 21))
    return NEW


class _Parser:
    """A parser's tables, which may be written many times (Lark's own forgets what is left out of them)."""

    @staticmethod
    @cache
    def kept() -> bytes:
        with tempfile.TemporaryDirectory() as empty:
            os.environ["NETC_CACHE"] = empty
            load_parser(Actions())
            return next(Path(empty).glob("grammar-*.json")).read_bytes()

    def memo_serialize(self, _: object) -> tuple[Any, Any]:
        tables = json.loads(self.kept().partition(b"\n")[2])
        tables["data"]["options"] |= {"postlex": None, "transformer": None}
        return tables["data"], tables["memo"]


def _put_cache(folder: Path, version: int) -> None:
    """Both versions are the same table: what counts is that it is whole."""
    _write(folder / "grammar.json", _Parser())  # type: ignore[arg-type]


def _cache_seen(folder: Path) -> int:
    digest, _, payload = (folder / "grammar.json").read_text(encoding="utf-8").partition("\n")
    assert hashlib.sha256(payload.encode()).hexdigest() == digest, "the cache is torn"
    return NEW


SCENARIOS: dict[str, Scenario] = {
    "texts": Scenario(
        lambda folder, version: write_text(folder / "a.txt", _text(version)),
        lambda folder: _version((folder / "a.txt").read_text(encoding="utf-8"), _text),
    ),
    "weights": Scenario(
        lambda folder, version: write_tensors(folder / "a.safetensors", _arrays(version)),
        lambda folder: _version(_bytes(read_tensors(folder / "a.safetensors")), lambda v: _bytes(_arrays(v))),
    ),
    "results": Scenario(lambda folder, version: write_arrays(folder / "a.npz", _arrays(version)), _npz_seen),
    "snapshots": Scenario(_put_snapshot, _snapshot_seen),
    "logs": Scenario(_put_log, _log_seen),
    "compiled folders": Scenario(_put_folder, _folder_seen),
    "training runs": Scenario(_put_run, _run_seen, many=True),
    "caches": Scenario(_put_cache, _cache_seen, quiet=True),
}


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


def _tried(folder: Path, scenario: Scenario, arm: Callable[[], object], found: Counter[str]) -> tuple[str, str]:
    """How a write ended while something failed, and what is wrong with what it left, or nothing."""
    _fresh(folder, scenario)
    before = set(os.listdir(folder))
    status = _child(partial(scenario.put, folder, NEW), arm)
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


def _child(act: Callable[[], None], arm: Callable[[], object]) -> str:
    """Run in a forked child, armed: killed, refused (a UserError), written, or what else it raised."""
    child = os.fork()
    if child:
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
