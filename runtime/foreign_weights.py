"""File type identification by magic numbers: what a file of weights is that netc does not read, and what to do with it.

The first bytes decide where they can, else the ending of the name. Nothing of the file is unpacked or run.
Sources: PKWARE's APPNOTE 4.3.7 (local file header), the pickle protocol's opcode PROTO, the HDF5 specification's
signature, Git LFS's specification of pointers.
"""

from __future__ import annotations

import struct
from pathlib import Path

from .data.files import check_regular, explained

TORCH = (
    "weights of PyTorch's in a pickle, which could run code and is never read; save them as safetensors: "
    "`safetensors.torch.save_file(torch.load(PATH, weights_only=True), NEW)`"
)
NUMPY = "an archive of numpy's; save it as safetensors: `safetensors.numpy.save_file(dict(numpy.load(PATH)), NEW)`"
PICKLE = "a Python pickle, which could run code and is never read; save its arrays with `safetensors.numpy.save_file`"
KERAS = "weights of Keras's; save its arrays by the net's names with `safetensors.numpy.save_file`"
TENSORFLOW = "a model of TensorFlow's; save its arrays by the net's names with `safetensors.numpy.save_file`"
ONNX = "a model in ONNX: `netc convert` makes a net of it, and its weights"
HDF5 = "HDF5: call it .h5, if Caffe wrote it"
SOLVER = "the state of a solver of Caffe's: `netc train --solverstate` goes on from it"
MEAN = "a mean image of Caffe's: it is for `mean:` of the data"
LFS = "a pointer of Git LFS's, in the place of the file itself: `git lfs pull` gets it"
TEXT = "a text, not weights"
JSON = "JSON, not weights; of a snapshot the .safetensors beside it holds them"

ENDINGS = {
    ".pth": TORCH,
    ".pt": TORCH,
    ".npz": NUMPY,
    ".npy": NUMPY.replace("an archive", "one array"),
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".keras": KERAS,
    ".onnx": ONNX,
    ".pb": TENSORFLOW,
    ".tflite": TENSORFLOW,
    ".ckpt": "a checkpoint; save its arrays by the net's names with `safetensors.numpy.save_file`",
    ".solverstate": SOLVER,
    ".binaryproto": MEAN,
    ".prototxt": TEXT,
    ".net": TEXT,
    ".json": JSON,
}
LOCAL_HEADER = 30  # bytes of a zip before the name of its first member
START = 512


def foreign(path: Path) -> str:
    """What a file is and what to do with it; "" for what may be read. UserError for a file that cannot be opened."""
    check_regular(path)
    with explained(path), path.open("rb") as file:
        start = file.read(START)
    if start.startswith(b"version https://git-lfs"):
        return LFS
    if start.startswith(b"PK\x03\x04"):
        return _zipped(start) or ENDINGS.get(path.suffix.lower(), "a zip archive, not weights")
    if start.startswith(b"\x89HDF\r\n"):
        return KERAS if path.suffix.lower() == ".keras" else HDF5
    if len(start) > 2 and start[0] == 0x80 and 2 <= start[1] <= 5:  # PROTO and its version
        return ENDINGS.get(path.suffix.lower(), PICKLE)
    return ENDINGS.get(path.suffix.lower(), "")


def _zipped(start: bytes) -> str:
    """What an archive is by the name of its first member."""
    (length,) = struct.unpack_from("<H", start, 26) if len(start) >= LOCAL_HEADER else (0,)
    name = start[LOCAL_HEADER : LOCAL_HEADER + length]
    if name.endswith(b".npy"):
        return NUMPY
    if name.endswith((b"/data.pkl", b"/byteorder", b"/.format_version", b"/version")):
        return TORCH
    return KERAS if name in (b"metadata.json", b"config.json", b"model.weights.h5") else ""
