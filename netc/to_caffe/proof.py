"""Translation validation: a prototxt that was written is read again, and its graphs held to those of its source.

Compared are the graphs after the laws of arithmetic and movement, node by node, and the state, in each mode. Inputs of
whole numbers count as what Caffe's blobs are, floats. A call that is written as layers which compute the same in
another order is cut out on both sides: what it reads must be equal, and what reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..compiler import ops
from ..compiler.build import Experiment
from ..compiler.build.dims import symbols
from ..compiler.build.nets import assemble, gathered
from ..compiler.build.state import NetState, Row
from ..compiler.expr import cast
from ..compiler.graph import Graph, Node
from ..compiler.net import OBJECTIVE, Net
from ..compiler.text import print_graph
from ..compiler.types import TensorType
from ..passes.rules.simplify import simplify
from .nets import Mode, NetFile, Phase


@dataclass(frozen=True)
class Side:
    """One of the two nets that are compared, in one mode. values: what is wanted by the names in the source."""

    state: NetState
    net: Net
    values: Mapping[str, Node]


def difference(written: NetFile, source: Experiment, result: Experiment) -> str:
    """What a net that was written differs in from its source; empty where nothing does."""
    for mode, phase in written.phases.items():
        ours, theirs = sides(written, source, result, mode)
        cuts = _cuts(phase, ours.state, theirs.state)
        if cuts is None:
            return f"a layer of {written.name} is not found again"
        texts = [_text(ours, cuts[0], written.moved), _text(theirs, cuts[1], {})]
        if texts[0] != texts[1]:
            return f"the graph of {written.name} in {mode} mode would be another"
        if _state(ours.net, written, moved=True) != _state(theirs.net, written, moved=False):
            return f"the state of {written.name} would be another"
        if list(ours.net.losses.values()) != list(theirs.net.losses.values()):
            return f"the losses of {written.name} would be others"
    return ""


def sides(written: NetFile, source: Experiment, result: Experiment, mode: Mode) -> tuple[Side, Side]:
    """Both nets in a mode, with what is wanted of them."""
    phase = written.phases[mode]
    wanted = [*phase.wanted]
    # A value that was asked for by name is an output in Caffe's net.
    roles = {name: (kind, node, w) for name, (kind, node, w) in phase.wanted.items()}
    state = replace(phase.state, roles={**phase.state.roles, **roles})  # type: ignore[dict-item]
    ours = assemble(state, {}, written.name, mode, wanted, ())
    name = result.default_net()
    dims = {"N": int(phase.dims["N"])} if "N" in phase.dims else {}
    needed = result.net(name).definition
    sizes = {key: size for key, size in dims.items() if key in symbols(needed.body, set())}
    found, env, _ = gathered(result, name, mode=mode, dims=sizes, python=written.python)
    titles = [phase.titles.get(one, one) for one in wanted]
    theirs = assemble(found, env, name, mode, titles, ())
    return (
        Side(phase.state, ours, {one: ours.graph.outputs[one] for one in wanted}),
        Side(found, theirs, {one: theirs.graph.outputs[title] for one, title in zip(wanted, titles, strict=True)}),
    )


Cut = tuple[tuple[Node, ...], tuple[Node, ...]]  # what a call reads, and what it gives


def _cuts(phase: Phase, ours: NetState, theirs: NetState) -> tuple[list[Cut], list[Cut]] | None:
    """The calls that are written otherwise, in both nets; None where one is not in the second."""
    rows: dict[str, Row] = {row.info.name: row for row in theirs.rows}
    found: tuple[list[Cut], list[Cut]] = ([], [])
    for one in phase.rewritten:
        first, last = rows.get(one.first), rows.get(one.last)
        if first is None or last is None or first.applied is None:
            return None
        reads = tuple(x for _, x in first.applied.operands if isinstance(x, Node))
        found[0].append((one.operands, one.tops))
        found[1].append((reads, last.tops))
    return found


def _text(side: Side, cuts: list[Cut], moved: Mapping[str, str]) -> str:
    """The text of a graph, with names as files of weights have them, and nothing that says how it was written."""
    outputs = {name: side.values[name] for name in sorted(side.values)}
    if OBJECTIVE in side.net.graph.outputs:
        outputs[OBJECTIVE] = side.net.graph.outputs[OBJECTIVE]
    outputs = {name: node if node.type.is_float else cast(node, "f32") for name, node in outputs.items()}
    replaced: dict[Node, Node] = {}
    for number, (reads, tops) in enumerate(cuts):
        outputs |= {f".cut{number}.{i}": node for i, node in enumerate(reads)}
        replaced |= {top: _input(f".cut{number}.{i}", top.type) for i, top in enumerate(tops)}
    updates = {name.replace("/", "."): node for name, node in side.net.graph.updates.items()}
    graph = Graph(outputs, dict(sorted(updates.items())))
    for name, node in graph.inputs.items():
        if not node.type.is_float:
            plain = _input(name, TensorType(node.type.shape, "f32"))
            replaced[node] = ops.cast(plain, dtype=node.dtype)
    text = print_graph(simplify(graph.rebuild(replaced)), comments=False)
    sizes = {name: int(size) for name, size in side.state.dims.items()}
    text = re.sub(r"Dim\((\d+), '\w+'\)", r"\1", text)
    text = re.sub(r"(?<=[\[,])([A-Za-z]\w*)(?==?\d*[\],])", lambda one: str(sizes.get(one[1], one[1])), text)
    called = {row.info.name: _called(dict(row.info.settings), row.info.kind) for row in side.state.rows}
    text = re.sub(r"HostFunction\('([^']*)'\)", lambda one: f"{called.get(one[1], one[1])!r}", text)
    text = re.sub(r"(?<=value=)-?\d+(?=[,)])", lambda one: f"{one[0]}.0", text)
    text = re.sub(r"(?<=name=)'([^']*)'", lambda one: moved.get(one[1], one[1]).replace("/", "."), text)
    streams: dict[str, str] = {}
    return re.sub(r"(?<=stream=)\d+", lambda one: streams.setdefault(one[0], str(len(streams))), text)


def _called(settings: Mapping[str, object], kind: str) -> str:
    """What a layer in Python calls, in the place of the layer's name."""
    return f"{settings.get('function', kind)}({settings.get('settings', '')})"


def _input(name: str, type_: TensorType) -> Node:
    return ops.input_(name=name, shape=type_.shape, dtype=type_.dtype)


def _state(net: Net, written: NetFile, *, moved: bool) -> list[tuple[object, ...]]:
    """What of the state must not change."""
    names = written.moved if moved else {}
    return sorted(
        (
            names.get(info.name, info.name).replace("/", "."),
            str(info.type),
            info.kind,
            *((info.lr, info.decay, str(info.filler)) if written.learning else ()),
        )
        for info in net.state
        if info.kind != "carried"
    )
