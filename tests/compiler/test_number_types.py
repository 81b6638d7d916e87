"""Each number of a file is one of the type that it has where it stands: refused there, or right in every pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler import ops
from netc.compiler.graph import Node
from netc.compiler.ops.base import TypeRuleError

TEXT = """
net n() {
    input x: f32[N, 4]
    input y: i32[N]
    z = x |> linear(3, LAYER) as s
    h = mean(cast(x, HALF))
    loss(weight: WEIGHT) l = softmax_loss(z, y)
    loss(weight: OTHER) k = h
}
data d = synthetic(batch: 4, shape: [4], classes: 3, columns: [x, y])
data e = mnist(batch: 4, DATA)
train n {
    from: d
    solver: SOLVER
    steps: 2
    clip: CLIP
}
"""
DEFAULTS = {
    "SOLVER": "sgd(lr: 0.1)",
    "LAYER": "lr: 1",
    "HALF": "f16",
    "WEIGHT": "1",
    "OTHER": "1",
    "DATA": "scale: 1",
    "CLIP": "1",
}
SOLVERS = ("sgd", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw")


def written(folder: Path, **changed: str) -> Path:
    text = TEXT
    for name, value in (DEFAULTS | changed).items():
        text = text.replace(name, value)
    file = folder / "n.net"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        *(("SOLVER", f"{name}(lr: 1, weight_decay: 1e39)", "and 1e+39 is inf in f32") for name in SOLVERS),
        *(("SOLVER", f"{name}(lr: 1, delta: 1e39)", "and 1e+39 is inf in f32") for name in SOLVERS[2:]),
        ("SOLVER", "sgd(lr: 1e39)", "`lr` takes a number from 0 up, and 1e+39 is inf in f32"),
        ("SOLVER", "adagrad(lr: 1, delta: 1e-60)", "and 1e-60 is 0 in f32"),
        ("SOLVER", "adam(lr: 1, momentum: 0.99999999999)", "up and below 1, and 0.99999999999 is 1 in f32"),
        ("CLIP", "1e39", "`clip` takes a number above 0, and 1e+39 is inf in f32"),
        ("CLIP", "1e-60", "`clip` takes a number above 0, and 1e-60 is 0 in f32"),
        ("LAYER", "lr: 1e39", "`lr` takes numbers, and 1e+39 is inf in f32"),
        ("LAYER", "decay: [1, 1e39]", "`decay` takes numbers, and 1e+39 is inf in f32"),
        ("LAYER", "weight: constant(1e39)", "`value` takes a number, and 1e+39 is inf in f32"),
        ("LAYER", "weight: gaussian(std: 1e39)", "and 1e+39 is inf in f32"),
        ("WEIGHT", "1e39", "`weight` takes a number, and 1e+39 is too large for f32"),
        ("DATA", "scale: 1e39", "`scale` takes a number, and 1e+39 is inf in f32"),
        ("DATA", "mean: [1, 1e39]", "and 1e+39 is inf in f32"),
    ],
)
def test_what_the_type_does_not_hold_is_refused_where_it_stands(
    tmp_path: Path, place: str, text: str, message: str
) -> None:
    found = netc.check(written(tmp_path, **{place: text}))
    assert [problem.severity for problem in found] == ["error"]
    assert message in found[0].message
    assert text.partition("(")[0].partition(":")[0].strip("[") in found[0].text


def test_the_product_of_two_decays_is_one_number(tmp_path: Path) -> None:
    solver, layer = "sgd(lr: 1, weight_decay: 1e20)", "decay: 1e20"
    (problem,) = netc.check(written(tmp_path, SOLVER=solver, LAYER=layer))
    assert problem.message == "train: `weight_decay` times a layer's `decay`, 1e+20, is too large for f32"
    assert netc.check(written(tmp_path, SOLVER=solver)) == []


@pytest.mark.parametrize("half", ["f16", "bf16", "f64"])
def test_losses_of_several_types_are_added_in_the_widest(tmp_path: Path, half: str) -> None:
    step = netc.compile(written(tmp_path, HALF=half, OTHER="100000"), mode="train", dims={"N": 4})
    assert step.compilation.net.graph.outputs[".objective"].dtype == ("f64" if half == "f64" else "f32")
    x = np.ones((4, 4), np.float32)
    before = step.state["s.weight"].copy()
    found = step(x=x, y=np.zeros(4, np.int32))
    assert float(found["k"]) == 1
    assert (step.state["s.weight"] != before).any()


@pytest.mark.parametrize("dtype", ["i32", "i64", "u8"])
@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_integers_are_pooled_over_their_edge(tmp_path: Path, dtype: str, target: str) -> None:
    file = tmp_path / "p.net"
    file.write_text(
        f"net p() {{\n    input x: {dtype}[N, 1, 3, 3]\n    output y = x |> max_pool(3, stride: 2, pad: 1)\n}}\n",
        encoding="utf-8",
    )
    x = np.arange(9).reshape(1, 1, 3, 3) - (0 if dtype == "u8" else 20)
    found = netc.compile(file, target=target, dims={"N": 1})(x=x.astype(dtype.replace("i", "int").replace("u8", "u1")))
    assert (found["y"] == x[:, :, 1:3, 1:3].reshape(1, 1, 2, 2)).all()


def test_padding_is_of_the_type_that_it_pads() -> None:
    x: Node = ops.input_(name="x", shape=(2,), dtype="i32")
    with pytest.raises(TypeRuleError, match=r"padding of -inf among i32\[2\]"):
        ops.pad(x, low=(1,), high=(0,), interior=(0,), value=float("-inf"))
