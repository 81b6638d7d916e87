"""The sources read what is in their files, and every fault of a file is one line that names it."""

from __future__ import annotations

import gzip
import lzma
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.compiler.spec import ColumnTransform
from netc.runtime.data import files, open_data
from netc.runtime.data.source import Array
from support.data_files import first, idx_bytes, pixels, spec, stream, write_idx, write_npz

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder with ten images of 6 x 5 and their labels."""
    write_idx(tmp_path / IMAGES, pixels(10, 6, 5))
    write_idx(tmp_path / LABELS, np.arange(10, dtype=np.uint8))
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_idx_images_and_labels(digits: Path, packed: bool) -> None:
    names = [IMAGES, LABELS]
    if packed:
        for name in names:
            (digits / f"{name}.gz").write_bytes(gzip.compress((digits / name).read_bytes()))
            (digits / name).unlink()
        names = [f"{name}.gz" for name in names]
    with stream("idx", digits, images=names[0], labels=names[1], batch=4) as opened:
        assert opened.records == 10
        assert opened.columns == {
            "image": ((4, 1, 6, 5), np.dtype(np.float32)),
            "label": ((4,), np.dtype(np.int32)),
        }
        batch = opened.next()
    np.testing.assert_array_equal(batch.columns["image"], pixels(10, 6, 5)[:4, None].astype(np.float32))
    np.testing.assert_array_equal(batch.columns["label"], [0, 1, 2, 3])


@pytest.mark.parametrize("dtype", [">u1", ">i1", ">i2", ">i4", ">f4", ">f8"])
def test_idx_types_become_f32(tmp_path: Path, dtype: str) -> None:
    values = (np.arange(24) - 5).reshape(2, 3, 4).astype(np.dtype(dtype).newbyteorder("="))
    write_idx(tmp_path / "a", values)
    write_idx(tmp_path / "b", np.array([300, -2], np.int32))
    batch = first("idx", tmp_path, images="a", labels="b", batch=2, scale=0.5)
    np.testing.assert_array_equal(batch["image"][:, 0], (values * 0.5).astype(np.float32))
    np.testing.assert_array_equal(batch["label"], [300, -2])


@pytest.mark.parametrize("name", [f"{IMAGES}", f"{IMAGES}.gz", "train-images.idx3-ubyte"])
def test_mnist_finds_its_files_under_the_usual_names(digits: Path, name: str) -> None:
    content = (digits / IMAGES).read_bytes()
    (digits / IMAGES).unlink()
    (digits / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert first("mnist", digits, path=".", batch=10)["image"].sum() == pixels(10, 6, 5).sum()


def damaged(name: str, content: bytes) -> bytes:
    """What a fault makes of an IDX file."""
    if name == "empty":
        return b""
    if name == "magic":
        return b"\x89PNG" + content[4:]
    if name == "type":
        return content[:2] + b"\x07" + content[3:]
    if name == "axes":
        return content[:3] + b"\x00" + content[4:]
    if name == "header":
        return content[:10]
    if name == "short":
        return content[:-1]
    if name == "long":
        return content + b"\0"
    if name == "huge":
        return content[:4] + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + content[16:]
    if name == "none":
        return content[:4] + struct.pack(">3I", 0, 6, 5)
    assert name == "labels"
    return idx_bytes(np.zeros(10, np.uint8))


FAULTS = {  # what is said of the plain file and of the gzipped one
    "empty": ("not an IDX file: it begins with nothing",) * 2,
    "magic": ("not an IDX file: it begins with 89 50 4e 47, expected 00 00",) * 2,
    "type": ("not an IDX file: it begins with 00 00 07 03",) * 2,
    "axes": ("not an IDX file: it begins with 00 00 08 00",) * 2,
    "header": ("its header of 3 axes is not complete",) * 2,
    "short": ("10 x 6 x 5 values of uint8 take 316 bytes, the file has 315", "take 300 bytes, it holds 299"),
    "long": ("take 316 bytes, the file has 317", "there are bytes after 10 x 6 x 5 values of uint8"),
    "huge": ("the file has 316", "compressed bytes can hold"),
    "none": ("holds no images: its shape is 0 x 6 x 5",) * 2,
    "labels": ("expected images (a count, height and width), the file holds 10 values of uint8",) * 2,
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_idx_file_is_one_line(digits: Path, fault: str, packed: bool) -> None:
    content = damaged(fault, (digits / IMAGES).read_bytes())
    (digits / IMAGES).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UserError) as caught:
        first("idx", digits, images=IMAGES, labels=LABELS, batch=10)
    text = str(caught.value)
    assert text.startswith(str(digits / IMAGES))
    assert FAULTS[fault][packed] in text
    assert "\n" not in text


def test_a_gzip_file_cut_short(digits: Path) -> None:
    packed = gzip.compress((digits / IMAGES).read_bytes())
    (digits / IMAGES).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=rf"{IMAGES}: the file is (damaged or )?cut short"):
        first("idx", digits, images=IMAGES, labels=LABELS, batch=10)


def test_a_gzip_file_with_a_wrong_checksum(digits: Path) -> None:
    packed = bytearray(gzip.compress((digits / IMAGES).read_bytes()))
    packed[-6] ^= 1
    (digits / IMAGES).write_bytes(packed)
    with pytest.raises(UserError, match=IMAGES):
        first("idx", digits, images=IMAGES, labels=LABELS, batch=10)


def test_counts_that_differ_and_labels_out_of_range(digits: Path) -> None:
    write_idx(digits / LABELS, np.zeros(9, np.uint8))
    with pytest.raises(UserError, match=r"holds 10 images, .* 9 labels"):
        first("mnist", digits, path=".", batch=1)
    write_idx(digits / LABELS, np.full(10, 10, np.uint8))
    with pytest.raises(UserError, match=r"label 10 of record 0 is outside 0\.\.9"):
        first("mnist", digits, path=".", batch=1)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for images, text in {"a": "there is no such file", ".": "this is a folder", "a\0": "cannot be read"}.items():
        with pytest.raises(UserError, match=text):
            first("idx", tmp_path, batch=1, images=images, labels="b")
    with pytest.raises(UserError, match="there are no train-images-idx3-ubyte"):
        first("mnist", tmp_path, path=".", batch=1)
    with pytest.raises(UserError, match="data_batch_1"):
        first("cifar10", tmp_path, path=".", batch=1)


def test_no_memory_is_asked_for_what_the_machine_cannot_hold(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "memory_limit", lambda: 100)
    with pytest.raises(UserError, match="more than this machine can hold"):
        first("idx", digits, images=IMAGES, labels=LABELS, batch=1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in ("npz", "cifar10", "image_list"):
        with pytest.raises(UserError, match="this is a pipe or a device"):
            open_data(spec(source, tmp_path, path="pipe", batch=1), mode="test")
    with pytest.raises(UserError, match="this is a pipe or a device"):
        open_data(spec("synthetic", tmp_path, shape=(1, 2, 2), mean="pipe", batch=1), mode="test")


def cifar_records(count: int, seed: int = 0) -> np.ndarray:
    records = pixels(count, 3073, seed=seed)
    records[:, 0] %= 10
    return records


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
def test_cifar10_file(tmp_path: Path, packed: str) -> None:
    records = cifar_records(7)
    content = records.tobytes()
    packings = {"": content, ".gz": gzip.compress(content), ".xz": lzma.compress(content)}
    (tmp_path / f"test_batch.bin{packed}").write_bytes(packings[packed])
    by_folder = first("cifar10", tmp_path, path=".", split="test", batch=7)
    by_file = first("cifar10", tmp_path, path=f"test_batch.bin{packed}", batch=7)
    np.testing.assert_array_equal(by_folder["image"], records[:, 1:].reshape(7, 3, 32, 32).astype(np.float32))
    np.testing.assert_array_equal(by_folder["label"], records[:, 0])
    np.testing.assert_array_equal(by_file["image"], by_folder["image"])


def test_cifar10_training_batches_are_one_after_the_other(tmp_path: Path) -> None:
    parts = [cifar_records(2, seed=number) for number in range(5)]
    for number, part in enumerate(parts, start=1):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(part.tobytes())
    batch = first("cifar10", tmp_path, path=".", batch=10)
    np.testing.assert_array_equal(batch["label"], np.concatenate(parts)[:, 0])
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_3\.bin is missing"):
        first("cifar10", tmp_path, path=".", batch=10)


def test_cifar10_faults(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(3072))
    with pytest.raises(UserError, match="not a CIFAR-10 file: 3,072 bytes"):
        first("cifar10", tmp_path, path="a.bin", batch=1)
    (tmp_path / "a.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(UserError, match="label 10 of record 0"):
        first("cifar10", tmp_path, path="a.bin", batch=1)
    (tmp_path / "a.xz").write_bytes(lzma.compress(cifar_records(3).tobytes())[:-40])
    with pytest.raises(UserError, match=r"a\.xz: the file is damaged or cut short"):
        first("cifar10", tmp_path, path="a.xz", batch=1)


def test_npz_columns_and_types(tmp_path: Path) -> None:
    write_npz(
        tmp_path / "rows.npz",
        x=pixels(5, 2, 3),
        tokens=np.arange(10, dtype=np.int64).reshape(5, 2),
        weight=np.linspace(0, 1, 5),
        keep=np.array([True, False, True, False, True]),
    )
    batch = first("npz", tmp_path, path="rows.npz", batch=5, scale=2.0)
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "x": "float32",
        "tokens": "int32",
        "weight": "float32",
        "keep": "bool",
    }
    np.testing.assert_array_equal(batch["x"], pixels(5, 2, 3) * np.float32(2))
    np.testing.assert_array_equal(batch["tokens"], np.arange(10).reshape(5, 2))
    tenfold = (ColumnTransform("y", (("scale", 10.0),)),)
    arrays, columns = ("weight", "x"), ("y", "x")
    chosen = first("npz", tmp_path, path="rows.npz", arrays=arrays, columns=columns, batch=2, transforms=tenfold)
    np.testing.assert_allclose(chosen["y"], [0, 2.5])
    np.testing.assert_array_equal(chosen["x"], pixels(5, 2, 3)[:2].astype(np.float32))


def test_npz_faults(tmp_path: Path) -> None:
    write_npz(tmp_path / "uneven.npz", x=np.zeros((5, 2)), y=np.zeros(4))
    write_npz(tmp_path / "object.npz", x=np.array([{}, 1], object))
    write_npz(tmp_path / "text.npz", x=np.array(["a", "b"]))
    write_npz(tmp_path / "scalar.npz", x=np.array(1.0))
    write_npz(tmp_path / "big.npz", x=np.array([2**40, 0]))
    write_npz(tmp_path / "whole.npz", x=np.array([1, 2]))
    (tmp_path / "none.npz").write_bytes(b"PK no zip")
    write_npz(tmp_path / "empty.npz")
    cases = {
        "uneven": "array `y` has 4 records, expected 5 records as `x`",
        "object": "`x` holds pickled objects, which are never read",
        "text": "array `x` holds <U1, expected numbers",
        "scalar": "array `x` has 0 records",
        "big": "holds 1099511627776, which is no i32",
        "none": "not a readable .npz file",
        "empty": "holds no arrays",
    }
    for name, text in cases.items():
        with pytest.raises(UserError) as caught:
            first("npz", tmp_path, path=f"{name}.npz", batch=1)
        assert text in str(caught.value)
        assert f"{name}.npz" in str(caught.value)
    with pytest.raises(UserError, match="there is no array `z`; it holds x, y"):
        first("npz", tmp_path, path="uneven.npz", arrays=("z",), batch=1)
    with pytest.raises(UserError, match="apply to the first column, `x`, which holds int32"):
        first("npz", tmp_path, path="whole.npz", batch=1, scale=0.5)


def test_an_npz_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776)}".ljust(117) + b"\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(UserError, match=r"`x` should take .* bytes after its header, there are 0"):
        first("npz", tmp_path, path="rows.npz", batch=1)


def test_synthetic_images_follow_from_their_seed_and_class() -> None:
    def images(seed: int, split: str = "train") -> dict[str, Array]:
        form = spec("synthetic", shape=(3, 8, 8), classes=4, records=200, seed=seed, batch=200, split=split)
        with open_data(form, mode="train") as opened:
            return opened.next().columns

    a, b, c = images(0), images(0), images(1)
    np.testing.assert_array_equal(a["image"], b["image"])
    assert (a["image"] != c["image"]).any()
    assert set(a["label"].tolist()) == {0, 1, 2, 3}
    assert a["image"].min() >= 0
    assert a["image"].max() <= 255
    means = np.stack([a["image"][a["label"] == label].mean(0) for label in range(4)])
    nearest = ((a["image"][:, None] - means) ** 2).sum((2, 3, 4)).argmin(1)
    assert (nearest == a["label"]).mean() > 0.99
    # Held out: other noise and labels, the same patterns; those of another seed are others.
    rest = images(0, "test")
    assert (rest["label"] != a["label"]).any()
    for found, alike in ((rest, True), (c, False)):
        nearest = ((found["image"][:, None] - means) ** 2).sum((2, 3, 4)).argmin(1)
        assert ((nearest == found["label"]).mean() > 0.99) == alike
    with pytest.raises(UserError, match="at least 1"):
        first("synthetic", shape=(3, 0), batch=1)
    with pytest.raises(UserError, match="more than this machine can hold"):
        first("synthetic", shape=(3, 4096, 4096), records=10**9, batch=1)
