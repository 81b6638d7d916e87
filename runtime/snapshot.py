"""Snapshots: everything that a run needs to go on as if it had never stopped, in two files.

`step-000500.safetensors` holds the state under logical names; `step-000500.json` the rest, with the name and the sha256
of the former. Both are written whole or not at all, the JSON last, so a snapshot that is half there does not count: a
process may be killed at any point, and the latest whole snapshot is usable.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.program import UserError
from ..compiler.spec import TrainSpec
from .atomic import sweep, write_text
from .data.files import check_regular
from .state import State
from .tensors import entries, file_hash, printable, read_tensors, write_tensors

FORMAT = 1
MAX_JSON = 1 << 22  # bytes; the loss window is the longest part of it
NAME = re.compile(r"step-(\d{6,})\.json")
ASIDE = ".damaged"  # the end of the names of files that are no snapshot any more and are left to the user
KEEP = 3  # snapshots left on disk, unless the caller wants another number


@dataclass(frozen=True)
class Snapshot:
    """The small half of a snapshot, what stands in its JSON file.

    step: steps done. position: the place in the data. losses: the losses behind the averaged one. tested: whether the
    tests due at this step were done. counters: the random counters by state name (they are among the tensors as well).
    solver, schedule, steps, seed: as the file asked. environment: see `environment`.
    """

    net: str
    step: int
    steps: int
    position: Any
    losses: tuple[float, ...]
    tested: bool
    counters: Mapping[str, int]
    solver: str
    schedule: str
    seed: int
    environment: Mapping[str, Any]
    tensors: str = ""
    sha256: str = ""
    format: int = FORMAT
    path: Path = field(default=Path(), compare=False)

    def restore(self, state: State) -> None:
        """Put the snapshot's tensors into a state; a `UserError` if they are of another net or solver."""
        try:
            state.restore(read_tensors(self.path.parent / self.tensors))
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from None


