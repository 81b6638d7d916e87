"""Our solvers on trajectories that the real Caffe computed: rates, losses, parameters and histories."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.caffe import CONFORMANCE
from support.caffe.solver_cases import Trajectory

FOLDER = CONFORMANCE / "solvers"
CASES = sorted(FOLDER.glob("*.npz"))

pytestmark = pytest.mark.skipif(not CASES, reason=f"{FOLDER} is absent")


def _near(ours: np.ndarray, caffes: np.ndarray, what: str) -> None:
    # Caffe computes in single precision, so its own rounding is what separates the two.
    scale = max(float(np.abs(caffes).max(initial=0.0)), 1e-3)
    np.testing.assert_allclose(ours, caffes, rtol=2e-4, atol=2e-5 * scale, err_msg=what)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_trajectory(path: Path, tmp_path: Path) -> None:
    case = Trajectory.read(path, tmp_path)
    compared = 0
    state = case.first()
    for i, (losses, state) in enumerate(case.steps(), 1):
        first = (i - 1) * case.batches
        _near(np.array(losses), case.arrays["loss"][first : first + case.batches], f"losses of iteration {i}")
        for key, name in case.blobs.items():
            if f"it{i}/{key}" in case.arrays:
                compared += 1
                if _unlearnable(case, key):
                    continue
                _near(case.view(state, name), case.arrays[f"it{i}/{key}"], f"{key} after iteration {i}")
    np.testing.assert_allclose(case.rates()[1:], case.arrays["lr_after"], rtol=1e-6)
    assert compared >= len(case.blobs)
    _histories(case, state)


def _unlearnable(case: Trajectory, key: str) -> bool:
    """A bias before a batch norm: its gradient is 0, and what Caffe has is rounding, which adaptive solvers blow up."""
    return "bn/0" in case.blobs and key in ("conv/1", "bn/0")


def _histories(case: Trajectory, state: dict[str, np.ndarray]) -> None:
    sets = sum(name.startswith(".history") for name in case.first())
    blobs = list(case.blobs.items())
    for j in range(sets):
        for i, (key, name) in enumerate(blobs):
            if _unlearnable(case, key):
                continue
            if any(info.name == name and info.buffer == ".parameters" for info in case.layout):
                _near(case.view(state, name, f".history{j}"), case.arrays[f"history/{j * len(blobs) + i}"], key)
