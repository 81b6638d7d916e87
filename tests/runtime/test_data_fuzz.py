"""Files with random damage: a source reads them, or says in one line what is wrong. Nothing else is raised."""

from __future__ import annotations

import gzip
import io
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from netc.compiler.program import UserError
from support.data_files import first, idx_bytes, pixels

IDX = idx_bytes(pixels(4, 6, 5))
LABELS = idx_bytes(np.arange(4, dtype=np.uint8))


def npz_bytes(compressed: bool) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, x=pixels(4, 3), y=np.arange(4))
    return file.getvalue()


def image_bytes(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(6, 5, 3)).save(file, kind)
    return file.getvalue()


NPZ = {compressed: npz_bytes(compressed) for compressed in (False, True)}
IMAGES = {kind: image_bytes(kind) for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")}
CIFAR = (pixels(2, 3073) % 10).tobytes()

edits = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "drop"]), st.floats(0, 1), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)


def damage(content: bytes, changes: list[tuple[str, float, int]], head: int | None = None) -> bytes:
    """Change some bytes, of the first `head` if that is given."""
    for kind, where, value in changes:
        at = int(where * min(len(content), head or len(content)))
        if kind == "set":
            content = content[:at] + bytes([value]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "insert":
            content = content[:at] + bytes([value]) * (1 + value % 5) + content[at:]
        else:
            content = content[:at] + content[at + 1 + value % 5 :]
    return content


def opened_or_refused(source: str, folder: Path, **more: Any) -> None:
    try:
        batch = first(source, folder, batch=2, **more)
    except UserError as error:
        said = str(error)
    else:
        said = "read"
        assert all(len(array) == 2 for array in batch.values())
    assert said.isprintable()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@given(edits, edits, st.sampled_from(["plain", "gzip", "inside"]))
@settings(max_examples=150, deadline=None)
def test_idx(
    folder: Path, images: list[tuple[str, float, int]], labels: list[tuple[str, float, int]], how: str
) -> None:
    content = damage(IDX, images, head=18)
    if how == "gzip":
        content = gzip.compress(content)
    elif how == "inside":
        content = damage(gzip.compress(IDX), images)
    (folder / "a").write_bytes(content)
    (folder / "b").write_bytes(damage(LABELS, labels, head=9) if len(labels) > 1 else LABELS)
    opened_or_refused("idx", folder, images="a", labels="b")


@given(edits, st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_npz(folder: Path, changes: list[tuple[str, float, int]], compressed: bool, header: bool) -> None:
    (folder / "a.npz").write_bytes(damage(NPZ[compressed], changes, head=140 if header else None))
    opened_or_refused("npz", folder, path="a.npz")


@given(edits, st.booleans())
@settings(max_examples=60, deadline=None)
def test_cifar10(folder: Path, changes: list[tuple[str, float, int]], packed: bool) -> None:
    (folder / "a.bin").write_bytes(damage(lzma.compress(CIFAR) if packed else CIFAR, changes))
    opened_or_refused("cifar10", folder, path="a.bin")


@given(edits, st.sampled_from(sorted(IMAGES)), st.booleans())
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged tags
def test_images(folder: Path, changes: list[tuple[str, float, int]], kind: str, whole: bool) -> None:
    (folder / "a.img").write_bytes(damage(IMAGES[kind], changes, head=None if whole else 60))
    (folder / "a.txt").write_text("a.img 1\n")
    opened_or_refused("image_list", folder, path="a.txt", gray=True)


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_image_lists(folder: Path, text: str) -> None:
    (folder / "a.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
    opened_or_refused("image_list", folder, path="a.txt")


@given(edits)
@settings(max_examples=100, deadline=None)
def test_mean_files(folder: Path, changes: list[tuple[str, float, int]]) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((1, 4, 4), np.float32))
    (folder / "mean.npy").write_bytes(damage(file.getvalue(), changes))
    opened_or_refused("synthetic", folder, shape=(1, 4, 4), records=4, mean="mean.npy")
