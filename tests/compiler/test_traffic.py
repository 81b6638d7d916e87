"""The bytes that a launch is said to move are those of the elements that it touches in the interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import Program
from netc.driver import Compilation, compilation
from netc.grammar.source import Source
from support.interpreted import engine_on

pytest.importorskip("triton")

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = "input x: f32[N, 4, 6, 6]\n    input index: i32[3]\n    input label: i32[N]\n    "
NETS = {
    "strided": "y = x |> conv(4, 1, stride: 3) |> relu\n    loss l = mean(y ** 2)",
    "padded": "y = x |> conv(3, 3, pad: 1, stride: 2) |> max_pool(2)\n    loss l = sum(y)",
    "up": "y = x |> deconv(2, 3, stride: 2, pad: 1)\n    loss l = mean(y ** 2)",
    "parts": "a, b = split(x, at: 1)\n    y = concat(b, a, relu(a))\n    loss l = mean(y ** 2)",
    "cut": "_a, b = split(x, at: 3)\n    y = b * 2\n    loss l = sum(y)",
    "normed": "y = x |> batch_norm |> lrn(3)\n    loss l = mean(y ** 2)",
    "chosen": "y = batch_reindex(linear(x, 5), index)\n    loss l = mean(y ** 2)",
    "scores": "y = x |> linear(7) as a |> dropout |> linear(3) as b\n    loss l = softmax_loss(y, label)",
}


def made(name: str, mode: str) -> Compilation:
    text = f"net n {{\n    {HEAD}{NETS[name]}\n    output z = y\n}}\n"
    wanted: dict[str, Any] = {"mode": mode, "target": "triton", "dims": {"N": 4}, "update": None}
    return compilation(Source("n.net", text), **wanted)


def differing(compiled: Compilation) -> list[tuple[str, int, int]]:
    """Launches whose bytes are others than those of the elements that they touch."""
    program: Program = compiled.program
    engine = engine_on(program, compiled.new_state())
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=t.shape).astype(t.numpy_dtype) for name, t in program.inputs.items()}
    feeds |= {name: np.arange(4)[: len(feeds[name])].astype(np.int32) for name in ("index", "label") if name in feeds}
    engine.run(feeds)
    assert not engine.faults()
    counts = {"prepare": 0, "step": 0}
    found = []
    for launch in program.launches:
        seen = engine.traffic[launch.phase, counts[launch.phase]]
        counts[launch.phase] += 1
        if launch.bytes != seen:
            found.append((launch.function, launch.bytes, seen))
    return found


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("mode", ["train", "test"])
def test_bytes_are_those_of_the_elements_that_are_touched(name: str, mode: str) -> None:
    assert not differing(made(name, mode))


def test_a_whole_step_of_lenet() -> None:
    wanted: dict[str, Any] = {"mode": "train", "target": "triton", "dims": {"N": 2}, "update": None}
    assert not differing(compilation(str(EXAMPLES / "lenet.net"), **wanted))


def test_a_part_of_the_flat_buffer_is_its_elements() -> None:
    """The last layer of a net with a large one before it reads its own weights, not all that is learned."""
    text = f"net n {{\n    {HEAD}y = x |> linear(1000) as big |> linear(3) as small\n    output z = y\n}}\n"
    program = compilation(Source("n.net", text), mode="test", target="triton", dims={"N": 4}).program
    (small,) = (launch for launch in program.launches if launch.layers == ("small",))
    assert small.bytes == 4 * (4 * 1000 + 3 * 1000 + 3 + 4 * 3)


def test_partial_sums_and_what_adds_them_count() -> None:
    text = "net n {\n    input x: f32[N, 4, 32, 32]\n    y = x |> batch_norm\n    loss l = mean(y ** 2)\n}\n"
    wanted: dict[str, Any] = {"mode": "train", "target": "triton", "arch": "cuda:90", "dims": {"N": 64}, "update": None}
    program = compilation(Source("n.net", text), **wanted).program
    split = [one for one in program.launches if any("partial" in name for name in one.arguments)]
    assert len(split) > 1
    assert all(one.bytes for one in split)


def test_an_argmax_is_a_byte() -> None:
    program = made("padded", "train").program
    (pool,) = (one for one in program.launches if one.function.endswith("window"))
    read, pooled = 4 * 3 * 3 * 3, 4 * 3 * 2 * 2
    assert pool.bytes == 4 * read + 4 * pooled + pooled
