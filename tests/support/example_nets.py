"""The nets of the examples, built at batch 2, and numbers for all that they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler import ops
from netc.compiler.build import build, load
from netc.compiler.graph import Graph
from netc.compiler.net import Net
from netc.compiler.program import StateInfo
from netc.compiler.spec import TrainSpec, Use
from netc.passes.training.update import solver_state
from support.equality import Array, feeds_for, flat_feeds

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = {"caffenet", "flickr_style", "googlenet", "resnet18"}
# Nets of other examples, trained in another way; flickr_style has one layer that caffenet has not.
SAME = {"autoencoder_digits", "cifar10_few", "flickr_style"}
# Those, and what `lenet` is with other data: where a test looks at kernels, it has seen all of theirs in other nets.
REPEATED = SAME | {"digits"}
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.net") if path.stem not in SAME)
CASES = [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in NAMES]
SGD = Use("sgd", (("lr", 0.1), ("momentum", 0.9), ("weight_decay", 0.01), ("decay", "l2")))


def built(name: str, mode: str) -> tuple[Net, TrainSpec | None]:
    experiment = load(EXAMPLES / f"{name}.net")
    net = experiment.default_net()
    spec = next((spec for spec in experiment.trains if spec.net == net), None)
    settings = dict(spec.settings) if spec else {}
    return build(experiment, net, mode="train" if mode == "train" else "test", dims={"N": 2}, settings=settings), spec


def feeds(graph: Graph, layout: tuple[StateInfo, ...], solver: Use = SGD) -> dict[str, Array]:
    state = [ops.param(name=i.name, shape=i.type.shape, dtype=i.type.dtype) for i in solver_state(solver, layout)]
    rate = ops.input_(name=".rate", shape=(), dtype="f32")
    extra = feeds_for(Graph({str(i): node for i, node in enumerate([*state, rate])}))
    named = {**extra, **feeds_for(graph)}
    return {**named, **flat_feeds(named, layout)}
