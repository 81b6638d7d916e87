"""The flat layout: learned parameters lie in one buffer, those with equal multipliers side by side.

`.parameters` holds what is learned, by (lr, decay), so that an update is elementwise work over one range a group;
`.frozen` holds the parameters whose lr is 0, which no update touches. Gradients and histories of the solver use the
offsets of `.parameters`. Training and test programs share a layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...compiler import ops
from ...compiler.graph import Graph, GraphError, Node, at
from ...compiler.program import StateInfo, share_of
from ...compiler.types import TensorType
from ..manager import Pass

PARAMETERS = ".parameters"
FROZEN = ".frozen"
# Elements that a GPU loads at once, 16 bytes in 16 bits: weights that are a multiple of it begin at one.
TOGETHER = 8


@dataclass(frozen=True)
class Range:
    """The elements [start, stop) of `.parameters`, whose parameters have the same multipliers."""

    start: int
    stop: int
    lr: float
    decay: float


def flat_layout(state: Sequence[StateInfo]) -> tuple[StateInfo, ...]:
    """The same state, in the same order, with a place for each tensor.

    Groups of multipliers follow in the order of their first parameter; of a group those of whole `TOGETHER` come first,
    else parameters are in their own order. Any other state lies in a buffer of its own name. Raises GraphError for a
    parameter that is not f32.
    """
    groups: dict[tuple[str, float, float], list[StateInfo]] = {}
    for info in state:
        if info.kind != "parameter":
            continue
        if info.type.dtype != "f32":
            raise GraphError(f"the parameter {info.name} is {info.type}: flat buffers hold f32")
        key = (PARAMETERS, info.lr, info.decay) if info.lr else (FROZEN, 0.0, 0.0)
        groups.setdefault(key, []).append(info)
    places: dict[str, tuple[str, int]] = {}
    ends = {PARAMETERS: 0, FROZEN: 0}
    for (buffer, _, _), members in groups.items():
        for info in sorted(members, key=lambda info: info.type.count % TOGETHER != 0):
            places[info.name] = buffer, ends[buffer]
            ends[buffer] += info.type.count
    laid: list[StateInfo] = []
    for info in state:
        buffer, offset = places.get(info.name, (info.name, 0))
        laid.append(replace(info, buffer=buffer, offset=offset))
    return tuple(laid)


def learned(layout: Sequence[StateInfo]) -> tuple[StateInfo, ...]:
    """The learned parameters in the order in which they lie in `.parameters`."""
    return tuple(sorted((i for i in layout if i.buffer == PARAMETERS), key=lambda i: i.offset))


def ranges(layout: Sequence[StateInfo]) -> tuple[Range, ...]:
    """The groups of equal multipliers, which cover `.parameters` in order."""
    found: list[Range] = []
    for info in learned(layout):
        stop = info.offset + info.type.count
        if found and (found[-1].lr, found[-1].decay) == (info.lr, info.decay):
            found[-1] = replace(found[-1], stop=stop)
        else:
            found.append(Range(info.offset, stop, info.lr, info.decay))
    return tuple(found)


def share(layout: Sequence[StateInfo], rank: int, ranks: int) -> tuple[tuple[StateInfo, ...], int]:
    """What one of several processes updates of `.parameters`, as a layout of its own, and where that begins."""
    start, stop = share_of(length(layout), rank, ranks)
    infos = []
    for one in ranges(layout):
        low, high = max(one.start, start), min(one.stop, stop)
        if low < high:
            type_ = TensorType((high - low,), "f32")
            info = StateInfo(f".share{low}", type_, lr=one.lr, decay=one.decay, buffer=PARAMETERS, offset=low - start)
            infos.append(info)
    return tuple(infos), start


def length(layout: Sequence[StateInfo], buffer: str = PARAMETERS) -> int:
    """Elements of a flat buffer."""
    return sum(i.type.count for i in layout if i.buffer == buffer)


def part(flat: Node, start: int, stop: int) -> Node:
    """The elements [start, stop) of a flat node; itself if that is all of it."""
    if (start, stop) == (0, flat.shape[0]):
        return flat
    return ops.slice_(flat, start=(start,), stop=(stop,), step=(1,))


def flatten(layout: Sequence[StateInfo]) -> Pass:
    """A pass after which each parameter is read as a view of the flat buffer in which it lies."""
    placed = {i.name: i for i in layout if i.buffer and i.buffer != i.name}
    sizes = {buffer: length(layout, buffer) for buffer in dict.fromkeys(i.buffer for i in placed.values())}

    def run(graph: Graph) -> Graph:
        """Read parameters out of the flat buffers."""
        flat: dict[str, Node] = {}
        views: dict[Node, Node] = {}
        for node in graph.order:
            if node.op is not ops.param:
                continue
            name = node.attrs["name"]
            if name in sizes:
                flat.setdefault(name, node)
                views[node] = flat[name]
                continue
            info = placed.get(name)
            if info is None:
                continue
            if info.type != node.type:
                raise GraphError(f"{name} is {node.type}, its layout says {info.type}")
            buffer = flat.get(info.buffer)
            if buffer is None:
                buffer = ops.param(name=info.buffer, shape=(sizes[info.buffer],), dtype="f32")
                flat[info.buffer] = buffer
            with at(node.span, node.scope):
                view = part(buffer, info.offset, info.offset + info.type.count)
                views[node] = view if view.shape == node.shape else ops.reshape(view, shape=node.shape)
        return graph.rebuild(views)

    return run
