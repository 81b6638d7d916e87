"""Local search over kernel schedules: those a step away from a given one that fit the device, which a tuner tries."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

from ...compiler.graph import Graph
from ...compiler.kernel import Blocks
from ...compiler.loops.contraction import contraction, size_of
from ...compiler.loops.domain import Domain, domain_of
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

# Steps, in the order in which they are tried: numbers that grow (+) or shrink (-), to twice and half of what they were.
PRODUCT: tuple[str, ...] = (
    *("rows+", "rows-", "columns+", "columns-", "depth+", "depth-", "warps+", "warps-", "split+", "split-"),
    *("stages+", "stages-", "rows+ columns-", "rows- columns+", "rows+ warps+", "columns+ warps+", "depth+ stages-"),
)
REDUCTION = (
    *("rows+", "rows-", "depth+", "depth-", "warps+", "warps-", "split+", "split-"),
    *("rows+ depth-", "rows- depth+", "depth+ warps+"),
)
MAP = ("columns+", "columns-", "warps+", "warps-", "columns+ warps+", "columns- warps-")


def near(blocks: Blocks, body: Graph, on: Device) -> tuple[Blocks, ...]:
    """Schedules a step away from a given one, in an order that is always the same."""
    domain = domain_of(body)
    if on.large or math.prod(domain.space) == 0:
        return ()
    if domain.product:
        steps, fits = PRODUCT, partial(_product_fits, body, on)
    elif domain.kind == "reduce":
        steps = tuple(step for step in REDUCTION if blocks.split > 1 or not step.startswith("split"))
        fits = partial(_rows_fit, domain, on)
    else:
        steps, fits = MAP, partial(_map_fits, math.prod(domain.space), on)
    found = (_stepped(blocks, step) for step in steps)
    return tuple(dict.fromkeys(b for b in found if b != blocks and fits(b)))


def _stepped(blocks: Blocks, step: str) -> Blocks:
    """The schedule a step away: stages grow by one, all else is doubled or halved."""
    numbers: dict[str, int] = {}
    for word in step.split():
        name, grows = word[:-1], word[-1] == "+"
        value: int = getattr(blocks, name)
        if name == "stages":
            numbers[name] = value + (1 if grows else -1)
        else:
            numbers[name] = value * 2 if grows else value // 2
    return replace(blocks, **numbers)  # type: ignore[arg-type]


def _within(value: int, bounds: tuple[int, int], length: int | None = None) -> bool:
    """Whether a number is within bounds, and no more than twice what is there."""
    low, high = bounds
    return low <= value <= high and (length is None or value == low or value < 2 * power(length))


def _product_fits(body: Graph, on: Device, b: Blocks) -> bool:
    """Whether the tiles of a product fit."""
    axes = contraction(domain_of(body).root)
    rows, columns, depth = (size_of(a) for a in (axes.rows, axes.columns, axes.reduced))
    if not (_within(b.rows, TILE, rows) and _within(b.columns, TILE, columns)):
        return False
    if not (_within(b.depth, DEPTH, depth) and _within(b.warps, WARPS) and _within(b.stages, STAGES)):
        return False
    if b.split < 1 or b.split > min(PARTS, max(1, -(-depth // b.depth) // 2)):
        return False
    return Tile(b.rows, b.columns, b.depth, b.stages, b.warps).fits(product_of(body, b.precision), on)


def _rows_fit(domain: Domain, on: Device, b: Blocks) -> bool:
    """Whether tiles of rows by a part of each row fit."""
    area, threads = b.rows * b.depth, b.warps * on.width
    if not (_within(b.rows, (1, 1024), domain.rows) and _within(b.depth, (1, 8192), domain.length)):
        return False
    if b.split < 1 or b.split > max(1, -(-domain.length // b.depth)):
        return False
    return _within(area, AREA) and _within(b.warps, WARPS) and area <= EACH * threads


def _map_fits(count: int, on: Device, b: Blocks) -> bool:
    """Whether tiles of a flat space fit."""
    if count <= COLUMNS[0] or not (_within(b.columns, COLUMNS, count) and _within(b.warps, WARPS)):
        return False
    threads = b.warps * on.width
    return threads <= b.columns <= EACH * threads
