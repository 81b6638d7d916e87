"""Whole nets against the real Caffe: every blob, the loss and all gradients, by sum, norm and samples."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from netc.compiler.interpret import evaluate
from support.caffe import CONFORMANCE
from support.caffe.cases import Array, Arrays, Case, Evaluate, build, on_numpy, run

FOLDER = CONFORMANCE / "nets"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))

# Sums of thousands of float32 terms in Caffe; relative to the norm or the largest value.
TOLERANCE = 2e-5


def drawn(seed: str) -> np.random.RandomState:
    return np.random.RandomState(crc32(seed.encode()) & 0x7FFFFFFF)


def inputs_of(name: str, wanted: dict[str, Any]) -> Arrays:
    """The inputs of a case, drawn again as the folder's README says."""
    made: Arrays = {}
    for blob, how in wanted.items():
        rng, shape = drawn(f"net:{name}:{blob}"), tuple(how["shape"])
        if how["kind"] == "normal":
            made[blob] = rng.standard_normal(shape) * how["arg"]
        else:
            made[blob] = rng.uniform(0, 1, shape) if how["kind"] == "uniform" else rng.randint(0, how["arg"], shape)
    return {blob: value.astype(np.float32) for blob, value in made.items()}


def parameters_of(name: str, wanted: list[Any]) -> Arrays:
    made: Arrays = {}
    for layer, i, shape, std, first, total in wanted:
        value = (drawn(f"param:{name}:{layer}:{i}").standard_normal(shape) * std).astype(np.float32)
        assert value.flat[0] == pytest.approx(first)
        assert value.sum(dtype=np.float64) == pytest.approx(total, rel=1e-4, abs=1e-4)
        made[f"{layer}/{i}"] = value
    return made


def case_of(file: Arrays, name: str) -> Case:
    """The file as a case: what Caffe wrote only in part is asked for whole, with zeros as its place."""
    meta = {**json.loads(str(file["meta"])), "steps": 1}
    inputs, parameters = inputs_of(name, meta["inputs"]), parameters_of(name, meta["params"])
    arrays: Arrays = {f"in/{k}": v for k, v in inputs.items()} | {f"param/{k}": v for k, v in parameters.items()}
    for key, value in file.items():
        kind, _, what = key.partition("/")
        if kind == "blob_stat" and what not in inputs:
            arrays[f"out/{what}"] = np.zeros(())
        elif kind == "pdiff_stat":
            arrays[f"pdiff/{what}"] = np.zeros(parameters[what].shape)
        elif kind == "diff_stat":
            arrays[f"diff/{what}"] = np.zeros(inputs[what].shape)
        elif kind in ("topdiff", "loss"):
            arrays[key] = value
    if not any(key.startswith("topdiff/") for key in arrays):
        arrays |= {f"topdiff/{blob}": np.ones((), np.float32) for blob in meta["outputs"]}
    return Case(name, arrays, meta, str(file["prototxt"]))


def compare(value: Array, statistics: Array, samples: Array, what: str) -> None:
    """Sum, norm (and largest value), and eight elements, against Caffe's."""
    wide = value.astype(np.float64)
    norm = float(np.sqrt((wide**2).sum()))
    assert norm == pytest.approx(statistics[1], rel=TOLERANCE), what
    assert wide.sum() == pytest.approx(statistics[0], rel=TOLERANCE, abs=TOLERANCE * norm * value.size**0.5), what
    if len(statistics) == 3:
        assert wide.max() == pytest.approx(statistics[2], rel=TOLERANCE), what
    picked = wide.ravel()[np.linspace(0, value.size - 1, 8).astype(int)]
    np.testing.assert_allclose(picked, samples, rtol=TOLERANCE, atol=TOLERANCE * np.abs(wide).max(), err_msg=what)


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
@pytest.mark.parametrize(
    "how", [pytest.param(evaluate, id="oracle"), pytest.param(on_numpy(fused=True, threads=2), id="numpy")]
)
@pytest.mark.parametrize("name", NAMES)
def test_net(name: str, how: Evaluate) -> None:
    with np.load(FOLDER / f"{name}.npz") as npz:
        file = {key: npz[key] for key in npz.files}
    got = run(build(case_of(file, name)), how)
    assert got["loss"] == pytest.approx(float(file["loss"]), rel=TOLERANCE)
    compared = 0
    for key, statistics in file.items():
        kind, _, what = key.partition("_stat/")
        ours = f"{'out' if kind == 'blob' else kind}/{what}"
        if what and ours in got:
            compare(got[ours], statistics, file[f"{kind}_samp/{what}"], key)
            compared += 1
    assert compared == len(got) - 1