def environment(program: str = "", threads: int = 1, device: str = "cpu", ranks: int = 1) -> dict[str, Any]:
    """What decides the bits of a result besides the inputs: program, versions, BLAS, machine, device, processes."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        netc = version("netc")
    except PackageNotFoundError:
        netc = "unknown"
    return {
        "program": program,
        "threads": threads,
        "netc": netc,
        "numpy": np.__version__,
        "blas": blas(),
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        "device": device,
        "ranks": ranks,
    }


def blas() -> str:
    """The BLAS that numpy uses, with its version and the kernels that it chose for this processor."""
    config: Any = np.show_config(mode="dicts")  # type: ignore[call-arg,func-returns-value,unused-ignore]
    built = config.get("Build Dependencies", {}).get("blas", {})
    text = f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return text
    kernels = {str(pool["architecture"]) for pool in threadpool_info() if pool.get("architecture")}
    return " ".join([text, *sorted(kernels)])


def differences(snapshot: Snapshot, current: Mapping[str, Any]) -> list[str]:
    """What is not as it was when the snapshot was made, so that results may differ in their bits; one line each."""
    names = {
        "program": "the compiled program is another (the net, its settings, or netc changed)",
        "threads": "threads",
        "netc": "netc",
        "numpy": "numpy",
        "blas": "BLAS",
        "machine": "machine",
        "device": "device",
        "ranks": "processes",
    }
    lines = []
    for key, words in names.items():
        # Snapshots of earlier versions say nothing of what there was one of.
        first = {"device": "cpu", "ranks": 1}.get(key)
        before, now = snapshot.environment.get(key, first), current.get(key, first)
        if before != now:
            lines.append(words if key == "program" else f"{words}: {printable(str(before))} then, {now} now")
    return lines


def changes(snapshot: Snapshot, current: Mapping[str, Any], spec: TrainSpec) -> list[str]:
    """The same, and what the `train` block asks for now that it did not then."""
    lines = differences(snapshot, current)
    asked = {"solver": str(spec.solver), "schedule": str(spec.schedule), "steps": spec.steps, "seed": spec.seed}
    for name, value in asked.items():
        if (then := getattr(snapshot, name)) != value:
            lines.append(f"{name}: {printable(str(then), 300)} then, {value} now")
    return lines


def save(folder: Path, snapshot: Snapshot, state: State, *, keep: int = KEEP) -> Snapshot:
    """Write a snapshot into a folder and remove all but the last `keep` (0: all stay); returns it with its names.

    A `UserError` if it cannot be written, or could not be read again; those that were there before are still whole.
    """
    name = f"step-{snapshot.step:06d}"
    tensors = folder / f"{name}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}") from None
    path = folder / f"{name}.json"
    try:
        write_tensors(tensors, state.logical())
        known = asdict(snapshot) | {"tensors": tensors.name, "sha256": file_hash(tensors), "format": FORMAT}
        del known["path"]
        text = json.dumps(known, indent=1) + "\n"
        _fields(path, text.encode())
        write_text(path, text)
    except UserError:
        if not path.exists():  # the disk may be full of what no snapshot names
            tensors.unlink(missing_ok=True)
        raise
    if keep > 0:
        prune(folder, keep, path)
    return Snapshot(**known | {"path": path})


def prune(folder: Path, keep: int, newest: Path) -> None:
    """Remove all snapshots of a folder but the last `keep`, and what killed processes left there.

    newest: the one that was written last; it stays. What cannot be read counts for nothing: it gets another name. So
    does a later step than the newest: the run went on from an earlier one because that could not be used.
    """
    kept: set[str] = set()
    for path in _listed(folder):
        if path != newest and (_step(path) > _step(newest) or not _looks_whole(path)):
            for damaged in (path, path.with_suffix(".safetensors")):
                if damaged.exists():
                    damaged.replace(damaged.with_name(damaged.name + ASIDE))
        elif len(kept) < keep:
            kept.add(path.stem)
        else:
            path.unlink(missing_ok=True)  # first, so that no JSON ever names what is gone
    for tensors in folder.glob("step-*.safetensors"):
        if tensors.stem not in kept:
            tensors.unlink(missing_ok=True)
    sweep(folder)


def _looks_whole(path: Path) -> bool:
    """Whether a snapshot can be read, as far as that is told without reading all of its tensors."""
    try:
        entries(path.parent / _json(path)["tensors"])
    except UserError:
        return False
    return True


def latest(folder: Path) -> tuple[Snapshot | None, list[str]]:
    """The last snapshot of a folder that is whole, and a line about each later one that is not; None without one."""
    notes: list[str] = []
    for path in _listed(folder):
        try:
            return read(path), notes
        except UserError as error:
            notes.append(f"{error}; an earlier snapshot is used")
    return None, notes


def read(path: Path) -> Snapshot:
    """The snapshot of a JSON file, its tensors checked against their hash; a `UserError` if anything is wrong."""
    known = _json(path)
    tensors = known["tensors"]
    try:
        if file_hash(path.parent / tensors) != known.get("sha256"):
            raise UserError(f"{path.parent / tensors}: is not as it was written (its sha256 differs)")
    except OSError as error:
        raise UserError(f"{path.parent / tensors}: cannot be read: {error.strerror or error}") from None
    return Snapshot(**known | {"path": path})


TYPES: dict[str, tuple[type, ...]] = {
    "net": (str,),
    "step": (int,),
    "steps": (int,),
    "position": (dict, int, list, type(None)),
    "losses": (list,),
    "tested": (bool,),
    "counters": (dict,),
    "solver": (str,),
    "schedule": (str,),
    "seed": (int,),
    "environment": (dict,),
    "tensors": (str,),
    "sha256": (str,),
    "format": (int,),
}


def _json(path: Path) -> dict[str, Any]:
    """The fields of a snapshot's JSON, each of its type."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    known = _fields(path, text)
    if known["tensors"] != f"{path.stem}.safetensors" or known["step"] < 0 or path.stem != f"step-{known['step']:06d}":
        raise UserError(f"{path}: step and tensors are not those that its name says")
    return known


def _fields(path: Path, text: bytes) -> dict[str, Any]:
    """The fields of a snapshot from the text of its JSON, read or about to be written."""
    if len(text) > MAX_JSON:
        raise UserError(f"{path}: not a snapshot: it has more than {MAX_JSON:,} bytes")
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not a snapshot: it is no JSON") from None
    if not isinstance(known, dict):
        raise UserError(f"{path}: not a snapshot")
    if known.get("format") != FORMAT:
        raise UserError(
            f"{path}: a snapshot of format {printable(repr(known.get('format')))}, this netc reads {FORMAT}"
        )
    for name, types in TYPES.items():
        value = known.get(name)
        if name not in known or not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UserError(f"{path}: not a snapshot: `{name}` is missing or of the wrong type")
    try:
        if not all(isinstance(loss, int | float) for loss in known["losses"]):
            raise ValueError
        losses = tuple(float(loss) for loss in known["losses"])
    except (ValueError, OverflowError):
        raise UserError(f"{path}: not a snapshot: `losses` holds something else than numbers") from None
    return {name: known[name] for name in TYPES} | {"losses": losses}


def _listed(folder: Path) -> Sequence[Path]:
    """The JSON files of snapshots, the last step first."""
    try:
        return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), key=_step, reverse=True)
    except OSError:
        return []


def _step(path: Path) -> int:
    """The step that a snapshot's name says."""
    return int(path.stem.removeprefix("step-"))
