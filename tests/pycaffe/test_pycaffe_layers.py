"""`caffe.Net` against what the real Caffe computed, case by case: blobs, losses, diffs of blobs and of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
from netc.caffe.core import Core
from netc.caffe.net import Net
from netc.caffe.table import net_of_text, table
from support.caffe import CONFORMANCE
from support.caffe.cases import Case

FOLDER = CONFORMANCE / "layers"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))
UNDEFINED = ("Pooling__ave_k1_s2", "Pooling__max_k1_s2")  # in Caffe itself
# Caffe's in-place ReLU tells the sign from its output, which the in-place Scale after it has overwritten by then.
OVERWRITTEN = {"Graph__inplace_chain": {"diff/x", "pdiff/ip1/0", "pdiff/ip1/1"}}
TOLERANCE = 1e-5


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNDEFINED])
def test_case(name: str) -> None:
    case = Case.read(FOLDER / f"{name}.npz")
    phase = case.meta["phase"]
    net = Net.of(Core(table(net_of_text(case.text, name), phase), getattr(caffe, phase)))
    compared = 0

    def same(key: str, got: Any, want: np.ndarray[Any, Any]) -> None:
        nonlocal compared
        compared += 1
        if key in OVERWRITTEN.get(name, ()):
            return
        assert np.shape(got) == want.shape, key
        scale = np.nanmax(np.abs(want), initial=0.0)
        np.testing.assert_allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=key)

    def parameter(key: str) -> Any:
        layer, _, number = key.rpartition("/")
        return net.params[layer][int(number)]

    for key, value in case.under("param").items():
        parameter(key).data[...] = value
    for at in ["", *(f"@{k}" for k in range(1, case.meta["steps"]))]:
        for blob, value in case.under(f"in{at}").items():
            net.blobs[blob].reshape(*value.shape)
            net.blobs[blob].data[...] = value
        same(f"loss{at}", net._forward(0, len(net.layers) - 1), case.arrays[f"loss{at}"])
        for blob, value in case.under(f"out{at}").items():
            same(f"out{at}/{blob}", net.blobs[blob].data, value)
    for key, value in case.under("param_after").items():
        same(f"param_after/{key}", parameter(key).data, value)
    if case.meta["has_backward"]:
        for blob, value in case.under("topdiff").items():
            net.blobs[blob].diff[...] = value
        net._backward(len(net.layers) - 1, 0)
        for group in ("diff", "mid"):
            for blob, value in case.under(group).items():
                same(f"{group}/{blob}", net.blobs[blob].diff, value)
        for key, value in case.under("pdiff").items():
            same(f"pdiff/{key}", parameter(key).diff, value)
    assert compared
