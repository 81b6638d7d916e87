"""Faults planted in stages of lowering: `netc verify` names the stage, the layer, and whatever else is right."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.verification import Wanted, verify
from netc.verification.check import PassFault
from support.small_net import small_net
from support.triton_folders import needs_triton


def spoiled(graph: Graph) -> Graph:
    """A graph in which each `tanh` of the layer is a little less."""
    return graph.rebuild({node: node * 0.999 for node in graph.order if node.op is ops.tanh and node.scope == "x.tanh"})


@pytest.mark.parametrize(
    ("stage", "place", "target"),
    [
        ("materialize", "netc.passes.fusion.materialize:materialize", "numpy"),
        ("join_ranges", "netc.passes.lowering.join_ranges:whole_buffers", "triton"),
    ],
)
def test_a_stage_that_changes_values_is_named(
    stage: str, place: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if target == "triton":
        needs_triton()
    module, _, name = place.partition(":")
    right = getattr(import_module(module), name)
    monkeypatch.setattr(import_module(module), name, lambda graph: spoiled(right(graph)))
    verdict = verify(small_net(tmp_path), Wanted(modes=("test",), target=target, device="cpu", budget=0.0))
    faults = [fault for fault in verdict.faults if isinstance(fault, PassFault)]
    assert [(fault.name, fault.layer) for fault in faults] == [(stage, "x.tanh")]
    assert f"the pass `{stage}` changes" in str(faults[0])
