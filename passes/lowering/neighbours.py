"""Local search over kernel schedules: those a step away from a given one that fit the device, which a tuner tries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from ...compiler.graph import Graph
from ...compiler.kernel import Blocks
from ...compiler.loops.contraction import contraction, size_of
from ...compiler.loops.domain import domain_of
from .cost.products import Tile, power, product_of
from .machines import Device

# Bounds of the search, assumed: what no kernel so far was fastest beyond.
TILE = (16, 256)  # sides of a product's tile
DEPTH = (16, 128)
STAGES = (2, 5)
PARTS = 64
COLUMNS = (64, 4096)  # of a map
AREA = (64, 16384)  # of a reduction's block
EACH = 32  # elements of a map or reduction for a thread
WARPS = (1, 8)


def near(blocks: Blocks, body: Graph, on: Device) -> tuple[Blocks, ...]:
    """Schedules a step away from a given one, in an order that is always the same."""
    domain = domain_of(body)
    if on.large or math.prod(domain.space) == 0:
        return ()
    if domain.product:
        steps, fits = _of_product(blocks), _Product(body, on).fits
    elif domain.kind == "reduce":
        steps, fits = _of_reduction(blocks), _Reduction(body, on).fits
    else:
        steps, fits = _of_map(blocks), _Map(body, on).fits
    return tuple(dict.fromkeys(b for b in steps if b != blocks and fits(b)))


def _of_product(b: Blocks) -> Iterator[Blocks]:
    for name in ("rows", "columns", "depth", "warps", "split"):
        yield from _both_ways(b, name)
    yield replace(b, stages=b.stages + 1)
    yield replace(b, stages=b.stages - 1)
    yield replace(b, rows=b.rows * 2, columns=b.columns // 2)
    yield replace(b, rows=b.rows // 2, columns=b.columns * 2)
    yield replace(b, rows=b.rows * 2, warps=b.warps * 2)
    yield replace(b, columns=b.columns * 2, warps=b.warps * 2)
    yield replace(b, depth=b.depth * 2, stages=b.stages - 1)


def _of_reduction(b: Blocks) -> Iterator[Blocks]:
    for name in ("rows", "depth", "warps", *(("split",) if b.split > 1 else ())):
        yield from _both_ways(b, name)
    yield replace(b, rows=b.rows * 2, depth=b.depth // 2)
    yield replace(b, rows=b.rows // 2, depth=b.depth * 2)
    yield replace(b, depth=b.depth * 2, warps=b.warps * 2)


def _of_map(b: Blocks) -> Iterator[Blocks]:
    for name in ("columns", "warps"):
        yield from _both_ways(b, name)
    yield replace(b, columns=b.columns * 2, warps=b.warps * 2)
    yield replace(b, columns=b.columns // 2, warps=b.warps // 2)


def _both_ways(b: Blocks, name: str) -> Iterator[Blocks]:
    value: int = getattr(b, name)
    yield replace(b, **{name: value * 2})  # type: ignore[arg-type]
    yield replace(b, **{name: value // 2})  # type: ignore[arg-type]


def _within(value: int, bounds: tuple[int, int], length: int | None = None) -> bool:
    """Whether a number is within bounds, and no more than twice what is there."""
    low, high = bounds
    return low <= value <= high and (length is None or value == low or value < 2 * power(length))


class _Product:
    """Which tiles of a product fit."""

    def __init__(self, body: Graph, on: Device) -> None:
        axes = contraction(domain_of(body).root)
        self.rows, self.columns, self.depth = (size_of(a) for a in (axes.rows, axes.columns, axes.reduced))
        self.body, self.on = body, on

    def fits(self, b: Blocks) -> bool:
        if not (_within(b.rows, TILE, self.rows) and _within(b.columns, TILE, self.columns)):
            return False
        if not (_within(b.depth, DEPTH, self.depth) and _within(b.warps, WARPS) and _within(b.stages, STAGES)):
            return False
        if b.split < 1 or b.split > min(PARTS, max(1, -(-self.depth // b.depth) // 2)):
            return False
        tile = Tile(b.rows, b.columns, b.depth, b.stages, b.warps)
        return tile.fits(product_of(self.body, b.precision), self.on)


class _Reduction:
    """Which tiles of rows by a part of each row fit."""

    def __init__(self, body: Graph, on: Device) -> None:
        self.domain, self.on = domain_of(body), on

    def fits(self, b: Blocks) -> bool:
        area, threads = b.rows * b.depth, b.warps * self.on.width
        rows, length = self.domain.rows, self.domain.length
        if not (_within(b.rows, (1, 1024), rows) and _within(b.depth, (1, 8192), length)):
            return False
        if b.split < 1 or b.split > max(1, -(-length // b.depth)):
            return False
        return _within(area, AREA) and _within(b.warps, WARPS) and area <= EACH * threads


class _Map:
    """Which tiles of a flat space fit."""

    def __init__(self, body: Graph, on: Device) -> None:
        self.count = math.prod(domain_of(body).space)
        self.on = on

    def fits(self, b: Blocks) -> bool:
        if self.count <= COLUMNS[0] or b.columns < 1:
            return False
        return (
            _within(b.columns, COLUMNS, self.count)
            and _within(b.warps, WARPS)
            and b.columns <= EACH * b.warps * self.on.width
            and b.columns >= b.warps * self.on.width
        )
