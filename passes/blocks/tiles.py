"""Tiles of products on a GPU, by a cost model with the device's figures.

The model counts what bounds a product: arithmetic on each unit, bytes from memory and from the last cache, the latency
of a program's steps, and waves of programs. It is right about orders of magnitude and about which of two tiles leaves
units idle; a tuner refines what it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

from ...compiler import ops
from ...compiler.contraction import contraction, size_of
from ...compiler.form import Form
from ...compiler.kernel import Blocks
from .devices import Device

Precision = Literal["ieee", "tf32"]
# Seconds that a step waits for its operands, with nothing else to do.
WAIT = 0.7e-6
# Sums of a tile that a thread may hold in registers: without matrix units, and with them of a convolution, where
# addresses take others. Of any other product see `Device.sums`.
SIMPLE_SUMS = 32
CONVOLUTION_SUMS = 64
# What a thread may load in a step: bytes as vectors; elements one by one, which takes an address each.
LOADS = 192
SINGLE_LOADS = 24
SINGLE_LOADS_SIMPLE = 16
# Parts of K: more would take longer to add than they save.
MOST_PARTS = 64
# Of the rate of a unit, what a large tile reaches, and the side of the tile that reaches half of that.
BEST = 0.8
SIDE = 24
# Of what bounds a kernel less, how much still adds to its time.
OVERLAP = 0.15
# Numbering K as one axis takes divisions at each step.
DIVISIONS = 1.3


@dataclass(frozen=True)
class Product:
    """A product of batch, rows, columns and depth (K), of which `channels` lie side by side (0: all of K).

    run: elements of the data of a convolution that lie side by side (0: no convolution). written: bytes of its result.
    """

    batch: int
    rows: int
    columns: int
    depth: int
    channels: int
    run: int
    dtype: str
    precision: Precision
    written: int

    @property
    def size(self) -> int:
        """Bytes of an element of its operands."""
        return {"f16": 2, "bf16": 2, "f64": 8}.get(self.dtype, 4)

    @property
    def simple(self) -> bool:
        """Whether it is computed without matrix units."""
        return self.dtype == "f64" or (self.size == 4 and self.precision == "ieee")

    def steps(self, deep: int) -> tuple[int, float]:
        """Steps of so much depth, and how much longer one takes since its elements are numbered with divisions."""
        if not self.channels:
            return math.ceil(self.depth / deep), 1.0
        each = math.ceil(self.channels / deep)
        if self.channels >= 16 and each * deep <= 1.1 * self.channels:
            return self.depth // self.channels * each, 1.0
        return math.ceil(self.depth / deep), DIVISIONS


def product_of(form: Form, precision: Precision) -> Product:
    """What the cost model needs to know of a kernel with a product."""
    root = form.root
    axes = contraction(root)
    batch, rows, columns, depth = (size_of(a) for a in (axes.batch, axes.rows, axes.columns, axes.reduced))
    channels = run = 0
    if root.op is not ops.dot:
        # A gradient by weights sums over positions, of which a row's lie in a line.
        last = root.inputs[1].shape[-1] if root.op is ops.conv_weight_grad else 0
        run = int(root.inputs[0].shape[1] // root.attrs["groups"])
        channels = int(last) or run
    return Product(batch, rows, columns, depth, channels, run, root.inputs[0].dtype, precision, root.type.nbytes)


@cache
def candidates(of: Product, on: Device) -> Sequence[tuple[float, Blocks]]:
    """Blocks of a product with the seconds that they should take, the best first."""
    if on.large:
        tall, wide, deep = (max(16, min(256, power(n))) for n in (of.rows, of.columns, of.depth))
        return [(0.0, Blocks(tall, wide, deep, precision=of.precision))]
    found = []
    depths = (16, 32) if of.simple else (32, 64)
    for tall, wide, deep, stages, warps in product(_sides(of.rows), _sides(of.columns), depths, (2, 3, 4), (4, 8)):
        tile = _Tile(tall, wide, deep, stages, warps)
        if (deep > depths[0] and deep >= 2 * power(of.depth)) or not tile.fits(of, on):
            continue
        for split in _parts(of.steps(deep)[0]):
            blocks = Blocks(tall, wide, deep, split, warps, stages, of.precision)
            found.append((tile.seconds(of, on, split), blocks))
    if not found:
        # The smallest tile runs everywhere.
        found = [(math.inf, Blocks(16, 16, depths[0], 1, 4, 2, of.precision))]
    return sorted(found, key=lambda pair: pair[0])


@dataclass(frozen=True)
class _Tile:
    tall: int
    wide: int
    deep: int
    stages: int
    warps: int

    def fits(self, of: Product, on: Device) -> bool:
        """Whether a program has the registers and the shared memory."""
        threads = self.warps * on.width
        sums, loads = self.tall * self.wide / threads, (self.tall + self.wide) * self.deep / threads
        most = on.sums
        if of.simple:
            most = SIMPLE_SUMS
        elif of.channels:
            most = CONVOLUTION_SUMS if self.warps > 4 else CONVOLUTION_SUMS // 2
        single = of.run and (of.simple or of.run % 4)
        limit = LOADS // of.size if not single else SINGLE_LOADS_SIMPLE if of.simple else SINGLE_LOADS
        return sums <= most and sums >= 64 // on.width and loads <= limit and self.shared(of) <= on.shared

    def shared(self, of: Product) -> int:
        return (self.tall + self.wide) * self.deep * of.size * self.stages

    def seconds(self, of: Product, on: Device, split: int) -> float:
        """The time of a product whose K is cut into parts."""
        programs = of.batch * -(-of.rows // self.tall) * -(-of.columns // self.wide) * split
        steps, slower = of.steps(self.deep)
        steps = math.ceil(steps / split)
        threads = self.warps * on.width
        registers = self.tall * self.wide + 64 * threads
        together = max(1, min(on.unit_shared // self.shared(of), on.registers // registers, 2048 // threads))
        waves = -(-programs // (on.units * together))
        side = 2 * self.tall * self.wide / (self.tall + self.wide)
        efficiency = BEST * side / (side + SIDE)
        each = on.rate(of.dtype, of.precision) / on.units * efficiency
        arithmetic = -(-programs // on.units) * steps * 2 * self.tall * self.wide * self.deep / each
        waiting = waves * (steps * slower / (self.stages - 1) + 2) * WAIT
        cached = programs * steps * (self.tall + self.wide) * self.deep * of.size / on.cache
        moved = of.size * of.batch * of.depth * (of.rows + of.columns) + of.written
        bounds = (arithmetic * slower, waiting, cached, moved / on.bandwidth)
        added = 0.0
        if split > 1:
            added = on.launch + of.batch * of.rows * of.columns * 4 * (2 * split + 1) / on.cache
        return on.launch + max(bounds) + OVERLAP * sum(bounds) + added


def _sides(length: int) -> list[int]:
    """Sides of a tile along an axis: none of which half would do."""
    return [side for side in (16, 32, 64, 128, 256) if side < 2 * power(length) or side == 16]


def _parts(steps: int) -> list[int]:
    """Into how many parts K may be cut, so that each has two steps."""
    return [1, *(1 << i for i in range(1, MOST_PARTS.bit_length()) if 2 << i <= steps)]


def power(n: int) -> int:
    """The smallest power of two from n on."""
    return 1 << max(0, int(n) - 1).bit_length()
