"""Ahead-of-time compilation for GPUs, as a folder: kernels, a manifest of their launches, weights, launchers.

The folder needs nothing of netc, and no triton: `netc_program.py` runs it with numpy and the GPU's driver, and
`netc_program.c` without Python. All of a program's memory is one allocation, so an address is a byte offset in it:
weights first, as they lie in `weights.bin`, then inputs, then the arena.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..compiler.program import Launch, Program, StateInfo
from ..grammar.source import UserError
from ..runtime.triton.compile.ahead import Binary, Job, job_of
from ..runtime.triton.compile.architectures import Architecture, architectures
from ..runtime.triton.compile.compiling import compile_jobs
from ..runtime.triton.compile.version import triton_version
from .deployed import FORMAT, module_name, write_folder, write_manifest
from .exporting import FolderOptions, Told, needs_triton
from .placing import UNIT, WEIGHTS, PlacedProgram, WeightsFile, place_memories, tensor, up, value
from .records import NO_RECORDS, Records, own_mean

if TYPE_CHECKING:
    from ..driver import Compilation
    from ..runtime.state import State

# The launchers' files, and what those in Python are called in netc.
LAUNCHER = {
    "netc_program.py": "standalone.py",
    "netc_manifest.py": "manifest.py",
    "netc_feeding.py": "feeding.py",
    "netc_program.h": "",
    "netc_program.c": "",
    "main.c": "",
}
# Modules that a net's module imports, or that lie beside it.
TAKEN = ("triton", "netc_program", "netc_manifest", "netc_feeding")
TABLES = "netc_tables.h"
README = "README.md"
ASSEMBLY = {"cubin": "ptx", "hsaco": "amdgcn"}


@dataclass(frozen=True)
class LinkedProgram(PlacedProgram):
    """A program for one architecture: its kernels by name, and where their scratch memory begins."""

    arch: Architecture
    module: str
    kernels: Mapping[str, Binary]
    scratch: int


def export(
    made: Compilation,
    weighted: Callable[[Compilation], State],
    folder: Path,
    options: FolderOptions,
) -> list[Path]:
    """A folder of kernels compiled for GPUs."""
    wanted = architectures(options.archs or made.request.choice.row.archs)
    needs_triton()
    made = made.on(arch=wanted[0].name)
    if len(made.programs) > 1:
        raise UserError(
            f"a training step of `{made.net.name}` takes {made.training.accumulate} batches for an update; ahead of "
            "time it takes one: leave out `accumulate`"
        )
    state = weighted(made)
    programs = {arch: made.on(arch=arch.name).program for arch in wanted}
    return deploy_ahead(programs, made.state, state, folder, records=options.records, told=options.told)


def deploy_ahead(
    programs: Mapping[Architecture, Program],
    infos: Sequence[StateInfo],
    state: State,
    folder: Path,
    *,
    records: Records = NO_RECORDS,
    told: Told | None = None,
) -> list[Path]:
    """Compile a program for each architecture (they differ in schedules only) and write all into a new folder.

    infos: where each tensor of the state lies. records: what the launchers do to records. told: see `compile_jobs`.
    Returns the paths of the files. UserError for a folder that holds other files, or a kernel that
    triton refuses or that takes more shared memory than the architecture has.
    """
    first = next(iter(programs.values()))
    stem = module_name(first.name, *TAKEN)
    modules = _modules(programs, stem)
    binaries = _binaries(programs, told)
    weights = WeightsFile(programs.values(), state)
    compiled = [_placed(arch, program, modules[arch], binaries[arch], weights) for arch, program in programs.items()]

    def write(part: Path) -> None:
        for arch, program in programs.items():
            (part / modules[arch]).write_text(program.source, encoding="utf-8")
        for one in compiled:
            (part / one.arch.folder).mkdir()
            for name, binary in one.kernels.items():
                (part / one.arch.folder / f"{name}.{binary.kind}").write_bytes(binary.code)
                (part / one.arch.folder / f"{name}.{ASSEMBLY[binary.kind]}").write_text(binary.assembly)
        state.save(part / f"{stem}.safetensors")
        weights.write(part / WEIGHTS)
        for name in LAUNCHER:
            (part / name).write_text(_shipped(name), encoding="utf-8")
        from .launchers import readme, tables

        records.write(part)
        manifest = _manifest(compiled, infos, weights) | records.manifest(first)
        (part / TABLES).write_text(tables(manifest, part, records.means), encoding="ascii")
        (part / README).write_text(readme(manifest), encoding="utf-8")
        files = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
        manifest["files"] = {
            name: {"bytes": (part / name).stat().st_size, "sha256": _sha256(part / name)} for name in files
        }
        write_manifest(part, manifest)

    write_folder(folder, write)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def own(manifest: Mapping[str, Any], name: str) -> bool:
    """Whether a file of a folder is one that `deploy_ahead` writes for the net of its manifest."""
    stem = module_name(manifest["net"], *TAKEN)
    if "/" in name:
        return bool(re.fullmatch(r"(cuda_\d+|hip_gfx\w+)/\w+\.(cubin|ptx|hsaco|amdgcn)", name))
    fixed = {*LAUNCHER, TABLES, README, WEIGHTS, f"{stem}.safetensors", f"{stem}.py"}
    return name in fixed or own_mean(name) or bool(re.fullmatch(rf"{re.escape(stem)}_(cuda_\d+|hip_gfx\w+)\.py", name))


def _shipped(name: str) -> str:
    """A launcher's file, as it lies in netc; those in Python are modules of the package there."""
    here = Path(__file__).parent
    if not name.endswith(".py"):
        return (here / "c" / name).read_text(encoding="ascii")
    text = (here / LAUNCHER[name]).read_text(encoding="utf-8")
    return re.sub(r"^from \.(manifest|feeding) import", r"from netc_\1 import", text, flags=re.MULTILINE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _modules(programs: Mapping[Architecture, Program], stem: str) -> dict[Architecture, str]:
    """The file of each architecture's module: one for all where the texts are equal."""
    if len({program.source for program in programs.values()}) == 1:
        return dict.fromkeys(programs, f"{stem}.py")
    return {arch: f"{stem}_{arch.folder}.py" for arch in programs}


def _binaries(programs: Mapping[Architecture, Program], told: Told | None) -> dict[Architecture, dict[str, Binary]]:
    """Every function that is launched, compiled."""
    jobs: dict[Architecture, dict[str, Job]] = {}
    for arch, program in programs.items():
        launched = {launch.function for launch in program.launches}
        jobs[arch] = {f.name: job_of(f, program.source, arch.name) for f in program.functions if f.name in launched}
    made = compile_jobs([job for table in jobs.values() for job in table.values()], told=told)
    found = {arch: {name: made[job] for name, job in table.items()} for arch, table in jobs.items()}
    for arch, table in found.items():
        for name, binary in table.items():
            if binary.shared > arch.shared or binary.threads > arch.threads:
                raise UserError(
                    f"{name} takes {binary.shared:,} bytes of shared memory and {binary.threads} threads, "
                    f"{arch.name} has {arch.shared:,} and {arch.threads}"
                )
    return found


def _placed(
    arch: Architecture, program: Program, module: str, kernels: Mapping[str, Binary], weights: WeightsFile
) -> LinkedProgram:
    """Where each memory of a program begins."""
    layout, starts, at = place_memories(program, weights)
    scratch = 0
    for launch in program.launches:
        binary = kernels[launch.function]
        grid = _grid(launch)
        scratch = max(scratch, binary.scratch * grid[0] * grid[1] * grid[2])
    return LinkedProgram(program, layout, starts, max(UNIT, at + up(scratch)), arch, module, kernels, at)


def _grid(launch: Launch) -> tuple[int, int, int]:
    grid = (*(int(n) for n in launch.grid), 1, 1, 1)
    return grid[0], grid[1], grid[2]


def _manifest(compiled: Sequence[LinkedProgram], infos: Sequence[StateInfo], weights: WeightsFile) -> dict[str, Any]:
    """Everything about the folder but its files, as JSON holds it."""
    program = compiled[0].program
    return {
        "format": FORMAT,
        "netc": __version__,
        "triton": triton_version(),
        "net": program.name,
        "mode": program.mode,
        "target": program.target,
        "dims": {name: int(size) for name, size in program.dims.items()},
        "weights": {
            "file": WEIGHTS,
            "bytes": weights.nbytes,
            "crc32": weights.crc32,
            "sections": {key: {"offset": start, "bytes": len(data)} for key, (start, data) in weights.sections.items()},
        },
        "archs": {one.arch.name: _architecture(one, infos) for one in compiled},
    }


def _architecture(one: LinkedProgram, infos: Sequence[StateInfo]) -> dict[str, Any]:
    program, layout = one.program, one.layout
    calls = {"prepare": iter(layout.prepare), "step": iter(layout.step)}
    lines = {
        found[1]: number
        for number, line in enumerate(program.source.splitlines(), 1)
        if (found := re.match(r"def (\w+)\(", line))
    }
    launches = []
    for launch in program.launches:
        call = next(calls[launch.phase])
        launches.append(
            {
                "kernel": launch.function,
                "phase": launch.phase,
                "grid": list(_grid(launch)),
                "arguments": [
                    {"buffer": name, "base": address.memory, "offset": address.offset}
                    for name, address in zip(launch.arguments, call.addresses, strict=True)
                ],
                "layers": list(launch.layers),
                "places": list(launch.places),
                "flops": int(launch.flops),
                "bytes": int(launch.bytes),
            }
        )
    functions = {function.name: function for function in program.functions}
    kernels = {}
    for name, binary in one.kernels.items():
        function, used = functions[name], binary.resources
        kernels[name] = {
            "symbol": binary.name,
            "kind": function.kind,
            "code": f"{one.arch.folder}/{name}.{binary.kind}",
            "assembly": f"{one.arch.folder}/{name}.{ASSEMBLY[binary.kind]}",
            "line": lines[name],
            "arguments": [vars(argument) for argument in function.arguments],
            "constants": dict(function.constants),
            "options": dict(binary.options),
            "threads": binary.threads,
            "warps": binary.warps,
            "shared": binary.shared,
            "scratch": binary.scratch,
            "registers": used.registers,
            "spills": used.spills,
            "local": used.local,
            "async_copies": used.copies,
            "matrix": list(used.matrix),
        }
    return {
        "module": one.module,
        "memory": {
            "bytes": one.nbytes,
            "scratch": one.scratch,
            "bases": {name: {"start": start, "bytes": layout.memories[name]} for name, start in one.starts.items()},
        },
        "inputs": {name: value(one, "input", name) for name in program.inputs},
        "outputs": {name: value(one, "output", name) for name in program.outputs},
        "state": {
            **{info.name: tensor(one, info) for info in infos if (info.buffer or info.name) in program.state},
            **{name: value(one, "state", name) for name in program.state},
        },
        "updates": list(program.updates),
        "kernels": kernels,
        "launches": launches,
        "buffers": [
            {
                "name": buffer.name,
                "space": buffer.space,
                "base": buffer.base,
                "offset": buffer.offset,
                "dtype": buffer.type.dtype,
                "stored": buffer.stored or buffer.type.dtype,
                "shape": [int(size) for size in buffer.type.shape],
                "order": list(buffer.order or range(buffer.type.rank)),
            }
            for buffer in program.buffers
        ],
    }
