"""Readers of Caffe's files: prototxts of nets and solvers, weights, states, means, Datums and databases."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import h5py
import numpy as np
import plyvel

from attack import binary, text, wire
from attack.readers import Reader
from attack.rows.data import image_bytes, opened
from netc.caffe.proto import caffe_pb2 as pb
from netc.caffe.upgrading import upgrade_binary, upgrade_text
from netc.compiler.build import load
from netc.grammar.source import UserError
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.datum import datum_bytes, encoded_bytes, parse_datum
from netc.runtime.caffe.hdf5 import read_model_hdf5, read_solver_state_hdf5, write_model_hdf5, write_solver_state_hdf5
from netc.runtime.caffe.leveldb import OWN, LevelDb, write_leveldb
from netc.runtime.caffe.lmdb import FILE, Lmdb, write_lmdb
from netc.runtime.caffe.mean import read_blob_file
from netc.runtime.caffe.model import Model, plain_layer, read_model
from netc.runtime.caffe.solver_state import SolverState, read_solver_state
from netc.runtime.caffe.wire import Damaged
from netc.runtime.state import State
from support.caffe.binary import Array, blob_message, net_message, numbers
from support.caffe.pycaffe import DEEP, SMALL
from support.tiny_run import infos

WHOLE = b"""name: 'whole'
layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: TRAIN not_stage: 'a' }
  transform_param { scale: .5 mirror: true mean_value: [1, 2, 3] crop_size: 8 }
  data_param { source: 'train_lmdb' batch_size: 64 backend: LMDB } }
layer { name: 'data' type: 'Data' top: 'data' top: 'label' include { phase: TEST }
  transform_param { mean_file: 'm.binaryproto' crop_size: 8 force_color: true }
  data_param { source: 'test_db' batch_size: 100 } }
layer { name: 'conv/3x3' type: 'Convolution' bottom: 'data' top: 'c'
  param { name: 'w' lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 group: 1 pad_h: 1 pad_w: 1 kernel_size: 3 stride: 2
    weight_filler { type: 'msra' } } }
layer { name: 'bn' type: 'BatchNorm' bottom: 'c' top: 'c' batch_norm_param { eps: 1e-4 } }
layer { name: 's' type: 'Scale' bottom: 'c' top: 'c' scale_param { bias_term: true } }
layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' relu_param { negative_slope: 0.1 } }
layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'p' pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: 'sl' type: 'Slice' bottom: 'p' top: 'q1' top: 'q2' slice_param { axis: 1 slice_point: 1 } }
layer { name: 'cat' type: 'Concat' bottom: 'q1' bottom: 'q2' top: 'cat' }
layer { name: 'e' type: 'Eltwise' bottom: 'cat' bottom: 'p' top: 'e'
  eltwise_param { operation: SUM coeff: 1 coeff: -1 } }
layer { name: 'n' type: 'LRN' bottom: 'e' top: 'n' lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL } }
layer { name: 'f' type: 'Reshape' bottom: 'n' top: 'f' reshape_param { shape { dim: 0 dim: -1 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'f' top: 'ip' inner_product_param { num_output: 10 } }
layer { name: 'd' type: 'Dropout' bottom: 'ip' top: 'ip' dropout_param { dropout_ratio: 0.5 } }
layer { name: 'acc' type: 'Accuracy' bottom: 'ip' bottom: 'label' top: 'acc' include { phase: TEST } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' loss_weight: 2
  loss_param { ignore_label: 3 normalization: VALID } }
"""
OLD = b"""name: "old" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { bottom: "data" top: "c" name: "c" type: CONVOLUTION blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  convolution_param { num_output: 2 kernel_size: 5 stride: 1 bias_filler { type: "constant" } } }
layers { bottom: "c" top: "c" name: "r" type: RELU }
layers { bottom: "c" top: "prob" name: "prob" type: SOFTMAX }
"""
OLDEST = b"""name: "v0" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "pad" }
layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 stride: 1
  weight_filler { type: "gaussian" std: 0.01 } blobs_lr: 1. blobs_lr: 2. } bottom: "pad" top: "c" }
