"""Lowering stages: each takes a compilation unit and gives the next one. `LOWER` of `passes/pipeline.py` orders them.

What they do stands in the modules that they call, on graphs; here stands what of a unit that is, and what it changes.
Those modules are imported by the stage that runs, so that a program for numpy loads nothing of GPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ..fusion import fuse as fusion
from ..fusion import materialize as stored
from ..fusion.groups import Legality
from ..unit import Choices, Unit
from . import memory


def pad_channels(unit: Unit) -> Unit:
    """Give images of a few channels some of zeros, so that matrix units read runs of four."""
    from .pad_channels import padded_channels

    return replace(unit, graph=padded_channels(unit.graph, unit.choices.precision))


def pack_weights(unit: Unit) -> Unit:
    """Copy weights that matrix units read into values of their own."""
    from .pack_weights import packed_weights

    return replace(unit, graph=packed_weights(unit.graph, unit.choices.precision))


def choose_algorithms(unit: Unit) -> Unit:
    """Compute convolutions by Winograd's minimal filtering where that is faster: as was measured, else by a rule."""
    from .algorithms import selected

    return replace(unit, graph=selected(unit.graph, unit.choices)) if unit.choices.winograd else unit


def copy_weights(unit: Unit) -> Unit:
    """Copy weights that vectors are read of into values of their own."""
    from .algorithms import panels
    from .pack_weights import with_lanes

    return replace(unit, graph=with_lanes(unit.graph, panels(unit.graph, unit.choices)))


def join_ranges(unit: Unit) -> Unit:
    """Turn work over the ranges of flat buffers into work over whole buffers."""
    from .join_ranges import whole_buffers

    return replace(unit, graph=whole_buffers(unit.graph)) if unit.choices.fused else unit


def materialize(unit: Unit) -> Unit:
    """Copy what no kernel could write where it belongs."""
    return replace(unit, graph=stored.materialize(unit.graph))


def recompute(unit: Unit) -> Unit:
    """Choose values that each reader computes for itself, so that nobody stores them."""
    from ..fusion.recompute import recomputed

    again = recomputed(unit.graph, unit.choices.nofuse) if unit.choices.fused else ()
    return replace(unit, recomputed=frozenset(again))


def TILES(_: Choices) -> Callable[[stored.Stores], Legality[Any]]:
    """Kernels that iterate over tiles of one axis."""
    from ..fusion.tiles import Tiles

    return Tiles


def NESTS(choices: Choices) -> Callable[[stored.Stores], Legality[Any]]:
    """Kernels that are one loop nest each."""
    from ..fusion.nests import Nests
    from .machines import device

    return partial(Nests, on=device(choices.arch))


def fuse(legality: Callable[[Choices], Callable[[stored.Stores], Legality[Any]]]) -> Callable[[Unit], Unit]:
    """A stage that makes kernels of a materialized graph. legality: which nodes may be one."""

    def run(unit: Unit) -> Unit:
        """Join nodes into kernels where that saves traffic to memory."""
        how = unit.choices
        kernels, ledger = fusion.fuse(
            unit.graph, legality(how), enabled=how.fused, nofuse=how.nofuse, recomputed=unit.recomputed
        )
        return replace(unit, graph=kernels, ledger=(*unit.ledger, *ledger), recomputed=frozenset())

    return run


def tile(unit: Unit) -> Unit:
    """Choose the tiles of each kernel, and whether threads share them."""
    from .tiling import tiled

    kernels, inner = tiled(unit.graph, unit.choices.threads)
    return replace(unit.rescheduled(kernels), inner=bool(inner))


def layout(unit: Unit) -> Unit:
    """Choose the order of the axes of each stored value."""
    from .layout import decisions, orders

    told = decisions(unit.graph) if unit.choices.fused else ()
    return replace(unit, orders=orders(unit.graph), ledger=(*unit.ledger, *told))


def lay_weights(unit: Unit) -> Unit:
    """Choose the order of the axes of weights that vectors are read of."""
    from .pack_weights import lane_orders

    return replace(unit, orders={**(unit.orders or {}), **lane_orders(unit.graph)})


def lay_tiles(unit: Unit) -> Unit:
    """Choose the axes of products' tiles where they were measured; else kernels choose them as they are written."""
    from .algorithms import with_axes

    made = with_axes(unit.graph, unit.choices)
    return unit if made is unit.graph else unit.rescheduled(made)


def schedule(unit: Unit) -> Unit:
    """Choose the tile sizes of each kernel: measured ones, else those of the cost model."""
    from .measured import Measured
    from .schedule import scheduled

    how = unit.choices
    measured = how.measured or Measured()
    return unit.rescheduled(scheduled(unit.graph, unit.orders or {}, how.arch, how.precision, measured))


def split(unit: Unit) -> Unit:
    """Take sums in parts where schedules say so, each with a kernel of its own that adds the parts."""
    from .split import splits

    return splits(unit)


def plan(unit: Unit) -> Unit:
    """Order the launches, and give each value its memory and its life."""
    how = unit.choices
    placed = memory.plan(unit.graph, threads=how.threads, inner=unit.inner, orders=unit.orders, pitches=unit.pitches)
    return replace(unit, plan=placed)
