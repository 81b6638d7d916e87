"""Cost model of products on a GPU (roofline, latency, waves of programs), and the tiles that it prefers.

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

from ....compiler import ops
from ....compiler.graph import Graph, Node, reached
from ....compiler.kernel import Blocks
from ....compiler.loops.contraction import contraction, size_of
from ....compiler.loops.domain import domain_of
from ..machines import Device

Precision = Literal["ieee", "tf32"]
# The figures below are assumed: of the size that makers' data sheets and the decision on far reads (0019) let expect.
# Seconds that a step waits for its operands, with nothing else to do.
WAIT = 0.7e-6
# Sums of a tile that a thread may hold in registers without matrix units. With them see `Device`.
SIMPLE_SUMS = 32
# What a thread may load in a step: vectors of at most so many bytes; elements one by one. Each takes an address.
LOADS = 12
VECTOR = 16
SINGLE_LOADS = 24
SINGLE_LOADS_SIMPLE = 16
# Parts of K: more would take longer to add than they save.
MOST_PARTS = 64
# What a cut of K must promise to save, since the launch that it costs is certain.
UNSURE = 1.1
# Of the rate of a unit, what a large tile reaches, and the side of the tile that reaches half of that.
BEST = 0.8
SIDE = 24
# Of what bounds a kernel less, how much still adds to its time.
OVERLAP = 0.15
# Numbering K as one axis takes divisions at each step.
DIVISIONS = 1.3
# Instructions of a warp in a step, and for each load of it: addresses and masks, of a convolution more. How many a unit
# starts a second.
STEP, EACH, EACH_OF_CONVOLUTION = 60, 6, 13
STARTED = 7e9
# Rows that a matrix instruction of a group of four warps takes, and what the older one reaches of its rate.
GROUP_ROWS = 64
OLDER = 0.6
# How often the taps of a convolution find an element in the cache of their multiprocessor, at most: rows of an image
# that a tile cuts are read for each tile, and the cache loses some.
MOST_AGAIN = 4


@dataclass(frozen=True)
class Product:
    """A product of batch, rows, columns and depth (K), of which `channels` lie side by side (0: all of K).

    run: elements of the data of a convolution that lie side by side (0: no convolution). taps: how many of its taps
    read an element of the data; by_weights: whether they lie along the columns. written: bytes of its result. beside:
    how many other large arrays the kernel reads and writes where it has the sums.
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
    taps: float = 1.0
    by_weights: bool = False
    beside: int = 0

    @property
    def size(self) -> int:
        """Bytes of an element of its operands."""
        return {"f16": 2, "bf16": 2, "f64": 8}.get(self.dtype, 4)

    @property
    def simple(self) -> bool:
        """Whether it is computed without matrix units."""
        return self.dtype == "f64" or (self.size == 4 and self.precision == "ieee")

    @property
    def vector(self) -> int:
        """Elements of the data of a convolution that one load takes."""
        return math.gcd(self.run, VECTOR // self.size)

    def read(self, tall: int, wide: int) -> float:
        """Of a tile of both operands, how many rows and columns come from the last cache."""
        again = min(self.taps, float(MOST_AGAIN))
        if not self.by_weights:
            return tall / again + wide
        return tall + wide / min(again, max(1.0, wide / self.run))

    def steps(self, deep: int) -> tuple[int, float]:
        """Steps of so much depth, and how much longer one takes since its elements are numbered with divisions."""
        if not self.channels:
            return math.ceil(self.depth / deep), 1.0
        each = math.ceil(self.channels / deep)
        if self.channels >= 16 and each * deep <= 1.1 * self.channels:
            return self.depth // self.channels * each, 1.0
        return math.ceil(self.depth / deep), DIVISIONS


def product_of(body: Graph, precision: Precision) -> Product:
    """What the cost model needs to know of a kernel with a product."""
    root = domain_of(body).root
    axes = contraction(root)
    batch, rows, columns, depth = (size_of(a) for a in (axes.batch, axes.rows, axes.columns, axes.reduced))
    channels = run = 0
    taps = 1.0
    if root.op is not ops.dot:
        # A gradient by weights sums over positions, of which a row's lie in a line.
        last = root.inputs[1].shape[-1] if root.op is ops.conv_weight_grad else 0
        run = int(root.inputs[0].shape[1] // root.attrs["groups"])
        channels = int(last) or run
        kernel = (root if last else root.inputs[1]).shape[2:]
        taps = max(1.0, math.prod(kernel) / math.prod(root.attrs["stride"]))
    return Product(
        batch,
        rows,
        columns,
        depth,
        channels,
        run,
        root.inputs[0].dtype,
        precision,
        root.type.nbytes,
        taps,
        by_weights=root.op is ops.conv_weight_grad,
        beside=_beside(root, body),
    )


def _beside(root: Node, body: Graph) -> int:
    """The large arrays that what follows a product reads, and writes beside one result."""
    before = set(reached([root], lambda x: x.inputs))
    large = [x for x in (*body.inputs.values(), *body.outputs.values()) if 2 * x.type.count > root.type.count]
    return max(0, len([x for x in large if x not in before or x is root]) - 1)


@cache
def candidates(of: Product, on: Device) -> Sequence[tuple[float, Blocks]]:
    """Blocks of a product with the seconds that they should take, the best first."""
    if on.large:
        tall, wide, deep = (max(16, min(256, power(n))) for n in (of.rows, of.columns, of.depth))
        return [(0.0, Blocks(tall, wide, deep, precision=of.precision))]
    found = []
    depths = (16, 32) if of.simple else (32, 64)
    for tall, wide, deep, stages, warps in product(_sides(of.rows), _sides(of.columns), depths, (2, 3, 4), (4, 8)):
        tile = Tile(tall, wide, deep, stages, warps)
        if (deep > depths[0] and deep >= 2 * power(of.depth)) or not tile.fits(of, on):
            continue
        for split in _parts(of.steps(deep)[0], of.batch * -(-of.rows // tall) * -(-of.columns // wide), on):
            blocks = Blocks(tall, wide, deep, split, warps, stages, of.precision)
            found.append((tile.seconds(of, on, split), blocks))
    if not found:
        # The smallest tile runs everywhere.
        found = [(math.inf, Blocks(16, 16, depths[0], 1, 4, 2, of.precision))]
    return sorted(found, key=lambda pair: pair[0])


@dataclass(frozen=True)
class Tile:
    """What one program computes of a product, and with how many warps."""

    tall: int
    wide: int
    deep: int
    stages: int
    warps: int

    def fits(self, of: Product, on: Device) -> bool:
        """Whether a program has the registers and the shared memory; the model's candidates and the tuner's must."""
        threads = self.warps * on.width
        sums, loads = self.tall * self.wide / threads, (self.tall + self.wide) * self.deep / threads
        most = on.sums
        if of.simple:
            most = SIMPLE_SUMS
        elif of.channels:
            most = on.convolution_sums // (1 if self.warps > 4 else 2) // (2 if of.beside > 1 else 1)
        if of.run and (of.simple or of.run % 4):
            few = loads <= (SINGLE_LOADS_SIMPLE if of.simple else SINGLE_LOADS)
        else:
            few = self.loads(of, on) <= LOADS
        return few and 64 // on.width <= sums <= most and self.shared(of) <= on.shared

    def loads(self, of: Product, on: Device) -> float:
        """Loads of a thread in a step."""
        data, other = (self.wide, self.tall) if of.by_weights else (self.tall, self.wide)
        each = VECTOR // of.size
        return self.deep * (data / (of.vector if of.run else each) + other / each) / (self.warps * on.width)

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
        if on.groups and not of.simple and self.tall < GROUP_ROWS:
            efficiency *= OLDER
        each = on.rate(of.dtype, of.precision) / on.units * efficiency
        turns = -(-programs // on.units)
        # A program begins with a wait and ends with its results; others of its unit calculate meanwhile.
        idle = turns * 2 * WAIT / together**2
        arithmetic = turns * steps * 2 * self.tall * self.wide * self.deep / each
        waiting = waves * (steps * slower / (self.stages - 1) + 2) * WAIT
        cached = programs * steps * of.read(self.tall, self.wide) * self.deep * of.size / on.cache
        instructions = slower * (STEP + (EACH_OF_CONVOLUTION if of.run else EACH) * self.loads(of, on))
        started = turns * steps * self.warps * instructions / STARTED
        moved = of.size * of.batch * of.depth * (of.rows + of.columns) + of.written
        bounds = (arithmetic, started, waiting, cached, moved / on.bandwidth)
        found = on.launch + max(bounds) + OVERLAP * sum(bounds) + idle
        if split == 1:
            return found
        finishing = on.launch + 2 * WAIT + of.batch * of.rows * of.columns * 4 * (2 * split + 1) / on.cache
        return UNSURE * (found + finishing)


def _sides(length: int) -> list[int]:
    """Sides of a tile along an axis: none of which half would do."""
    return [side for side in (16, 32, 64, 128, 256) if side < 2 * power(length) or side == 16]


def _parts(steps: int, tiles: int, on: Device) -> list[int]:
    """Into how many parts K may be cut, so that each has two steps: powers of two, and what just fills all units."""
    full = [turns * on.units // tiles for turns in (1, 2, 3, 4)]
    found = {1 << i for i in range(1, MOST_PARTS.bit_length())} | {n for n in full if 1 < n <= MOST_PARTS}
    return [1, *sorted(n for n in found if 2 * n <= steps)]


def power(n: int) -> int:
    """The smallest power of two from n on."""
    return 1 << max(0, int(n) - 1).bit_length()
