"""Scales, biases, splits and chosen items of one value, for Triton: whatever fusion joins, there is a kernel for it."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from netc.compiler.graph import Graph
from netc.passes import pipeline
from netc.passes.manager import run
from netc.passes.training.flatten import flat_layout
from support.build_texts import built
from support.numpy_program import made_up
from support.triton_program import assert_like_oracle, program_of

pytest.importorskip("triton")

LAYERS = {
    "scale": ["scale", "scale(bias: true)", "scale(num_axes: -1)", "scale(num_axes: 0)"],
    "bias": ["bias", "bias(num_axes: -1)", "bias(num_axes: 0)"],
    "split": ["split(2)", "split(at: 1)"],
    "chosen": [""],
}
SUMS = ["mean({} ** 2)", "sum({})", "mean(sum({}, axis: 0) ** 2)", "mean(sum({}, axis: 1) ** 2)"]
HEAD = "input index: i32[3]\n    "


def differentiated(text: str) -> Graph:
    """The gradients of a net by its parameters and its image."""
    net = built(HEAD + text, mode="train", dims={"N": 4})
    names = [*(info.name for info in net.state if info.kind == "parameter"), "image"]
    return run(net.graph, pipeline.gradients(names, flat_layout(net.state)))


def random_net(random: Random) -> str:
    """All four of one value or of one another, each under a sum."""
    text = f"r = {random.choice(['tanh(image)', 'linear(image, 4)', 'conv(image, 4, 1)'])} |> flatten |> linear(4)"
    sources = ["r"]
    for number, kind in enumerate(random.sample(list(LAYERS), 4)):
        source, name = random.choice(sources), f"r{number}"
        layer = random.choice(LAYERS[kind])
        if kind == "chosen":
            text += f"\n    {name} = batch_reindex({source}, index)"
        elif kind == "split":
            text += f"\n    {name}, _{name} = {source} |> {layer}"
        else:
            text += f"\n    {name} = {source} |> {layer}"
        sources += [name] if kind != "split" else []
        text += f"\n    loss l{number} = {random.choice(SUMS).format(name)}"
    return text


@pytest.mark.parametrize("seed", range(12))
def test_fusion_may_refuse_and_never_fails(seed: int) -> None:
    assert program_of(differentiated(random_net(Random(seed)))).proved.stores > 0


@pytest.mark.parametrize(
    "text",
    [
        # Sums into rows of one number each, under what goes over all columns.
        """v = tanh(linear(image, 4))
    r0 = v |> bias(num_axes: 0)
    r1, _z = split(v, at: 1)
    r2 = batch_reindex(r1, index)
    r3 = r2 |> scale(bias: true)
    loss l0 = sum(r0)
    loss l1 = sum(r1)
    loss l2 = mean(sum(r2, axis: 1) ** 2)
    loss l3 = sum(r3)""",
        """v = linear(image, 4)
    r0 = v |> bias(num_axes: -1)
    r1, _z = split(v, at: 1)
    r2 = batch_reindex(r1, index)
    r3 = v |> scale(num_axes: 0)
    loss l0 = mean(r0 ** 2)
    loss l1 = mean(sum(r1, axis: 1) ** 2)
    loss l2 = mean(sum(r2, axis: 1) ** 2)
    loss l3 = sum(r3)""",
    ],
)
def test_a_sum_into_rows_of_one_number_is_right(text: str) -> None:
    graph = differentiated(text)
    feeds = {name: np.asarray(value) for name, value in made_up(graph).items()}
    feeds["index"] = np.array([3, 0, 3], np.int32)
    assert_like_oracle(graph, feeds=feeds)