layers { layer { name: "p" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "c" top: "p" }
"""
RECURRENT = b"""layer { name: 'in' type: 'Input' top: 'x' top: 'k' top: 'i'
  input_param { shape { dim: 5 dim: 2 dim: 3 } shape { dim: 5 dim: 2 } shape { dim: 5 dim: 2 } } }
layer { name: 'l' type: 'LSTM' bottom: 'x' bottom: 'k' top: 'l' recurrent_param { num_output: 4 } }
layer { name: 'b' type: 'Embed' bottom: 'i' top: 'b' embed_param { input_dim: 7 num_output: 3 } }
layer { name: 'a' type: 'ArgMax' bottom: 'l' top: 'a' argmax_param { axis: 2 top_k: 2 } }
layer { name: 'r' type: 'Reduction' bottom: 'b' top: 'r' reduction_param { operation: SUMSQ axis: -1 } }
layer { name: 't' type: 'Tile' bottom: 'r' top: 't' tile_param { axis: 1 tiles: 3 } }
layer { name: 'o' type: 'Silence' bottom: 't' }
"""
SOLVER = b"""net_param { name: 'n' layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 3 } } }
  layer { name: 'i' type: 'InnerProduct' bottom: 'x' top: 'i' inner_product_param { num_output: 1 } }
  layer { name: 'l' type: 'EuclideanLoss' bottom: 'i' bottom: 'i' top: 'l' } }
base_lr: 0.01 lr_policy: "multistep" gamma: 0.1 stepvalue: [5, 7] momentum: 0.9 weight_decay: 5e-4 type: 'Nesterov'
regularization_type: "L1" iter_size: 2 clip_gradients: 35 display: 1 max_iter: 10 snapshot: 5 snapshot_prefix: "n"
snapshot_format: HDF5 random_seed: 3 test_iter: 2 test_interval: 5 solver_mode: CPU
"""
LAYERS: dict[str, list[Array]] = {"conv": [numbers(4, 3, 2, 2), numbers(4)], "fc": [numbers(3, 12), numbers(3)]}


def _prototxts() -> list[bytes]:
    return [SMALL.encode(), DEEP.encode(), WHOLE, OLD, OLDEST, RECURRENT]


def read_prototxt(path: Path) -> None:
    """As `netc check` does."""
    load(path)


def upgrade_prototxt(path: Path) -> None:
    """As `netc caffe upgrade_net_proto_text` does; what it wrote is of the last format, and stays so."""
    upgraded = path.with_name("upgraded.prototxt")
    upgrade_text(path, upgraded, "NetParameter")
    once = upgraded.read_bytes()
    upgrade_text(upgraded, upgraded, "NetParameter")
    if upgraded.read_bytes() != once:
        raise AssertionError("what was upgraded is upgraded once more")


def _models(*forms: int) -> Callable[[], list[bytes]]:
    return lambda: [bytes(net_message(LAYERS, form=form).SerializeToString()) for form in forms]


def read_weights(path: Path) -> None:
    """As `--weights` does, for a net whose layers have other names."""
    read_model(path)
    State(infos()).load(path, fresh=["norm"])


def _states() -> list[bytes]:
    history = [blob_message(array) for arrays in LAYERS.values() for array in arrays]
    return [bytes(pb.SolverState(iter=7, learned_net="x", history=history).SerializeToString())]


def _means() -> list[bytes]:
    return [bytes(blob_message(numbers(1, 3, 4, 5), legacy=old).SerializeToString()) for old in (True, False)]


def _datums() -> list[bytes]:
    images = [datum_bytes(np.zeros((3, 4, 5), np.uint8), -1), datum_bytes(numbers(3, 4, 5), 9)]
    return [*images, encoded_bytes(image_bytes("png"), 3)]


def read_datum(path: Path) -> None:
    try:
        parse_datum(path.read_bytes())
    except Damaged as error:
        raise UserError(str(error)) from None


def read_datum_of_database(path: Path) -> None:
    """As the source `lmdb` does: every record is decoded and made a part of a batch."""
    folder = path.with_name("db")
    shutil.rmtree(folder, ignore_errors=True)
    write_lmdb(folder, iter([(b"0", path.read_bytes()), (b"1", path.read_bytes())]))
    opened("lmdb", path="db")(path)


def _hdf5(write: Callable[[Path], object]) -> Callable[[], list[bytes]]:
    def made() -> list[bytes]:
        file = Path("whole.h5")
        write(file)
        data = file.read_bytes()
        file.unlink()
        return [data]

    return made


def _write_model(file: Path) -> None:
    layers = [plain_layer(name, "", map(Blob, arrays)) for name, arrays in LAYERS.items()]
    write_model_hdf5(file, Model("", tuple(layers)))


def _write_state(file: Path) -> None:
    history = tuple(Blob(array) for arrays in LAYERS.values() for array in arrays)
    write_solver_state_hdf5(file, SolverState(7, history, "x"))


def _write_rows(file: Path) -> None:
    with h5py.File(file, "w") as made:
        made["data"] = numbers(6, 3, 2)
        made.create_dataset("label", data=np.arange(6, dtype=np.int32), chunks=(2,), compression="gzip")


def _hdf5_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Bytes changed anywhere: the headers of HDF5 lie among the data, most of them in the first few kilobytes."""
    data = random.choice(samples)
    for _ in range(random.choice((1, 1, 2, 5))):
        data = binary.once(random, data, random.choice((96, 1024, 4096, len(data) or 1)), samples)
    return data


