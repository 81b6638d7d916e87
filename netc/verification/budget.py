"""Running error analysis, evaluated beside the graph: how far a value of a target may lie from the oracle's.

Every node is evaluated in double precision, and with it, element by element, two bounds:

    error    what rounding can do to the element, to first order
    choice   what it can do more where it turns a decision: a comparison, an argmax, a floor

The model is the standard one (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 2.2): an op
gives fl(a op b) = (a op b)(1 + d), |d| <= u, where u is 2^-24 for f32, 2^-11 for f16, 2^-8 for bf16, 2^-53 for f64. A
node's error is what its operands' errors become (`spread`, by the derivative or, where that grows, by the function
itself) and what its own rounding adds (`own`); that is his running error analysis (section 3.3) with the oracle's
values in the place of the computed ones. Each primitive says both in its paragraph (`compiler/ops/rounding.py`).

A sum of n terms in unknown order is at most (n - 1) u S1 off, S1 = sum |x| (section 4.2). That bound is reached by no
sum that anybody computes: roundings are near to independent, their mean is near 0, and then n becomes sqrt(n) with high
probability (Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019, theorem 2.4). Each
rounding has the standard deviation u/sqrt(3) times the partial sum of k terms, and their squares add up. With
S = |sum x| and Q = sqrt(sum x^2), that partial sum is

    k/n S + sqrt(k/n) Q          for terms in random order: in all u sqrt(n) (S/3 + Q/4) at most
    up to S1/2, and back again   for a batch whose halves pull in opposite directions: u sqrt(n) S1/6

    error = min((n - 1) u S1, u sqrt(n) (S + S1/4 + Q))

is three, one and a half, four standard deviations of the three cases; blocked and pairwise orders and fused
multiply-adds are below it. For products and convolutions x is a b, and the first bound is left out. TF32 rounds both
operands to u = 2^-11, independently for each product: 2 * 2^-11 Q more.

The budget of an element is `safety * error`. Errors of operands are added as if all had the worst sign, so the budget
only stays near to the errors where few products follow each other. Therefore it is never taken across a whole net: a
kernel starts from the operands that the target really had, a layer from the values that the target gave its bottoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..compiler.graph import Graph, GraphError, Node
from ..compiler.ops.rounding import Arithmetic, Array, Bounded, Evaluation
from ..compiler.types import FLOATS

Seen = Callable[[Node, Bounded], Bounded]


def held(node: Node, value: Any) -> Array:
    """A value as the oracle holds it: floats in double precision."""
    return np.asarray(value, np.float64 if node.dtype in FLOATS else node.type.numpy_dtype)


def measured(node: Node, value: Any, arithmetic: Arithmetic) -> Bounded:
    """A value that a target gave, from which the analysis goes on.

    Some readers may have computed it again, in another order: one rounding either way, in f32 also where the result was
    then rounded to 16 bits, since that gives all of them the same but for a few.
    """
    array = held(node, value)
    if node.dtype not in FLOATS:
        return Bounded(array)
    return Bounded(array, arithmetic.inner(node.dtype) * np.where(np.isfinite(array), np.abs(array), 0.0))


def analyse(
    graph: Graph, feeds: Mapping[str, Any], arithmetic: Arithmetic, watched: Iterable[Node], seen: Seen
) -> None:
    """Evaluate a graph with bounds.

    feeds: for inputs and state by name, exact. seen: called for each watched node in order, with its value and bounds;
    what it returns is what the readers of the node get.
    """
    left = {node: len(users) for node, users in graph.users.items()}
    wanted = set(watched)
    values: dict[Node, Bounded] = {}
    with np.errstate(all="ignore"):
        for node in graph.order:
            if node.op.name in ("input", "param"):
                found = Bounded(held(node, feeds[node.attrs["name"]]).reshape(node.shape))
            else:
                operands = [values[x] for x in node.inputs]
                if node.op.rounding is None:
                    raise GraphError(f"{node.op.name} is analysed by its body, not as one node")
                value = held(node, node.op.numpy(*(x.value for x in operands), **node.attrs))
                found = node.op.rounding.bounded(Evaluation(node, operands, value, arithmetic))
            values[node] = replace(seen(node, found), near=found.near) if node in wanted else found
            for x in dict.fromkeys(node.inputs):
                left[x] -= 1
                if not left[x]:
                    del values[x]  # or a large net would need the memory of all its values at once
