"""Readers of data: IDX, npz and npy, CIFAR-10, images and lists of them, inputs of `netc run`."""

from __future__ import annotations

import ctypes
import functools
import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

import netc
from attack import binary, text
from attack.contract import Broken
from attack.readers import MEGABYTE, Reader
from netc.api.inference import read_arrays, records_in
from netc.compiler.types import TensorType
from netc.runtime.data import open_data
from netc.runtime.data.arrays import read_npy
from support.data_files import idx_bytes, pixels, spec

Array = np.ndarray[Any, Any]
COMPILER = shutil.which("gcc") or shutil.which("cc")  # without one there is no row for the reader in C


def opened(source: str, **settings: Any) -> Callable[[Path], None]:
    """Reads the first batch of a source: two records of each column."""

    def read(path: Path) -> None:
        # As little is read ahead as can be: how far a thread comes until it is ended is a matter of luck, and so would
        # be the memory that it takes.
        with open_data(spec(source, path.parent, batch=2, **settings), mode="test", prefetch=0) as stream:
            for name, array in stream.next().columns.items():
                if len(array) != 2 or array.dtype.kind not in "fib":
                    raise Broken(f"{name} is {array.dtype}{list(array.shape)}")

    return read


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _idx() -> list[bytes]:
    arrays: list[Array] = [pixels(4, 6, 5), pixels(4, 2, 3, 3), np.ones((4, 7), np.float32)]
    return [*map(idx_bytes, arrays), idx_bytes(pixels(4, 3).astype(np.int16))]


