"""Our layers against what the real Caffe computed, case by case: values, losses, gradients, statistics.

By the oracle in double and single precision, and by the numpy target fused, unfused and on two threads. The folder of
cases is `../shared/conformance/layers`, or below NETC_SHARED; without it these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.grammar.source import SourceErrors
from support.caffe import CONFORMANCE
from support.caffe.cases import Array, Arrays, Case, Evaluate, build, on_numpy, run

FOLDER = CONFORMANCE / "layers"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))

# Caffe's own result is undefined (it reads or writes outside of its input): we refuse.
UNDEFINED = {
    "Pooling__ave_k1_s2": "the last of 4 windows begins at 6, outside of its input, 6 x 5",
    "Pooling__max_k1_s2": "the last of 4 windows begins at 6, outside of its input, 6 x 5",
}
COVERED = [name for name in NAMES if name not in UNDEFINED]

# Caffe's in-place ReLU tells the sign from its output, which the in-place Scale after it has overwritten by then.
OVERWRITTEN = {"Graph__inplace_chain": {"diff/x", "pdiff/ip1/0", "pdiff/ip1/1"}}

# Relative to the largest value of the array, since Caffe's own float32 sums are no better.
TOLERANCE = 1e-5


def float32(graph: Graph, feeds: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
    return evaluate(graph, feeds, wide=False)


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(evaluate, id="float64"),
        pytest.param(float32, id="float32"),
        pytest.param(on_numpy(fused=True), id="fused"),
        pytest.param(on_numpy(fused=False), id="unfused"),
        pytest.param(on_numpy(fused=True, threads=2), id="threads"),
    ],
)
@pytest.mark.parametrize("name", COVERED)
def test_case(name: str, how: Evaluate) -> None:
    case = Case.read(FOLDER / f"{name}.npz")
    built = build(case)
    got = run(built, how)
    assert len(got) == len(built.wanted)
    for key, (caffe, want) in built.wanted.items():
        if caffe in OVERWRITTEN.get(name, ()):
            continue
        assert got[key].shape == want.shape, caffe
        scale = np.nanmax(np.abs(want), initial=0.0)
        np.testing.assert_allclose(got[key], want, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=caffe)


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
@pytest.mark.parametrize(("name", "message"), UNDEFINED.items())
def test_what_is_undefined_in_caffe_is_an_error_here(name: str, message: str) -> None:
    with pytest.raises(SourceErrors, match=message):
        build(Case.read(FOLDER / f"{name}.npz"))


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
def test_every_array_of_a_case_is_compared() -> None:
    """No case is lost, and no array of a case: what Caffe wrote is an input of ours or is wanted of us."""
    assert len(COVERED) == 209
    assert len(COVERED) + len(UNDEFINED) == len(NAMES)
    for name in COVERED:
        case = Case.read(FOLDER / f"{name}.npz")
        compared = {key for key, _ in build(case).wanted.values()}
        given = {key for key in case.arrays if key.split("/")[0].split("@")[0] in ("in", "param", "topdiff")}
        statistics = {key for key in case.arrays if key.startswith("pdiff/") and not case.arrays[key].any()}
        assert set(case.arrays) - given - compared <= statistics, name


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
def test_the_gradients_that_caffe_overwrites_are_explained() -> None:
    """With the sign of what stands in the ReLU's place at the end, the numbers are Caffe's."""
    case = Case.read(FOLDER / "Graph__inplace_chain.npz")
    a = case.arrays
    got = run(build(case), evaluate)
    scores, label = a["out/b"], a["in/label"].astype(int)
    p = np.exp(scores - scores.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True) - np.eye(scores.shape[1])[label]
    after = p / len(label) @ a["param/ip2/0"] * a["param/sc/0"]
    before = a["in/x"] @ a["param/ip1/0"].T + a["param/ip1/1"]
    for sign_of, want in ((a["out/a"], a["diff/x"]), (before, got["diff/x"])):
        np.testing.assert_allclose(after * (sign_of > 0) @ a["param/ip1/0"], want, rtol=1e-5, atol=1e-6)
