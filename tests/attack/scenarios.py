"""What the machine's faults are tried on: everything that netc writes over, or beside, what was there."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from netc.api.inference import write_arrays
from netc.deployment.deployed import write_folder
from netc.grammar.actions import Actions
from netc.grammar.table import _write, load_parser
from netc.runtime import train
from netc.runtime.atomic import write_text
from netc.runtime.caffe.datum import datum_bytes
from netc.runtime.caffe.hdf5 import write_arrays_hdf5
from netc.runtime.caffe.lmdb import Lmdb, write_lmdb
from netc.runtime.caffe.model import read_model
from netc.runtime.caffe.resuming import leave
from netc.runtime.caffe.solver_state import read_solver_state
from netc.runtime.history import History
from netc.runtime.log import Log, mend, read_log
from netc.runtime.package import Manifest, Package, sized, write_package
from netc.runtime.progress import Lines
from netc.runtime.snapshot import Snapshot, environment, latest, save
from netc.runtime.state import State
from netc.runtime.tensors import read_tensors, write_tensors
from support.tiny_run import infos, run, spec

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


def _put_left(folder: Path, version: int) -> None:
    """What Caffe goes on with, two files, each for itself whole."""
    leave(folder / "run", _state(version), spec(9), infos(), 5)


def _left_seen(folder: Path) -> int:
    """Where the weights are new and the state is old, the state was not written yet."""
    model, left = read_model(folder / "run_iter_5.caffemodel"), read_solver_state(folder / "run_iter_5.solverstate")
    histories = _bytes({str(i): blob.data for i, blob in enumerate(left.history)})
    _version(histories, lambda v: histories)
    weights = {f"{layer.name}.{i}": b.data.copy() for layer in model.layers for i, b in enumerate(layer.blobs)}
    return _version(_bytes(weights), _left_weights)


@cache
def _left_weights(version: int) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        _put_left(Path(name), version)
        model = read_model(Path(name) / "run_iter_5.caffemodel")
        return _bytes({f"{layer.name}.{i}": b.data.copy() for layer in model.layers for i, b in enumerate(layer.blobs)})


RECORDS = [(b"%04d" % i, datum_bytes(np.full((1, 4, 4), i, np.uint8), i)) for i in range(40)]


def _put_database(folder: Path, version: int) -> None:
    """A database is a new folder: the old version is that there is none."""
    if version == NEW and not (folder / "db").exists():
        write_lmdb(folder / "db", iter(RECORDS))


def _database_seen(folder: Path) -> int:
    if not (folder / "db").exists():
        return OLD
    found = Lmdb(folder / "db")
    assert [(found.key(i), found.value(i)) for i in range(len(found))] == RECORDS
    return NEW


def _put_package(folder: Path, version: int) -> None:
    """What is packed lies elsewhere, whole: of either version once for all."""
    files = _packed(version)
    sums = {name: sized(path) for name, path in files.items()}
    said = Manifest(
        "a", "MIT", "a.net", "a", "a.safetensors", None, "s.npz", 3, {"nll": float(version)}, 1e-4, (), sums
    )  # fmt: skip
    write_package(folder / "a.netz", said, files)


@cache
def _packed(version: int) -> dict[str, Path]:
    folder = Path(tempfile.mkdtemp())
    for name in ("a.net", "a.safetensors", "s.npz"):
        (folder / name).write_text(_text(version), encoding="utf-8")
    return {path.name: path for path in folder.iterdir()}


def _package_seen(folder: Path) -> int:
    found = Package(folder / "a.netz")
    assert all(found.sums().values())
    return int(found.manifest.metrics["nll"])


def _features_seen(folder: Path) -> int:
    import h5py

    with h5py.File(folder / "a.h5") as file:
        return _version({name: file[name][()].tobytes() for name in file}, lambda version: _bytes(_arrays(version)))


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
    "models of Caffe's": Scenario(_put_left, _left_seen),
    "databases": Scenario(_put_database, _database_seen),
    "packages": Scenario(_put_package, _package_seen),
    "features": Scenario(lambda folder, version: write_arrays_hdf5(folder / "a.h5", _arrays(version)), _features_seen),
    "caches": Scenario(_put_cache, _cache_seen, quiet=True),
}