def _idx_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Sizes, types and numbers of axes that lie; compressed now and then, before or after the damage."""
    how = random.random()
    if how < 0.4:
        shape = [random.choice(binary.NUMBERS) % 2**32 for _ in range(random.choice((1, 2, 3, 4, 5, 9)))]
        if random.random() < 0.5:
            shape[0] = 4
        head = struct.pack(">BBBB", 0, 0, random.choice((8, 9, 11, 12, 13, 14, 0, 255)), random.choice((len(shape), 3)))
        data = head + struct.pack(f">{len(shape)}I", *shape) + random.randbytes(random.choice((0, 4, 120)))
    else:
        data = binary.changed(random, samples)
    return _packed(random, data)


def _packed(random: Random, data: bytes) -> bytes:
    """Now and then compressed, and then damaged again."""
    how = random.random()
    if how < 0.6:
        return data
    packed = gzip.compress(data, 1) if how < 0.85 else lzma.compress(data, preset=0)
    if random.random() < 0.5:
        return packed
    return binary.once(random, packed, random.choice((20, len(packed))), [packed])


def _bomb(random: Random, samples: Sequence[bytes]) -> bytes:
    """A small file that unpacks to a large one, with a header that says so or says something else."""
    count = random.choice((1 << 20, 1 << 24, 1 << 26))
    claimed = random.choice((count, count // 2, count * 4, 4))
    head = struct.pack(">BBBBIII", 0, 0, 8, 3, 4, max(1, claimed // 16), 4)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head)]
    piece = bytes(1 << 20)
    for _ in range(count >> 20):
        parts.append(packer.compress(piece))
    return b"".join([*parts, packer.flush()])


def _npz() -> list[bytes]:
    arrays = {"x": pixels(4, 3), "y": np.arange(4)}
    floats = {"x": np.ones((4, 2, 2), np.float16), "y": np.zeros(4, bool)}
    return [
        _bytes_of(lambda f: np.savez(f, **arrays)),  # type: ignore[arg-type]
        _bytes_of(lambda f: np.savez_compressed(f, **arrays)),  # type: ignore[arg-type]
        _bytes_of(lambda f: np.savez(f, **floats)),  # type: ignore[arg-type]
    ]


DESCRIPTIONS = (
    *("'<f4'", "'|u1'", "'>i8'", "'<f2'", "'|O'", "'<U4'", "'<M8[s]'", "[('a', '<f4')]", "'|V8'", "'<c8'", "'|b1'"),
    *("None", "1", "'<f99'", "('<f4', (2, 2))", "'<i4,<i4'", "[('a', '|O')]", "'" + "a" * 300 + "'"),
)
SHAPES = (
    *("(4,)", "(4, 3)", "()", "(0,)", "(-1,)", "(4, -3)", "(True, 1, 4)", "(4, 2**40)", "(1099511627776, 4)", "4"),
    *("(4, 1.5)", "'ab'", "(4, 'a')", "(" + "1, " * 40 + ")", "(4," * 200 + ")" * 200, "(4, 18446744073709551616)"),
    *("(2147483648, 2147483648)", "(4, 0)", "[4, 3]", "None", "(4, 3, 0, 99999999999)"),
)


def npy_built(random: Random) -> bytes:
    """A `.npy` whose header is drawn: a literal that says what may not be."""
    order, end = random.choice(("False", "True", "0", "None")), random.choice((", ", "", ", } ", ", 'x': 1, "))
    head = (
        f"{{'descr': {random.choice(DESCRIPTIONS)}, 'fortran_order': {order}, 'shape': {random.choice(SHAPES)}{end}}}"
    )
    if random.random() < 0.2:
        head = text.changed(random, [head.encode()]).decode(errors="replace")
    raw = head.encode("latin-1", errors="replace") + b"\n"
    version = random.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    bits = 16 if version[0] == 1 else 32
    size = (random.choice((len(raw), len(raw), 0, 65535)) % (1 << bits)).to_bytes(bits // 8, "little")
    body = random.choice((b"", bytes(4), bytes(12), bytes(16), bytes(48), b"\x80\x04K\x01."))
    return b"\x93NUMPY" + bytes(version) + size + raw + body


def _npz_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """An archive with drawn headers, odd names, members twice, encrypted or packed otherwise; or bytes changed."""
    if random.random() < 0.5:
        data = binary.changed(random, samples)
        if random.random() < 0.5 and b"PK\x01\x02" in data:  # in its directory, which is at the end
            at = data.index(b"PK\x01\x02") + random.randrange(60)
            data = data[:at] + random.randbytes(random.choice((1, 2, 4))) + data[at + random.choice((1, 2, 4)) :]
        return data
    file = io.BytesIO()
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(file, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as zipped,
    ):
        warnings.simplefilter("ignore")  # of names that are there twice
        for name in random.choice((("x", "y"), ("x",), ("x", "x"), ("../x", "y"), ("x/", "y"), (), ("\x1b[2J", "é"))):
            good = _bytes_of(lambda f: np.save(f, np.arange(4)))
            zipped.writestr(f"{name}{random.choice(('.npy', '.npy', ''))}", random.choice((npy_built(random), good)))
    return file.getvalue()


def _npy_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    return npy_built(random) if random.random() < 0.6 else binary.changed(random, samples)


def _npy() -> list[bytes]:
    return [_bytes_of(lambda f: np.save(f, np.zeros((1, 4, 4), np.float32)))]


def image_bytes(kind: str) -> bytes:
    return _bytes_of(lambda f: Image.fromarray(pixels(6, 5, 3)).save(f, kind))


def _images() -> list[bytes]:
    return [image_bytes(kind) for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")]


def _images_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Bytes changed; PNGs whose header lies and is signed; texts that other decoders would run."""
    how = random.random()
    if how < 0.7:
        return binary.changed(random, samples)
    if how < 0.85:
        sizes = [random.choice(binary.NUMBERS) % 2**32 for _ in range(2)]
        header = struct.pack(
            ">IIBBBBB", *sizes, random.choice((1, 2, 4, 8, 16, 99)), random.randrange(8), 0, 0, random.randrange(3)
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            _chunk(kind, body)
            for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(random.randbytes(100))), (b"IEND", b""))
        )
    return random.choice((
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(case.png) (w) file closefile\nshowpage\n",
        b"P6 99999999 99999999 255\n", b"P5 5 6 255\n" + bytes(5), b"P3 2 2 255 1 2 3", b"BM" + bytes(60), b"",
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20), b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"II*\0\xff\xff\xff\xff",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", b"%PDF-1.4\n",
    ))  # fmt: skip


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def read_image(path: Path) -> None:
    """Through a list, as the source does; in gray, in color, and in another size."""
    path.with_name("list.txt").write_text(f"{path.name} 1\n{path.name} 0\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged tags
        opened("image_list", path="list.txt", gray=True, height=4, width=3)(path)
        opened("image_list", path="list.txt", order="bgr")(path)


class _CImage(ctypes.Structure):
    _fields_ = (("pixels", ctypes.c_void_p), *((name, ctypes.c_size_t) for name in ("height", "width", "channels")))


@functools.cache
def _c_reader() -> ctypes.CDLL:
    """The image reader of nets in C (`netc compile --target c`), as a library."""
    code = Path(netc.__file__).parent / "deployment" / "c"
    with tempfile.TemporaryDirectory() as folder:
        made = str(Path(folder) / "images.so")
        sources = [str(code / name) for name in ("netc_image.c", "netc_jpeg.c")]
        subprocess.run([str(COMPILER), "-O1", "-shared", "-fPIC", *sources, "-o", made], check=True)
        found = ctypes.CDLL(made)
    found.netc_image_decode.restype = ctypes.c_char_p
    return found


def _c_images() -> list[bytes]:
    _c_reader()  # compiled before anything is watched
    return [image_bytes(kind) for kind in ("png", "jpeg", "bmp", "ppm")]


def read_image_in_c(path: Path) -> None:
    data, image = path.read_bytes(), _CImage()
    wrong = _c_reader().netc_image_decode(ctypes.byref(image), data, ctypes.c_size_t(len(data)))
    _c_reader().netc_image_free(ctypes.byref(image))
    if wrong:
        raise ValueError(wrong.decode())


def _list() -> list[bytes]:
    return [b"a.png 1\nb c.png 0\na.png 2\n", b"a.png -3\r\n\n a.png 2147483647\n"]


def read_list(path: Path) -> None:
    for name in ("a.png", "b c.png"):
        if not path.with_name(name).exists():
            path.with_name(name).write_bytes(image_bytes("png"))
    opened("image_list", path=path.name)(path)


def _cifar_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    return _packed(random, binary.changed(random, samples))


def read_inputs(path: Path) -> None:
    """As `netc run FILE.npz` does."""
    records_in(path)
    read_arrays(path, {"x": TensorType((4, 3)), "y": TensorType((4,))})


ROWS = [
    Reader("idx", "a.idx", _idx, _idx_changed, opened("idx", images="a.idx", labels="b.idx"), quick=400),
    Reader(
        "gzip bombs", "a.idx", lambda: [gzip.compress(_idx()[0])], _bomb,
        opened("idx", images="a.idx", labels="b.idx"), quick=3, memory=512 * MEGABYTE, seconds=10.0, share=0.2,
    ),
    Reader("npz", "a.npz", _npz, _npz_changed, opened("npz", path="a.npz"), quick=400),
    Reader("npy", "mean.npy", _npy, _npy_changed, read_npy, quick=500),
    Reader(
        "mean file", "mean.npy", _npy, _npy_changed,
        opened("synthetic", shape=(1, 4, 4), records=4, mean="mean.npy"), quick=150,
    ),
    Reader("inputs", "a.npz", lambda: _npz()[:2], _npz_changed, read_inputs, quick=400),
    Reader(
        "cifar10", "a.bin", lambda: [(pixels(2, 3073) % 10).tobytes()], _cifar_changed,
        opened("cifar10", path="a.bin"), quick=200,
    ),
    Reader("images", "a.img", _images, _images_changed, read_image, quick=250, memory=1024 * MEGABYTE, seconds=8.0),
    Reader("image list", "a.txt", _list, text.changed, read_list, text=True, quick=200, leaves=True),
    *([Reader(
        "images in C", "a.img", _c_images, _images_changed,
        read_image_in_c, (ValueError,), quick=300, memory=1024 * MEGABYTE,
    )] if COMPILER else []),
]  # fmt: skip
LABELS = idx_bytes(np.arange(4, dtype=np.uint8))
