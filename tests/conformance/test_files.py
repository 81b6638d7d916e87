"""Files that the real Caffe wrote, and strangers' trained models: read, and written again to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.hdf5 import read_model_hdf5, read_solver_state_hdf5
from netc.runtime.caffe.mean import read_blob_file, write_mean
from netc.runtime.caffe.model import NET_V1, read_model, write_model
from netc.runtime.caffe.solver_state import read_solver_state, write_solver_state
from support.caffe import CONFORMANCE

FILES = CONFORMANCE / "files"
STRANGERS = CONFORMANCE.parent / "data" / "models"

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")

WEIGHTS = [*sorted(FILES.glob("*.caffemodel")), *sorted(STRANGERS.glob("*/*.caffemodel"))]
STATES = sorted(FILES.glob("*.solverstate"))


def contents() -> dict[str, Any]:
    """What the real readers find in each file: shapes, sums and first values."""
    found: dict[str, Any] = json.loads((FILES / "models.json").read_text())
    return found


def agree(blobs: Sequence[Blob], wanted: Sequence[dict[str, Any]]) -> None:
    for blob, said in zip(blobs, wanted, strict=True):
        assert list(blob.shape) == said["shape"]
        assert float(blob.data.sum(dtype=np.float64)) == pytest.approx(said["sum"], rel=1e-6, abs=1e-6)
        first = blob.data.reshape(-1)[: len(said["first"])]
        np.testing.assert_array_equal(first, np.float32(said["first"]))


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.name)
def test_a_model_is_written_to_the_bytes_that_caffe_wrote(path: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "copy", read_model(path))
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.name)
def test_a_state_is_written_to_the_bytes_that_caffe_wrote(path: Path, tmp_path: Path) -> None:
    state = read_solver_state(path)
    said = contents()[path.name]
    assert (state.iter, state.current_step, state.learned_net) == (
        said["iter"],
        said["current_step"],
        said["learned_net"],
    )
    agree(state.history, said["history"])
    write_solver_state(tmp_path / "copy", state)
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_models_hold_what_caffe_finds_in_them() -> None:
    for path in sorted(FILES.glob("*.caffemodel")):
        said = contents()[path.name]
        model = read_model(path)
        if model.form == NET_V1:
            continue  # what read them looked at today's form alone
        held = [(layer.name, layer.type) for layer in model.layers]
        assert held == [(layer["name"], layer["type"]) for layer in said]
        for layer, wanted in zip(model.layers, said, strict=True):
            agree(layer.blobs, wanted["blobs"])


def test_the_form_of_2014_is_seen() -> None:
    assert read_model(FILES / "v1_legacy.caffemodel").form == NET_V1


@pytest.mark.parametrize("path", sorted(FILES.glob("tiny_*.caffemodel.h5")), ids=lambda path: path.name)
def test_hdf5_holds_the_same(path: Path) -> None:
    found = {layer.name: layer.blobs for layer in read_model_hdf5(path).layers}
    raw = {layer.name: layer.blobs for layer in read_model(path.with_suffix("")).layers}
    assert found.keys() == raw.keys()
    for name, blobs in raw.items():
        for ours, theirs in zip(found[name], blobs, strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data)
    states = [
        read(path.parent / path.name.replace(".caffemodel.h5", end))
        for read, end in ((read_solver_state_hdf5, ".solverstate.h5"), (read_solver_state, ".solverstate"))
    ]
    assert (states[0].iter, states[0].current_step) == (states[1].iter, states[1].current_step)
    for ours, theirs in zip(states[0].history, states[1].history, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)


def test_the_mean_that_caffe_computed(tmp_path: Path) -> None:
    path = FILES / "mean.binaryproto"
    write_mean(tmp_path / "copy", read_blob_file(path)[0])
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
