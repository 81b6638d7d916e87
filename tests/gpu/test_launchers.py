"""Folders of `netc compile --target triton` on a real GPU: both launchers compute what the numpy target does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.runtime.triton.compile.architectures import KNOWN
from netc.runtime.triton.run.opening import driver_present, open_cuda
from support.triton_folders import STRICT, include

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
pytestmark = pytest.mark.gpu

STEP = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from netc_program import Net
given = dict(np.load(sys.argv[2]))
with Net() as net:
    for _ in range(3):
        found = net(**given)
    np.savez(sys.argv[3], weight=net.get("conv2.weight"), step=net.get(".step"), nll=found["nll"])
"""


@pytest.fixture(scope="module")
def arch() -> str:
    """The GPU's architecture; without one that is known everything here is skipped."""
    if not driver_present():
        pytest.skip("this machine has no driver for a GPU")
    try:
        found = open_cuda().arch
    except netc.UserError as error:
        pytest.skip(str(error))
    if found not in KNOWN:
        pytest.skip(f"kernels are not compiled ahead of time for {found}")
    return found


def test_classify_in_python_and_in_c(arch: str, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    netc.export(LENET, folder, target="triton", archs=[arch], dims={"N": 2}, seed=3, untrained=True)
    raw = np.random.default_rng(0).integers(0, 256, (1, 28, 28)).astype(np.uint8)
    image = np.zeros((2, 1, 28, 28), np.float32)
    image[0] = raw / np.float32(256)
    plain = netc.compile(LENET, target="numpy", dims={"N": 2}, outputs=["prob"], seed=3)
    prob = plain(image=image)["prob"]

    np.savez(tmp_path / "in.npz", image=image)
    command: list[Any] = [sys.executable, folder / "netc_program.py", tmp_path / "in.npz", "-o", tmp_path / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["prob"], prob, rtol=1e-4, atol=1e-6)

    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    driver = next((p for d in ("/usr/lib", "/usr/local", "/lib") for p in Path(d).rglob("libcuda.so.1")), None)
    if driver is None:
        pytest.skip("libcuda.so.1 is not where it is looked for")
    sources = [folder / "main.c", folder / "netc_program.c"]
    build: list[Any] = [compiler, *STRICT, f"-I{include()}", *sources, driver, "-o", tmp_path / "classify"]
    subprocess.run(build, check=True)
    (tmp_path / "image.u8").write_bytes(raw.tobytes())
    classify: list[Any] = [tmp_path / "classify", folder, tmp_path / "image.u8"]
    done = subprocess.run(classify, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    found = {int(n): float(p) for n, p in (line.split() for line in done.stdout.splitlines())}
    best = np.argsort(-prob[0], kind="stable")[:5].tolist()
    assert list(found) == best
    np.testing.assert_allclose(list(found.values()), prob[0][best], atol=2e-4)


def test_a_training_step(arch: str, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    netc.export(LENET, folder, target="triton", archs=[arch], dims={"N": 8}, update=True, seed=3)
    rng = np.random.default_rng(0)
    image = rng.random((8, 1, 28, 28), np.float32)
    label = rng.integers(0, 10, 8).astype(np.int32)
    rate = np.float32(0.01)
    feeds: dict[str, Any] = {"image": image, "label": label, ".rate": rate}
    np.savez(tmp_path / "in.npz", **feeds)
    command: list[Any] = [sys.executable, "-c", STEP, folder, tmp_path / "in.npz", tmp_path / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    step: Any = netc.compile(LENET, mode="train", target="numpy", dims={"N": 8}, seed=3)
    for _ in range(3):
        outputs = step(**feeds)
    with np.load(tmp_path / "out.npz") as found:
        assert found["step"] == 3
        np.testing.assert_allclose(found["nll"], outputs["nll"], rtol=1e-4)
        np.testing.assert_allclose(found["weight"], step.state["conv2.weight"], rtol=1e-3, atol=1e-5)
