"""Gradient rules beside differences of the loss: right ones agree, planted faults are found and named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netc.compiler import ops
from netc.compiler.graph import Node
from netc.compiler.ops.base import Op
from netc.verification import Wanted, verify
from netc.verification.derivatives import SlopeFault
from support.small_net import small_net


@contextmanager
def a_percent_less(op: Op, operand: int) -> Iterator[None]:
    """The rule of an op gives a hundredth less for one of its operands."""
    right = op.vjp
    assert right is not None

    def wrong(*arguments: Node, **attrs: object) -> list[Node | None]:
        found = list(right(*arguments, **attrs))
        one = found[operand]
        found[operand] = one * 0.99 if one is not None else None
        return found

    object.__setattr__(op, "vjp", wrong)  # an op is frozen
    try:
        yield
    finally:
        object.__setattr__(op, "vjp", right)


WANTED = Wanted(modes=("train",), budget=0.0)


def test_right_gradients_are_the_derivatives(tmp_path: Path) -> None:
    verdict = verify(small_net(tmp_path), WANTED)
    assert verdict.ok
    (program,) = verdict.programs
    assert program.slopes is not None
    assert program.slopes.directions == 6  # all at once, and each of image, two weights and two biases
    assert program.slopes.worst < 1e-6


def test_labels_that_are_floats_are_no_direction(tmp_path: Path) -> None:
    """Caffe's labels are; the loss steps from one whole number to the next, which is no wrong gradient."""
    (tmp_path / "net.prototxt").write_text("""
    layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 3 dim: 4 } shape { dim: 3 dim: 1 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
            inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
    """)
    verdict = verify(tmp_path / "net.prototxt", WANTED)
    assert verdict.ok
    assert verdict.programs[0].slopes is not None
    assert verdict.programs[0].slopes.directions == 4  # all at once, x, weight and bias


@pytest.mark.parametrize(
    ("op", "operand", "named"),
    [
        (ops.tanh, 0, "conv1.weight"),
        (ops.conv, 1, "conv1.weight"),
        (ops.conv, 0, "image"),
        (ops.dot, 0, "conv1.weight"),
        (ops.dot, 1, "score.weight"),
        (ops.exp, 0, "score.weight"),
        (ops.log, 0, "score.weight"),
        (ops.broadcast, 0, "score.bias"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_wrong_gradient_rule_is_found(op: Op, operand: int, named: str, tmp_path: Path) -> None:
    with a_percent_less(op, operand):
        verdict = verify(small_net(tmp_path), WANTED)
    faults = [fault for fault in verdict.faults if isinstance(fault, SlopeFault)]
    assert named in {fault.name for fault in faults}
    assert "is not the derivative of the loss" in str(faults[0])
