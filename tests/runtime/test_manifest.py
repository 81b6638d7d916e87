"""What the Python launcher believes of a folder: nothing that it has not checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netc.deployment.manifest import check_architecture, read_file, read_manifest
from support.triton_folders import fake_library, settings, tiny_folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "net"
    tiny_folder(folder)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny, tmp_path / "net")
    return tmp_path / "net"


def change(folder: Path, edit: Callable[[Any], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def arch(manifest: Any) -> Any:
    return manifest["archs"]["cuda:90"]


def check(folder: Path) -> None:
    """All that the launcher reads before it does anything on the device."""
    manifest = read_manifest(str(folder))
    for table in manifest["archs"].values():
        check_architecture(table, manifest["weights"]["bytes"])
        for kernel in table["kernels"].values():
            read_file(str(folder), manifest, kernel["code"])
    read_file(str(folder), manifest, manifest["weights"]["file"])


def put(*path: str, value: Any) -> Callable[[Any], None]:
    def edit(manifest: Any) -> None:
        found = manifest
        for key in path[:-1]:
            found = found[int(key) if isinstance(found, list) else key]
        found[int(path[-1]) if isinstance(found, list) else path[-1]] = value

    return edit


A = ("archs", "cuda:90")
EDITS = {
    "another format": put("format", value=2),
    "another target": put("target", value="numpy"),
    "no files": put("files", value=[]),
    "no architectures": put("archs", value=None),
    "a file outside": put(*A, "kernels", "score", "code", value="../../secret"),
    "an absolute file": put(*A, "kernels", "score", "code", value="/etc/passwd"),
    "a file in a folder of a folder": put(*A, "kernels", "score", "code", value="a/b/c"),
    "a file that is no text": put(*A, "kernels", "score", "code", value=7),
    "a file that is not listed": put(*A, "kernels", "score", "code", value="cuda_90/other.cubin"),
    "another checksum": put("files", "cuda_90/score.cubin", "sha256", value="0" * 64),
    "another size": put("files", "cuda_90/score.cubin", "bytes", value=5),
    "weights outside": put("weights", "file", value="../weights.bin"),
    "more weights than memory": put("weights", "bytes", value=1 << 39),
    "absurd weights": put("weights", "bytes", value=1 << 60),
    "absurd memory": put(*A, "memory", "bytes", value=1 << 50),
    "negative memory": put(*A, "memory", "bytes", value=-1),
    "memory that is no number": put(*A, "memory", "bytes", value="many"),
    "memory that is true": put(*A, "memory", "bytes", value=True),
    "scratch outside": put(*A, "memory", "scratch", value=1 << 30),
    "a base outside": put(*A, "memory", "bases", "arena", "start", value=1 << 30),
    "a base too large": put(*A, "memory", "bases", "arena", "bytes", value=1 << 30),
    "a grid of none": put(*A, "launches", "1", "grid", value=[0, 1, 1]),
    "a grid too large": put(*A, "launches", "1", "grid", value=[1 << 40, 1, 1]),
    "a grid of two": put(*A, "launches", "1", "grid", value=[1, 1]),
    "a launch of nothing": put(*A, "launches", "1", "kernel", value="nothing"),
    "a launch at no time": put(*A, "launches", "1", "phase", value="never"),
    "an argument outside": put(*A, "launches", "1", "arguments", "0", "offset", value=1 << 30),
    "an argument before": put(*A, "launches", "1", "arguments", "0", "offset", value=-16),
    "an argument of nothing": put(*A, "launches", "1", "arguments", "0", "base", value="nothing"),
    "too many threads": put(*A, "kernels", "score", "threads", value=4096),
    "no symbol": put(*A, "kernels", "score", "symbol", value=None),
    "an output outside": put(*A, "outputs", "prob", "start", value=1 << 20),
    "a long stride": put(*A, "outputs", "prob", "strides", value=[1 << 30, 1]),
    "an absurd shape": put(*A, "outputs", "prob", "shape", value=[1 << 30, 1 << 30]),
    "a shape of another rank": put(*A, "outputs", "prob", "shape", value=[40]),
    "no element type": put(*A, "inputs", "image", "stored", value="f31"),
    "no launches": put(*A, "launches", value={}),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_manifest_that_says_what_cannot_be(copy: Path, name: str) -> None:
    check(copy)
    change(copy, EDITS[name])
    with pytest.raises(ValueError) as caught:
        check(copy)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "7", "[" * 100_000, '{"format": 1}', "\xff"])
def test_no_manifest(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match="manifest"):
        check(copy)


def test_files_that_are_missing_or_changed(copy: Path) -> None:
    for name in ("cuda_90/score.cubin", "weights.bin"):
        data = (copy / name).read_bytes()
        for broken in (None, b"", data[:-1] + bytes([data[-1] ^ 1]), data + b"x"):
            (copy / name).unlink()
            if broken is not None:
                (copy / name).write_bytes(broken)
            else:
                (copy / name).mkdir()
            with pytest.raises(ValueError, match=name):
                check(copy)
            if broken is None:
                (copy / name).rmdir()
            (copy / name).write_bytes(data)
    check(copy)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_library(tmp_path_factory.mktemp("fake") / "libcuda.so.1")


def run(folder: Path, library: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    env = settings(manifest, "cuda:90", folder.parent / "record", LD_LIBRARY_PATH=str(library.parent), **more)
    return subprocess.run(
        [sys.executable, folder / "netc_program.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )


def test_the_command_line(copy: Path, library: Path, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "in.npz", image=np.zeros((4, 1, 8, 8), np.float32))
    done = run(copy, library, tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    assert (done.returncode, done.stdout) == (0, "prob: float32[4, 10]\n"), done.stderr
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["prob"].sum(1), np.ones(4), rtol=1e-5)
    assert run(copy, library, tmp_path / "in.npz").stdout.count("\n") == 5


def test_mistakes_on_the_command_line_are_one_line(copy: Path, library: Path, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "small.npz", image=np.zeros((4, 1, 8, 7), np.float32))
    np.savez(tmp_path / "other.npz", picture=np.zeros((4, 1, 8, 8), np.float32))
    np.savez(tmp_path / "text.npz", image=np.full((4, 1, 8, 8), "x"))
    (tmp_path / "text").write_text("nothing")
    for name in ("small.npz", "other.npz", "text.npz", "text", "none"):
        done = run(copy, library, tmp_path / name)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "Traceback" not in done.stderr
    assert "usage" in run(copy, library).stderr
    change(copy, EDITS["absurd memory"])
    done = run(copy, library, tmp_path / "small.npz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "bytes of memory" in done.stderr


def test_without_a_driver_it_says_so(copy: Path, tmp_path: Path) -> None:
    env = {**os.environ, "LD_LIBRARY_PATH": ""}
    code = "import sys; sys.path.insert(0, sys.argv[1]); from netc_program import Net; Net(library='/nothing')"
    done = subprocess.run([sys.executable, "-c", code, copy], capture_output=True, text=True, env=env, check=False)
    assert "there is no driver here: /nothing cannot be loaded" in done.stderr
