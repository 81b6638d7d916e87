"""Damaged files for the readers of Caffe's formats: `python -m support.caffe.hostile KIND COUNT [SEED]` from `tests/`.

Each turn damages a whole file by chance and reads it. A reader may read it, or refuse it in one printable line; what
else it raises ends the run, with the number of the turn and the file left behind. The tests run a few hundred turns.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.caffe.proto import caffe_pb2 as pb
from netc.caffe.upgrading import upgrade_binary
from netc.compiler.program import UserError
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.datum import datum_bytes, encoded_bytes, parse_datum
from netc.runtime.caffe.hdf5 import read_model_hdf5, read_solver_state_hdf5, write_model_hdf5, write_solver_state_hdf5
from netc.runtime.caffe.lmdb import FILE, Lmdb, write_lmdb
from netc.runtime.caffe.mean import read_blob_file
from netc.runtime.caffe.model import Model, plain_layer, read_model
from netc.runtime.caffe.solver_state import SolverState, read_solver_state
from netc.runtime.caffe.wire import Damaged
from support.caffe.binary import Array, blob_message, net_message, numbers

LAYERS: dict[str, list[Array]] = {"conv": [numbers(4, 3, 2, 2), numbers(4)], "ip": [numbers(5, 16)]}
EXTREMES = (b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), b"\x80" * 8, b"\xff" * 9 + b"\x01")
Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Kind:
    """make: the content of a whole file, in a folder that may be used. read: the reader of one."""

    make: Callable[[Path], bytes]
    read: Read


def _model(form: int) -> Callable[[Path], bytes]:
    return lambda folder: bytes(net_message(LAYERS, form=form).SerializeToString())


def _state(folder: Path) -> bytes:
    history = [blob_message(array) for arrays in LAYERS.values() for array in arrays]
    return bytes(pb.SolverState(iter=7, learned_net="x", history=history).SerializeToString())


def _mean(folder: Path) -> bytes:
    return bytes(blob_message(numbers(1, 3, 4, 5), legacy=True).SerializeToString())


def _datum(path: Path) -> None:
    try:
        parse_datum(path.read_bytes())
    except Damaged as error:
        raise UserError(str(error)) from None


def _model_hdf5(folder: Path) -> bytes:
    layers = [plain_layer(name, "", map(Blob, arrays)) for name, arrays in LAYERS.items()]
    write_model_hdf5(folder / "whole", Model("", tuple(layers)))
    return (folder / "whole").read_bytes()


def _state_hdf5(folder: Path) -> bytes:
    history = tuple(Blob(array) for arrays in LAYERS.values() for array in arrays)
    write_solver_state_hdf5(folder / "whole", SolverState(7, history, "x"))
    return (folder / "whole").read_bytes()


def _lmdb(folder: Path) -> bytes:
    images = [np.full((1, 40, 90), 7, np.uint8), *(np.full((1, 3, 3), k, np.uint8) for k in range(200))]
    write_lmdb(folder / "db", ((b"%08d" % k, datum_bytes(image, k)) for k, image in enumerate(images)))
    return (folder / "db" / FILE).read_bytes()


def _read_lmdb(path: Path) -> None:
    database = Lmdb(path)
    for number in range(len(database)):
        database.key(number)
        database.value(number)


KINDS: dict[str, Kind] = {
    "caffemodel": Kind(_model(2), read_model),
    "caffemodel of 2014": Kind(_model(1), read_model),
    "caffemodel to upgrade": Kind(_model(1), lambda path: upgrade_binary(path, path.with_name("upgraded"))),
    "solverstate": Kind(_state, read_solver_state),
    "mean": Kind(_mean, read_blob_file),
    "datum of bytes": Kind(lambda folder: datum_bytes(np.zeros((3, 4, 5), np.uint8), -1), _datum),
    "datum of floats": Kind(lambda folder: datum_bytes(numbers(3, 4, 5), 9), _datum),
    "datum of a file": Kind(lambda folder: encoded_bytes(b"\x89PNG....", 3), _datum),
    "caffemodel.h5": Kind(_model_hdf5, read_model_hdf5),
    "solverstate.h5": Kind(_state_hdf5, read_solver_state_hdf5),
    "lmdb": Kind(_lmdb, _read_lmdb),
}


def damaged(content: bytes, chance: random.Random, head: int = 1 << 14) -> bytes:
    """Bytes set, a number made extreme, the end cut off, or a part repeated; mostly in the first `head` bytes."""
    found = bytearray(content)
    head, kind = min(head, len(found)), chance.randrange(4)
    if kind == 0:
        for _ in range(chance.choice((1, 2, 8, 40))):
            found[chance.randrange(head if chance.random() < 0.7 else len(found))] = chance.randrange(256)
    elif kind == 1:
        del found[chance.randrange(len(found)) :]
    elif kind == 2:
        at, extreme = chance.randrange(head), chance.choice(EXTREMES)
        found[at : at + len(extreme)] = extreme
    else:
        at, end = sorted(chance.randrange(head) for _ in range(2))
        found[at:at] = found[at : at + min(end - at, 200)]
    return bytes(found)


def attack(kind: str, turns: int, folder: Path, seed: int = 0) -> Counter[str]:
    """So many turns; how many files were read, and how many refused. AssertionError for a message of several lines."""
    chance = random.Random(f"{kind} {seed}")
    content, read, path = KINDS[kind].make(folder), KINDS[kind].read, folder / "file"
    outcomes: Counter[str] = Counter()
    for turn in range(turns):
        path.write_bytes(damaged(content, chance))
        said = ""
        try:
            read(path)
        except UserError as error:
            said = str(error)
        except BaseException as error:
            error.add_note(f"turn {turn} of {kind}, seed {seed}: {path}")
            raise
        assert said.isprintable(), said
        outcomes["refused" if said else "read"] += 1
    return outcomes


def main(kind: str, count: str, seed: str = "0") -> None:
    """The command."""
    for name in KINDS if kind == "all" else [kind]:
        folder = Path(tempfile.mkdtemp(prefix="netc-hostile-"))
        outcomes = attack(name, int(count), folder, int(seed))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{name}: {dict(outcomes)}, at most {peak:,} MB in all", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