def _records() -> Iterator[tuple[bytes, bytes]]:
    images = [np.full((1, 40, 90), 7, np.uint8), *(np.full((1, 3, 3), k, np.uint8) for k in range(200))]
    return ((b"%08d" % k, datum_bytes(image, k)) for k, image in enumerate(images))


def _lmdb() -> list[bytes]:
    write_lmdb(Path("db"), _records())
    data = Path("db", FILE).read_bytes()
    shutil.rmtree("db")
    return [data]


def _pages_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Changes near the start of one of the pages: their headers, and the places of their entries."""
    data = random.choice(samples)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.choice((0, 4096, random.randrange(len(data) // 4096 + 1) * 4096))
        head, page = data[:at], data[at : at + 4096]
        changed = binary.once(random, page, random.choice((16, 64, 256, 4096)), [page])
        if random.random() < 0.8:  # the pages behind it stay where they are
            changed = changed[: len(page)].ljust(len(page), b"\0")
        data = head + changed + data[at + 4096 :]
    return data


def _all_of(database: Lmdb | LevelDb) -> None:
    for number in range(len(database)):
        database.key(number)
        database.value(number)


@functools.cache
def _leveldb() -> dict[str, bytes]:
    """The files of a database: what was written first lies in a table, what came last in a log."""
    folder = Path("db").resolve()
    write_leveldb(folder, _records())
    with contextlib.closing(plyvel.DB(str(folder))) as database:
        database.put(b"00000999", datum_bytes(np.zeros((1, 3, 3), np.uint8), 9))
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in OWN}
    shutil.rmtree(folder)
    return found


def _named(ending: str) -> str:
    return next(name for name in _leveldb() if name.startswith(ending) or name.endswith(ending))


def _file_of_leveldb(ending: str) -> list[bytes]:
    return [_leveldb()[_named(ending)]]


def read_leveldb(ending: str) -> Callable[[Path], None]:
    """A whole database, in which one file is hostile."""

    def read(path: Path) -> None:
        folder = path.with_name("db")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in _leveldb().items():
            (folder / name).write_bytes(data)
        (folder / _named(ending)).write_bytes(path.read_bytes())
        _all_of(LevelDb(folder))

    return read


ROWS = [
    Reader("prototxt", "case.prototxt", _prototxts, text.changed, read_prototxt, text=True, quick=100, seconds=6.0),
    Reader("solver prototxt", "case.prototxt", lambda: [SOLVER], text.changed, read_prototxt, text=True, quick=100),
    Reader(
        "prototxt to upgrade", "case.prototxt", _prototxts, text.changed, upgrade_prototxt,
        text=True, quick=60, leaves=True,
    ),
    Reader("caffemodel", "a.caffemodel", _models(1, 2), wire.changed, read_weights),
    Reader(
        "caffemodel to upgrade", "a.caffemodel", _models(1), wire.changed,
        lambda path: upgrade_binary(path, path.with_name("upgraded")), leaves=True,
    ),
    Reader("solverstate", "a.solverstate", _states, wire.changed, read_solver_state),
    Reader("binaryproto", "a.binaryproto", _means, wire.changed, read_blob_file),
    Reader("datum", "a.datum", _datums, wire.changed, read_datum),
    Reader("datum of a database", "a.datum", _datums, wire.changed, read_datum_of_database, leaves=True, quick=100),
    Reader("caffemodel.h5", "a.caffemodel.h5", _hdf5(_write_model), _hdf5_changed, read_model_hdf5),
    Reader("solverstate.h5", "a.solverstate.h5", _hdf5(_write_state), _hdf5_changed, read_solver_state_hdf5),
    Reader("hdf5", "a.h5", _hdf5(_write_rows), _hdf5_changed, opened("hdf5", path="a.h5"), leaves=True, quick=150),
    Reader("lmdb", "data.mdb", _lmdb, _pages_changed, lambda path: _all_of(Lmdb(path)), quick=150),
    *(
        Reader(
            f"leveldb {title}", "a.part", functools.partial(_file_of_leveldb, ending), binary.changed,
            read_leveldb(ending), quick=60, leaves=True,
        )
        for title, ending in (("table", ".ldb"), ("log", ".log"), ("manifest", "MANIFEST"), ("current", "CURRENT"))
    ),
]  # fmt: skip
