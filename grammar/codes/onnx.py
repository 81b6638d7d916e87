"""E8xx: models of ONNX."""

from __future__ import annotations

from .entry import Code

ONNX: dict[str, Code] = {
    "E801": Code(
        "an operator that netc does not read",
        """
        `netc convert` makes layers and expressions of the operators that docs/onnx.md lists. The line is the node's, in
        a listing of the model with a node a line; nodes that read its results are not looked at.
        """,
    ),
    "E802": Code(
        "an operator that says what netc cannot",
        """
        The operator is read, but not with these settings or operands: a pooling with dilation, weights that the net
        computes, a shape that depends on more than the batch. The message says what stands in the way.
        """,
    ),
}
