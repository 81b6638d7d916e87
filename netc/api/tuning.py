"""Autotuning: the tile sizes of a program's kernels, measured on the GPU that runs them, and put into a file.

Joins what the compiler knows of blocks (`passes/lowering/neighbours.py`: which are near) with the tuner that tries them
(`runtime/triton/compile/tune.py`). What the target c chooses, and how that is timed, is in `algorithms.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.kernel import Blocks
from ..compiler.loops.domain import domain_of
from ..compiler.program import Program
from ..driver import Compilation, compilation
from ..grammar.source import UserError
from ..passes.lowering.machines import device
from ..passes.lowering.measured import TuningEntry, TuningKey, TuningTable, plain, shape_text
from ..passes.lowering.neighbours import near
from ..passes.lowering.schedule import layers_of
from ..passes.unit import Unit
from ..report.tables import Table as Shown
from ..request import Request
from ..tuning_files import own_file, read_file, write_file
from .algorithms import Algorithms, chosen_algorithms

if TYPE_CHECKING:
    from ..runtime.triton.compile.tune import Bench, Site

SETS = 3  # of made-up inputs, in turn
Told = Callable[[int, int, int], None]


@dataclass(frozen=True)
class TunedKernel:
    """A kernel that was tuned: microseconds of its launches in a step, as the cost model or a file had it, and now."""

    layers: str
    kind: str
    space: str
    start: Blocks
    blocks: Blocks
    before: float
    us: float
    tried: int


@dataclass(frozen=True)
class Tuned:
    """What was measured. table: an entry for every kernel that has a choice."""

    net: str
    gpu: str
    rows: tuple[TunedKernel, ...]
    table: TuningTable
    form = "tune/1"

    def totals(self) -> tuple[float, float]:
        """Microseconds of all tuned kernels in a step, before and now."""
        return sum(row.before for row in self.rows), sum(row.us for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc tune --json`."""
        before, now = self.totals()
        rows = [{**asdict(row), "start": numbers(row.start), "blocks": numbers(row.blocks)} for row in self.rows]
        return {"net": self.net, "gpu": self.gpu, "us_before": before, "us": now, "kernels": rows}

    def shown(self, most: int | None = None) -> Shown:
        """The kernels, the slowest first."""
        rows = [
            [row.layers, row.kind, row.space, f"{row.before:.1f}", f"{row.us:.1f}", numbers(row.blocks), f"{row.tried}"]
            for row in sorted(self.rows, key=lambda row: -row.before)[:most]
        ]
        head = ["layers", "kind", "shape", ">us before", ">us now", "blocks", ">tried"]
        return Shown(f"{self.net} on {self.gpu}", head, rows)


def numbers(b: Blocks) -> str:
    """Blocks in a few words."""
    parts = f" in {b.split} parts" if b.split > 1 else ""
    return f"{b.rows}x{b.columns}x{b.depth}{parts}, {b.warps} warps, {b.stages} stages"


def tuned(
    made: Compilation,
    gpu: str,
    bench: Bench | None = None,
    *,
    budget: float = 300.0,
    told: Told | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuned:
    """Measure the kernels of a program, and of the update where several batches make one.

    gpu: its name. bench: what times; without it the GPU. budget: seconds, of each of the two.
    """
    step = _tuned(made, made.fused, lambda m: m.program, gpu, bench, budget, told, clock)
    if made.apply_fused is None:
        return step

    then = _tuned(made, made.apply_fused, lambda m: m.programs[1], gpu, bench, budget, told, clock)
    return replace(step, rows=(*step.rows, *then.rows), table=step.table.over(then.table))


def _tuned(
    made: Compilation,
    fused: Unit,
    program_of: Callable[[Compilation], Program],
    gpu: str,
    bench: Bench | None,
    budget: float,
    told: Told | None,
    clock: Callable[[], float],
) -> Tuned:
    from ..runtime.triton.compile.tune import tune

    kernels = _kernels(fused)
    sites = [site for key, node in kernels.items() if (site := _site(key, node, made)).near(site.start)]

    def build(chosen: Mapping[str, Blocks]) -> Program:
        return program_of(made.trying(chosen))

    timer = bench if bench is not None else _bench(made, program_of(made))
    found = tune(sites, build, timer, budget=budget, clock=clock, told=told)
    rows, entries = [], {}
    for site in sites:
        node, best = kernels[site.key], found[site.key]
        domain = domain_of(node.attrs["body"])
        layers, space, us = layers_of(node), shape_text(domain.space), best.seconds * 1e6
        rows.append(TunedKernel(layers, domain.kind, space, site.start, best.choice, best.before * 1e6, us, best.tried))
        place = TuningKey(made.arch, plain(gpu), site.key)
        entries[place] = TuningEntry(domain.kind, space, replace(best.choice, precision="ieee"), us, layers[:200])
    return Tuned(made.net.name, gpu, tuple(rows), TuningTable(entries))


def _kernels(fused: Unit) -> dict[str, Node]:
    """The kernels of a program by what they compute."""
    found: dict[str, Node] = {}
    for node in fused.graph.order:
        if node.op is ops.kernel and node.attrs["schedule"].key:
            found.setdefault(node.attrs["schedule"].key, node)
    return found


def _site(key: str, node: Node, made: Compilation) -> Site[Blocks]:
    from ..runtime.triton.compile.tune import Site

    body, on = node.attrs["body"], device(made.arch)
    return Site(key, node.attrs["schedule"], lambda blocks: near(blocks, body, on))


def _bench(made: Compilation, program: Program) -> Bench:
    from ..report.profiling import made_up_feeds
    from ..runtime.triton.compile.bench import DeviceBench

    return DeviceBench(made.new_state(), [made_up_feeds(program.inputs, seed, program.ranges) for seed in range(SETS)])


def frozen_or_tuned(
    file: Path, want: Request, out: Path | None = None, *, seconds: float, tell: Callable[[str], None]
) -> Tuned | Algorithms | None:
    """Tune a program of a file, and put the results into a schedule file (without `out` the user's own).

    Where schedules are frozen nothing is tuned: None, or UserError for what no file has. The file is written whole at
    the end, or not at all.
    """
    if not want.choice.measurable:
        there = f"{want.target} on {want.device}"
        raise UserError(f"there is nothing to measure for {there}: use --device cuda or --target c")
    gpu = _gpu(want)
    made = compilation(file, want)
    if want.schedules.frozen:
        _ = made.programs
        return None
    path = out if out is not None else own_file()
    if path is None:
        raise UserError("there is no home folder for the user's schedules: name a file by -o")
    if out is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    before = read_file(path) if path.exists() else TuningTable()  # before the work, so that a damaged file is said now

    def told(number: int, moved: int, left: int) -> None:
        tell(f"round {number}: {moved} kernels became faster, {left} are not settled")

    found: Tuned | Algorithms
    if gpu:
        found = tuned(made, gpu, budget=seconds, told=told)
    else:
        found = chosen_algorithms(made, budget=seconds)
    if not found.rows:
        return found
    write_file(path, found.table.over(before))
    tell(f"{len(found.table.entries)} {'schedules' if gpu else 'algorithms'}: {path}")
    return found


def _gpu(want: Request) -> str:
    """The name of the GPU that is measured; nothing where it is the processor."""
    if want.device != "cuda":
        return ""
    from ..runtime.triton.run.device import NoGpu

    try:
        cuda = want.choice.open()
    except NoGpu as error:
        raise error.instead("tune on one that has a GPU") from None
    assert cuda is not None
    return cuda.gpu
