"""Resource usage of compiled kernels, as a table: what each computes for which layers, and what it takes of a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..compiler.codegen.target import that
from ..compiler.program import Launch, Program
from ..deployment.exporting import kernel_progress, needs_triton
from ..grammar.source import UserError
from .tables import Table, size

if TYPE_CHECKING:
    from ..driver import Compilation
    from ..runtime.triton.compile.ahead import Binary


def compiled_for(made: Compilation, arch: str) -> tuple[Program, dict[str, Binary]]:
    """The program for a GPU, and its kernels by name. UserError for another target, or an unknown architecture."""
    from ..runtime.triton.compile.ahead import job_of
    from ..runtime.triton.compile.architectures import limits
    from ..runtime.triton.compile.compiling import compile_jobs

    name = limits(arch).name
    if not made.request.choice.row.archs:
        raise UserError(f"--arch is for --target {that(lambda row: row.archs)}")
    needs_triton()
    program = made.on(arch=name).program
    launched = {launch.function for launch in program.launches}
    jobs = {f.name: job_of(f, program.source, name) for f in program.functions if f.name in launched}
    with kernel_progress() as told:
        binaries = compile_jobs(jobs.values(), told=told)
    return program, {name: binaries[job] for name, job in jobs.items()}


def kernel_rows(program: Program, binaries: Mapping[str, Binary]) -> list[dict[str, Any]]:
    """Each kernel with its launches' layers and lines, and what the compiled one uses; in order of the first launch."""
    launches: dict[str, list[Launch]] = {}
    for launch in program.launches:
        launches.setdefault(launch.function, []).append(launch)
    kinds = {function.name: function.kind for function in program.functions}
    rows = []
    for name, bound in launches.items():
        binary = binaries[name]
        rows.append(
            {
                "kernel": name,
                "kind": kinds[name],
                "layers": list(dict.fromkeys(layer for launch in bound for layer in launch.layers)),
                "places": list(dict.fromkeys(place for launch in bound for place in launch.places)),
                "grids": [[int(n) for n in launch.grid] for launch in bound],
                "threads": binary.threads,
                "registers": binary.registers,
                "spills": binary.spills,
                "shared": binary.shared,
                "async_copies": binary.async_copies,
                "matrix": list(binary.resources.matrix),
            }
        )
    return rows


def kernel_table(program: Program, binaries: Mapping[str, Binary], arch: str) -> Table:
    """The same for readers; in the title what would cost time: spills, and kernels with many registers."""
    from ..runtime.triton.compile.architectures import limits
    from ..runtime.triton.compile.options import SPARE

    rows = kernel_rows(program, binaries)
    shown = [
        [
            row["kernel"],
            ", ".join(row["layers"]) or "no layer",
            _grids(row["grids"]),
            f"{row['threads']}",
            f"{row['registers']}",
            f"{row['spills']}" if row["spills"] else "",
            size(row["shared"]) if row["shared"] else "",
            f"{row['async_copies']}" if row["async_copies"] else "",
            ", ".join(row["matrix"]),
        ]
        for row in rows
    ]
    spilling = sum(row["spills"] > 0 for row in rows)
    wide = sum(row["registers"] > SPARE for row in rows)
    over = sum(row["shared"] > limits(arch).shared for row in rows)
    title = (
        f"{len(rows)} kernels for {arch}: {spilling} spill registers, {wide} take more than {SPARE} of them, "
        f"{over} more shared memory than there is"
    )
    head = ["kernel", "layers", "grid", ">threads", ">registers", ">spills", ">shared", ">async copies", "matrix"]
    return Table(title, head, shown)


def _grids(grids: list[list[int]]) -> str:
    texts = dict.fromkeys("x".join(map(str, grid)) for grid in grids)
    times = f" ({len(grids)} launches)" if len(grids) > 1 else ""
    return ", ".join(texts) + times
