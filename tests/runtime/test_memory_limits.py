"""Memory: what the machine, a container and the shell allow; and what files may take of it."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.runtime import memory
from netc.runtime.data.arrays import read_npz
from netc.runtime.data.idx import open_idx

ROOT = Path(__file__).parents[2]


def peak(code: str, *arguments: object) -> int:
    """The most bytes that a process of its own held while it ran this code."""
    told = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{told}", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(result.stdout)


@pytest.mark.parametrize("group", ["/", "/a/b", "/a"])
def test_a_control_group_limits(group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that lies around this process's own."""
    (tmp_path / "own").write_text(f"0::{group}\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "memory.max").write_text("max\n")
    (tmp_path / group.lstrip("/").split("/")[0] / "memory.max").write_text("123456\n")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN", tmp_path / "own")
    assert memory.available() == 123456


def test_the_shells_limit_counts() -> None:
    pytest.importorskip("resource")
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
    code += "from netc.runtime.memory import available; print(available())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert int(done.stdout) <= 1 << 31


def test_a_compressed_file_is_held_once(tmp_path: Path) -> None:
    """The values of a large file lie in memory once, in the machine's byte order."""
    count = 1 << 25
    for code, letter in ((0x0B, "h"), (0x0D, "f")):
        path = tmp_path / f"{letter}.gz"
        size = struct.calcsize(letter)
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(struct.pack(">HBBI", 0, code, 1, count))
            for _ in range(count * size >> 20):
                file.write(bytes(1 << 20))
        read = "from pathlib import Path\nfrom netc.runtime.data.idx import open_idx\n"
        before = peak(read)
        after = peak(f"{read}array = open_idx(Path(sys.argv[1])).read()\nassert array.dtype.isnative", path)
        assert after - before < 1.25 * count * size


def test_the_order_of_bytes_is_turned_around(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.25], [3e5, 0]])
    for code, dtype in ((0x0D, ">f4"), (0x0E, ">f8"), (0x0C, ">i4"), (0x08, ">u1")):
        given = values.astype(dtype) if dtype != ">u1" else np.array([[1, 2], [3, 255]], ">u1")
        (tmp_path / "x").write_bytes(struct.pack(">HBBII", 0, code, 2, 2, 2) + given.tobytes())
        read = open_idx(tmp_path / "x").read()
        assert read.dtype.isnative
        np.testing.assert_array_equal(read, given)


def test_more_classes_than_records_take_no_more_memory() -> None:
    code = """
from netc.compiler.spec import DataSpec
from netc.runtime.data.opening import open_data
from pathlib import Path
settings = {"shape": (1, 4, 4), "classes": int(sys.argv[1]), "records": 64, "batch": 4}
open_data(DataSpec("made", "synthetic", tuple(settings.items()), Path()), mode="test").next()
"""
    assert peak(code, 100_000_000) - peak(code, 10) < 1 << 24


def test_a_shape_of_truth_values_is_no_shape(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 1, 4, 4), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("image.npy", content)
    with pytest.raises(UserError, match="`image`"):
        read_npz(tmp_path / "x.npz", ["image"])
