"""Images whose channels no copy takes get channels of zeros; values, gradients and results stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.passes.lowering.pad_channels import padded_channels
from support.triton_program import assert_like_oracle

CONV = {"stride": (2, 2), "pad": (1, 1), "dilation": (1, 1), "groups": 1}


def image(channels: int, dtype: str = "bf16") -> Node:
    fed = ops.input_(name="image", shape=(2, channels, 9, 9), dtype="f32")
    return fed if dtype == "f32" else ops.cast(fed, dtype=dtype)


def learning(channels: int, dtype: str = "bf16") -> Graph:
    """A convolution of an image, and the gradient by its weights."""
    x = image(channels, dtype)
    weight = ops.cast(ops.input_(name="weight", shape=(6, channels, 3, 3), dtype="f32"), dtype=dtype)
    y = ops.conv(x, weight, **CONV)
    by_weights = ops.conv_weight_grad(x, ops.mul(y, y), kernel=(3, 3), **CONV)
    return Graph({"y": y, "by_weights": by_weights})


def products(graph: Graph) -> list[Node]:
    return [node for node in graph.order if node.op.family == "contract"]


def test_three_channels_become_four() -> None:
    graph = learning(3)
    padded = padded_channels(graph, "ieee")
    assert [node.inputs[0].shape[1] for node in products(padded)] == [4, 4]
    assert len({node.inputs[0] for node in products(padded)}) == 1
    assert padded.outputs["by_weights"].shape == (6, 3, 3, 3)
    rng = np.random.default_rng(3)
    feeds = {name: rng.standard_normal(node.shape).astype(np.float32) for name, node in graph.inputs.items()}
    for name, value in evaluate(graph, feeds)[0].items():
        np.testing.assert_allclose(evaluate(padded, feeds)[0][name], value, rtol=1e-12)


@pytest.mark.parametrize(("channels", "dtype"), [(1, "bf16"), (2, "bf16"), (5, "bf16"), (8, "bf16"), (3, "f32")])
def test_what_is_read_as_runs_or_would_double_stays(channels: int, dtype: str) -> None:
    graph = learning(channels, dtype)
    assert padded_channels(graph, "ieee") is graph


def test_single_precision_on_matrix_units() -> None:
    assert [node.inputs[0].shape[1] for node in products(padded_channels(learning(3, "f32"), "tf32"))] == [4, 4]


def test_what_others_read_or_a_product_computes_stays() -> None:
    weight = ops.input_(name="weight", shape=(3, 3, 3, 3), dtype="bf16")
    x = image(3)
    shown = Graph({"y": ops.conv(x, weight, **CONV), "image": ops.neg(x)})
    assert padded_channels(shown, "ieee") is shown
    deep = Graph({"y": ops.conv(ops.neg(ops.conv(x, weight, **CONV)), weight, **CONV)})
    assert [node.inputs[0].shape[1] for node in products(padded_channels(deep, "ieee"))] == [4, 3]


def test_kernels() -> None:
    assert_like_oracle(learning(3))
