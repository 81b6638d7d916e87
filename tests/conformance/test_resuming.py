"""A solver of Caffe's that goes on from the real Caffe's files, to the losses and the weights that Caffe came to."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from netc.runtime.caffe.model import read_model
from netc.runtime.tensors import read_tensors
from support.caffe import CONFORMANCE
from support.commands import run

FILES = CONFORMANCE / "files"

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")


def test_lenet_goes_on_from_step_5_to_caffes_step_10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solver, net, database, weights and histories are Caffe's; so is the log that losses are compared with."""
    monkeypatch.chdir(tmp_path)
    solver, state = FILES / "lenet_solver.prototxt", FILES / "lenet_iter_5.solverstate"
    status, printed, told = run("train", solver, "--solverstate", state, "--folder", "run")
    assert status == 0, told
    ours = read_tensors(Path("run/LeNet.safetensors"))
    compared = 0
    for layer in read_model(FILES / "lenet_iter_10.caffemodel").layers:
        for name, blob in zip(("weight", "bias"), layer.blobs, strict=False):
            np.testing.assert_allclose(ours[f"{layer.name}.{name}"], blob.data, atol=1e-6)
            compared += 1
    assert compared == 8
    log = (FILES / "lenet_resume.log").read_text()
    wanted = [float(loss) for loss in re.findall(r"Iteration [5-9] \(.*, loss = (\S+)", log)]
    assert len(wanted) == 5
    losses = [float(loss) for loss in re.findall(r"step \d+ of 10  loss (\S+)", printed)]
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
