"""From a graph of primitives to a program: fuse, plan the memory, write the text, each as the target wants it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from ...compiler.codegen import emit
from ...compiler.graph import Graph
from ...compiler.plan import Plan
from ...compiler.program import Program, StateInfo
from ...compiler.types import SIZES
from ..fusion.fuse import Fused, fuse
from ..fusion.materialize import materialize
from ..fusion.tiles import Tiles
from . import layout
from .memory import plan
from .tiling import tiled

if TYPE_CHECKING:
    from .choice import Measured


@dataclass(frozen=True)
class Choices:
    """What decides how a graph becomes kernels.

    fused: False leaves every op a kernel of its own. nofuse: layers that stay apart from others. threads: of a CPU.
    arch: the GPU for which blocks are chosen. precision: of products of f32 on a GPU. measured: schedules that go
    before the cost model's. The order of sums, and so the last bits of results, depends on all of them.
    """

    fused: bool = True
    nofuse: Collection[str] = ()
    threads: int = 1
    arch: str = "cuda:90"
    precision: Literal["ieee", "tf32"] = "ieee"
    measured: Measured | None = None


def _for_numpy(graph: Graph, how: Choices) -> Fused:
    fused = fuse(materialize(graph), Tiles, enabled=how.fused, nofuse=how.nofuse)
    kernels, inner = tiled(fused.graph, how.threads)
    return replace(fused, graph=kernels, inner=bool(inner), threads=how.threads)


def _for_triton(graph: Graph, how: Choices) -> Fused:
    from ..fusion.nests import Nests
    from ..fusion.recompute import recomputed
    from .choice import Measured, scheduled
    from .join_ranges import whole_buffers
    from .machines import device
    from .pack_weights import packed_weights
    from .pad_channels import padded_channels
    from .schedule import blocked

    graph = packed_weights(padded_channels(graph, how.precision), how.precision)
    graph = materialize(whole_buffers(graph) if how.fused else graph)
    again = recomputed(graph, how.nofuse) if how.fused else ()
    nests = partial(Nests, on=device(how.arch))
    fused = fuse(graph, nests, enabled=how.fused, nofuse=how.nofuse, recomputed=again)
    lies = layout.decisions(fused.graph) if how.fused else ()
    kernels = blocked(fused.graph, how.arch, how.precision)
    kernels = scheduled(kernels, layout.orders(kernels), how.measured or Measured(), how.arch)
    return replace(fused, graph=kernels, ledger=(*fused.ledger, *lies))


def _on_cpu(kernels: Fused) -> Plan:
    return plan(kernels.graph, threads=kernels.threads, inner=kernels.inner)


def _on_gpu(kernels: Fused) -> Plan:
    return plan(kernels.graph, threads=1, inner=False, orders=layout.orders(kernels.graph))


# Of each target: how nodes become kernels, and how these are placed in memory.
TARGETS: dict[str, tuple[Callable[[Graph, Choices], Fused], Callable[[Fused], Plan]]] = {
    "numpy": (_for_numpy, _on_cpu),
    "triton": (_for_triton, _on_gpu),
}


def kernels_of(graph: Graph, target: str, how: Choices) -> Fused:
    """The graph of kernels for a target. ValueError for an unknown one."""
    return _target(target)[0](graph, how)


def program_of(
    kernels: Fused,
    *,
    name: str,
    mode: str = "test",
    target: str = "numpy",
    dims: Mapping[str, int] | None = None,
    state: Sequence[StateInfo] = (),
) -> Program:
    """The program of what `kernels_of` made for the same target. state: gives parts of flat buffers their names."""
    parts = {(i.buffer, i.offset * SIZES[i.type.dtype], i.type.nbytes): i.name for i in state if i.buffer != i.name}
    placed = replace(_target(target)[1](kernels), parts=parts)
    return emit(kernels.graph, placed, name=name, mode=mode, target=target, dims=dims, ledger=kernels.ledger)


def lower(
    graph: Graph,
    *,
    name: str,
    mode: str = "test",
    target: str = "numpy",
    dims: Mapping[str, int] | None = None,
    threads: int = 1,
    fused: bool = True,
    nofuse: Collection[str] = (),
    arch: str = "cuda:90",
    precision: Literal["ieee", "tf32"] = "ieee",
) -> Program:
    """The program that computes a graph (see `Choices`)."""
    how = Choices(fused, nofuse, threads, arch, precision)
    return program_of(kernels_of(graph, target, how), name=name, mode=mode, target=target, dims=dims)


def _target(name: str) -> tuple[Callable[[Graph, Choices], Fused], Callable[[Fused], Plan]]:
    if name not in TARGETS:
        raise ValueError(f"no target {name}: there are {', '.join(TARGETS)}")
    return TARGETS[name]
