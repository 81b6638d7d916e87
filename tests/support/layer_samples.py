"""One call or more of every layer: what the tests over the whole registry run. A new layer needs a row here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from support.op_samples import Array, read
from support.standalone import Standalone


@dataclass(frozen=True)
class Call:
    """A call: operands by type (floats are drawn above 0.5 where `positive`), settings, mode.

    named: operands that are given by name.
    """

    operands: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    training: bool = True
    positive: bool = False
    named: dict[str, str] = field(default_factory=dict)

    def nodes(self) -> list[Node]:
        return [ops.input_(name=f"x{i}", shape=t.shape, dtype=t.dtype) for i, t in enumerate(map(read, self.operands))]

    def named_nodes(self) -> dict[str, Node]:
        types = {name: read(text) for name, text in self.named.items()}
        return {name: ops.input_(name=name, shape=t.shape, dtype=t.dtype) for name, t in types.items()}

    def build(self, name: str) -> tuple[Standalone, tuple[Node, ...]]:
        """The context after the call, and its results."""
        context = Standalone(training=self.training)
        result = context.call(name, *self.nodes(), **{**self.settings, **self.named_nodes()})
        return context, result if isinstance(result, tuple) else (result,)

    def feeds(self, graph: Graph) -> dict[str, Array]:
        """Seeded numbers for all that the graph reads: floats normal, labels from 0 to 2, statistics above 0.5."""
        rng = np.random.default_rng(len(graph.order))
        feeds: dict[str, Array] = {}
        for name, node in {**graph.inputs, **graph.params}.items():
            if not node.type.is_float:
                feeds[name] = rng.integers(0, 2 if node.dtype == "bool" else 3, node.shape).astype(
                    node.type.numpy_dtype
                )
                continue
            value = rng.standard_normal(node.shape)
            above = (self.positive and name in graph.inputs) or name in ("l.variance", "l.factor")
            feeds[name] = np.abs(value) + 0.5 if above else value
        return feeds


def of(*operands: str, **settings: Any) -> Call:
    return Call(operands, settings)


CALLS: dict[str, list[Call]] = {
    "conv": [
        of("f32[2,4,7,6]", out=6, kernel=3, stride=2, pad=1, group=2),
        of("f32[2,3,4,9]", out=2, kernel=(3,), dilation=2, axis=2, bias=False),
        of("f32[2,3,4,5,4]", out=2, kernel=(2, 3, 2), pad=(0, 1, 0)),
    ],
    "deconv": [
        of("f32[2,4,3,4]", out=6, kernel=(3, 2), stride=(2, 1), pad=(1, 0), group=2),
        of("f32[2,3,5]", out=2, kernel=3, dilation=2, bias=False),
    ],
    "layer_norm": [of("f32[2,3,4]"), of("f32[2,3,4]", axis=1, eps=0.1), of("f32[2,6]", affine=False)],
    "transpose": [of("f32[2,3,4]", order=(2, 0, -2))],
    "pad": [of("f32[2,3,4]", low=1, value=0.5), of("f32[2,3,4,5]", low=(1, 0), high=(0, 2))],
    "im2col": [of("f32[2,3,5,6]", kernel=3, stride=2, pad=1)],
    "max_pool": [
        of("f32[2,3,7,6]", kernel=3, stride=2),
        of("f32[2,3,5,6]", kernel=2, pad=1),
        of("f32[2,3,5]", global_=True),
        of("f32[2,3,5,6]", kernel=3, stride=2, pad=1, indices=True),
    ],
    "stochastic_pool": [
        Call(("f32[2,3,5,6]",), {"kernel": 3, "stride": 2}, positive=True),
        Call(("f32[2,3,5,6]",), {"kernel": 2, "round": "floor"}, training=False, positive=True),
    ],
    "avg_pool": [
        of("f32[2,3,7,6]", kernel=3, stride=2, pad=1),
        of("f32[2,3,8,6]", kernel=3, stride=2, round="floor"),
        of("f32[2,3,4,5]", global_=True),
    ],
    "spp": [of("f32[2,2,9,7]", height=2), of("f32[2,2,9,7]", height=3, pool="avg")],
    "linear": [of("f32[3,4,2]", out=5), of("f32[3,4,2]", out=5, axis=-1, transpose=True, bias=False)],
    "matmul": [of("f32[2,3,4]", "f32[2,4,5]"), of("f32[2,1,3,4]", "f32[3,4,2]")],
    "embed": [of("i32[3,2]", size=4, out=5)],
    "relu": [of("f32[2,3]"), of("f32[2,3]", negative_slope=0.1)],
    "prelu": [of("f32[2,3,4]"), of("f32[2,3]", channel_shared=True)],
    "elu": [of("f32[2,3]", alpha=0.7)],
    "sigmoid": [of("f32[2,3]")],
    "tanh": [of("f32[2,3]")],
    "softplus": [of("f32[2,3]")],
    "erf": [of("f32[2,3]")],
    "swish": [of("f32[2,3]"), of("f32[2,3]", beta=2.0)],
    "clip": [of("f32[2,3]", min=-0.5, max=0.25)],
    "threshold": [of("f32[2,3]", threshold=0.1)],
    "abs": [of("f32[2,3]")],
    "softmax": [of("f32[3,4]"), of("f32[2,3,4]", axis=-1)],
    "batch_norm": [
        of("f32[4,3,2,2]"),
        of("f32[4,3]", affine=False, eps=0.1),
        Call(("f32[4,3,2]",), {}, training=False),
        of("f32[4,3,2]", use_global_stats=True),
    ],
    "mvn": [of("f32[2,3,4]"), of("f32[2,3,4]", across_channels=True), of("f32[2,3,4]", normalize_variance=False)],
    "lrn": [of("f32[2,7,3,4]", alpha=0.5, k=2.0), of("f32[2,3,5,4]", size=3, alpha=0.5, region="within")],
    "rnn": [
        of("f32[3,2,4]", "i32[3,2]", out=3),
        Call(("f32[3,2,2,2]", "i32[3,2]"), {"out": 3}, named={"static": "f32[2,5]", "h0": "f32[1,2,3]"}),
    ],
    "lstm": [
        of("f32[3,2,4]", "i32[3,2]", out=2),
        Call(
            ("f32[3,2,4]", "i32[3,2]"),
            {"out": 2},
            named={"static": "f32[2,5]", "h0": "f32[1,2,2]", "c0": "f32[1,2,2]"},
        ),
    ],
    "lstm_unit": [of("f32[1,3,2]", "f32[1,3,8]", "i32[1,3]")],
    "scale": [
        of("f32[2,3,4]", bias=True),
        of("f32[2,3,4]", axis=1, num_axes=-1),
        of("f32[2,3]", num_axes=0),
    ],
    "bias": [of("f32[2,3,4]"), of("f32[2,3,4]", axis=-1)],
    "dropout": [of("f32[4,5]"), of("f32[4,5]", ratio=0.9), Call(("f32[4,5]",), {}, training=False)],
    "softmax_loss": [
        of("f32[4,5]", "i32[4]"),
        of("f32[2,3,4]", "i32[2,4]", ignore=1, normalization="valid"),
        of("f32[2,4,3]", "i32[2,4,1]", axis=2, normalization="batch_size"),
        of("f32[4,3]", "i64[4]", normalization="none"),
        of("f32[2,3,4]", "u8[2,4]", ignore=1, normalization="full"),
    ],
    "sigmoid_loss": [of("f32[4,3]", "f32[4,3]"), of("f32[4,3]", "i32[4,3]", ignore=1, normalization="valid")],
    "euclidean_loss": [of("f32[4,3]", "f32[4,3,1]")],
    "hinge_loss": [of("f32[4,3]", "i32[4]"), of("f32[4,3,2]", "i32[4]", norm="l2")],
    "contrastive_loss": [of("f32[4,3]", "f32[4,3]", "i32[4]", margin=2.0, legacy=True)],
    "infogain_loss": [of("f32[4,3]", "i32[4]", "f32[3,3]"), of("f32[2,3,4]", "i32[2,4]", "f32[3,3]", ignore=1)],
    "multinomial_loss": [Call(("f32[4,3]", "i32[4]"), positive=True)],
    "accuracy": [of("f32[6,4]", "i32[6]", top_k=2), of("f32[6,4]", "i32[6]", ignore=1, per_class=True)],
    "argmax": [of("f32[3,4]"), of("f32[3,4,2]", axis=1, top_k=2, values=True)],
    "host": [
        of("f32[2,3]", function="support.python_layers:cubed"),
        of("f32[2,3]", "f32[2,3]", function="support.python_layers:Mixed", settings="0.5"),
    ],
    "concat": [of("f32[2,3]", "f32[2,1]", "f32[2,2]"), of("f32[2,3]", "f32[1,3]", axis=0)],
    "split": [of("f32[2,6]", parts=3), of("f32[5,2]", at=(1, 3), axis=0)],
    "flatten": [of("f32[2,3,4]"), of("f32[2,3,4]", axis=0, end_axis=1)],
    "reshape": [of("f32[2,6]", shape=(0, 2, -1)), of("f32[2,6]", shape=(3, 2), axis=1, num_axes=1)],
    "tile": [of("f32[2,3]", tiles=2), of("f32[2,3]", tiles=3, axis=0)],
    "crop": [of("f32[2,3,6,7]", "f32[2,3,4,5]", offset=(1, 2))],
    "filter": [Call(("f32[4,3]", "f32[4,2,2]", "f32[4,1]"), positive=True)],
    "full": [of(shape=(2, 3), value=1.5)],
    "batch_reindex": [of("f32[4,3]", "i32[6]")],
    "exp": [of("f32[2,3]"), of("f32[2,3]", base=2.0, scale=0.5, shift=1.0)],
    "log": [Call(("f32[2,3]",), positive=True), Call(("f32[2,3]",), {"base": 10.0, "shift": 1.0}, positive=True)],
    "power": [
        Call(("f32[2,3]",), {"power": p, "scale": 0.5, "shift": 0.25}, positive=True)
        for p in (1.0, 2.0, 0.5, -1.0, 3.0, -0.75)
    ],
    "sqrt": [Call(("f32[2,3]",), positive=True)],
    "floor": [of("f32[2,3]")],
    "where": [of("bool[2,3]", "f32[2,3]", "f32[3]")],
    "detach": [of("f32[2,3]")],
    "cast": [of("f32[2,3]", to="f64"), of("f32[2,3]", to="i32"), of("i32[2]", to="f32")],
    "sum": [of("f32[2,3]"), of("f32[2,3,4]", axis=(0, -1)), of("f32[2,3]", axis=1, keepdims=True)],
    "mean": [of("f32[2,3]"), of("f32[2,3]", axis=0)],
    "max": [of("f32[2,3]", "f32[3]"), of("f32[2,3]"), of("f32[2,3]", axis=1)],
    "min": [of("f32[2,3]", "f32[2,1]"), of("f32[2,3]"), of("f32[2,3]", axis=1, keepdims=True)],
    "max_reduce": [of("f32[2,3]", axis=0)],
    "eltwise": [
        of("f32[2,3]", "f32[2,3]", "f32[2,3]", coeff=(1.0, -2.0, 0.5)),
        of("f32[2,3]", "f32[2,3]", operation="prod"),
        of("f32[2,3]", "f32[2,3]", "f32[2,3]", operation="max"),
    ],
    "reduction": [
        of("f32[2,3]"),
        of("f32[2,3,4]", operation="mean", axis=1, coeff=3.0),
        of("f32[2,3]", operation="asum", axis=-1),
        of("f32[2,3]", operation="sumsq"),
    ],
}
