"""Kernels compiled ahead of time, on a machine with or without a GPU: text in, machine code out, and always the same.

A function is compiled from its own text, with the imports and the helpers it calls and nothing else of its module, and
without line numbers: so equal functions give equal bytes in every program, folder and year, and are kept by content.
Relies on triton, imported when something is compiled; torch is not needed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import linecache
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ....compiler.program import Function, Program
from .architectures import Architecture, limits
from .options import options_of, registers_given
from .resources import Resources, resources
from .version import triton_version

# Element types as triton writes them.
TRITON_DTYPES = {
    "f32": "fp32",
    "f64": "fp64",
    "f16": "fp16",
    "bf16": "bf16",
    "i32": "i32",
    "i64": "i64",
    "u8": "u8",
    "u32": "u32",
    "u64": "u64",
    "bool": "i1",
}
FORMAT = 3  # of what is kept: a number more where this module compiles otherwise


@dataclass(frozen=True)
class Job:
    """What is compiled: all that decides on the bytes, and nothing else. arguments: (name, element type, aligned)."""

    name: str
    text: str
    arguments: tuple[tuple[str, str, bool], ...]
    constants: tuple[tuple[str, int], ...]
    options: tuple[tuple[str, Any], ...]
    arch: str
    compiler: str

    @property
    def key(self) -> str:
        """A hash that names the result by what it is made from."""
        return hashlib.sha256(json.dumps([FORMAT, *self.row()]).encode()).hexdigest()

    def row(self) -> list[Any]:
        """The job as JSON holds it."""
        return [self.name, self.text, self.arguments, self.constants, self.options, self.arch, self.compiler]

    @staticmethod
    def of(row: list[Any]) -> Job:
        """The job that `row` gave."""
        name, text, arguments, constants, options, arch, compiler = row

        def pairs(found: list[list[Any]]) -> tuple[Any, ...]:
            return tuple(map(tuple, found))

        return Job(name, text, pairs(arguments), pairs(constants), pairs(options), arch, compiler)


@dataclass(frozen=True)
class Binary:
    """A kernel as machine code. assembly: PTX, or AMD's. lanes: threads of a warp.

    Its parameters are the function's arguments, then two pointers of triton's own: scratch, of `scratch` bytes for each
    program at a multiple of `scratch_align`, and one of a profiler, which is null.
    """

    name: str
    arch: str
    kind: Literal["cubin", "hsaco"]
    code: bytes
    assembly: str
    warps: int
    lanes: int
    scratch: int
    scratch_align: int
    resources: Resources
    options: tuple[tuple[str, Any], ...]

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.warps * self.lanes

    @property
    def shared(self) -> int:
        """Bytes of shared memory that a launch asks for."""
        return self.resources.shared

    @property
    def registers(self) -> int:
        return self.resources.registers

    @property
    def spills(self) -> int:
        return self.resources.spills

    @property
    def async_copies(self) -> int:
        return self.resources.copies


def compile_function(function: Function, program: Program, arch: str) -> Binary:
    """Compile one kernel of a program in this process; nothing is kept.

    UserError for an unknown architecture; ValueError, with triton's words, for a kernel that triton refuses.
    """
    return compile_job(job_of(function, program.source, arch))


def job_of(function: Function, source: str, arch: str) -> Job:
    """What there is to compile of a function of a module."""
    return Job(
        name=function.name,
        text=unit_of(source, function.name),
        arguments=tuple((a.name, a.dtype, a.aligned) for a in function.arguments),
        constants=function.constants,
        options=tuple(sorted(options_of(function.warps, function.stages, limits(arch).backend).items())),
        arch=arch,
        compiler=f"triton {triton_version()}",
    )


def unit_of(source: str, name: str) -> str:
    """The imports of a module, one of its functions, and what of the module's names that needs.

    ValueError where the module has no such function.
    """
    imports, parts = _statements(source)
    if name not in parts:
        raise ValueError(f"the module has no function {name}")
    needed: set[str] = set()
    waiting = [name]
    while waiting:
        part = waiting.pop()
        if part not in needed and part in parts:
            needed.add(part)
            waiting.extend(parts[part][2])
    texts = dict(sorted((parts[part][0], parts[part][1]) for part in needed))
    return "\n\n".join(["\n".join(imports), *texts.values()]) + "\n"


@lru_cache(maxsize=4)
def _statements(source: str) -> tuple[list[str], dict[str, tuple[int, str, set[str]]]]:
    """The imports of a module, and of each name that it defines the line, the text and the names used there."""
    lines = source.splitlines()
    imports: list[str] = []
    parts: dict[str, tuple[int, str, set[str]]] = {}
    for statement in ast.parse(source).body:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
        text = "\n".join(lines[first - 1 : statement.end_lineno])
        used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports.append(text)
        elif isinstance(statement, ast.FunctionDef):
            parts[statement.name] = (first, text, used)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    parts[target.id] = (first, text, used)
    return imports, parts


def compile_job(job: Job) -> Binary:
    """Compile in this process, again with a number of registers given where `registers_given` says so.

    ValueError, with triton's words, for a kernel that triton refuses.
    """
    binary = _compiled(job, dict(job.options))
    if binary.kind == "cubin":
        for registers in registers_given(binary.registers, binary.spills, binary.threads):
            other = _compiled(job, {**dict(job.options), "maxnreg": registers})
            if not other.spills:
                return other
    return binary


def _compiled(job: Job, options: Mapping[str, Any]) -> Binary:
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("a process that interprets kernels cannot compile them")
    import triton
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    arch = limits(job.arch)
    chip = arch.name.partition(":")[2]
    target = GPUTarget(arch.backend, int(chip) if arch.backend == "cuda" else chip, arch.lanes)
    title = f"<netc {job.name} {job.key[:12]}>"
    linecache.cache[title] = (len(job.text), None, job.text.splitlines(keepends=True), title)
    names: dict[str, Any] = {"__name__": f"netc_kernel_{job.key[:12]}"}
    try:
        exec(compile(job.text, title, "exec"), names)
        function = names[job.name]
        signature = {name: f"*{TRITON_DTYPES[dtype]}" for name, dtype, _ in job.arguments}
        signature |= {name: "constexpr" for name, _ in job.constants}
        if list(signature) != list(function.arg_names):
            raise ValueError(f"{job.name} takes {function.arg_names}, its table says {list(signature)}")
        aligned = [["tt.divisibility", 16]]
        attrs = {(i,): aligned for i, (_, _, known) in enumerate(job.arguments) if known}
        source = ASTSource(function, signature, dict(job.constants), attrs=attrs)
        with (
            tempfile.TemporaryDirectory(prefix="netc-triton-") as folder,
            knobs.cache.scope(),
            knobs.compilation.scope(),
        ):
            knobs.cache.dir = folder
            knobs.compilation.disable_line_info = True
            knobs.compilation.always_compile = True
            try:
                made = triton.compile(source, target=target, options=dict(options))
            except Exception as error:
                raise ValueError(f"{job.name} does not compile for {job.arch}: {error}") from error
            return _binary(job, options, arch, made.asm, made.metadata)
    finally:
        linecache.cache.pop(title, None)


def _binary(job: Job, options: Mapping[str, Any], arch: Architecture, asm: Mapping[str, Any], found: Any) -> Binary:
    kind: Literal["cubin", "hsaco"] = "cubin" if arch.backend == "cuda" else "hsaco"
    code: bytes = asm[kind]
    assembly: str = asm["ptx" if kind == "cubin" else "amdgcn"]
    if getattr(found, "profile_scratch_size", 0) or found.num_ctas != 1:
        raise ValueError(f"{job.name} for {job.arch} wants more than a plain launch gives")
    return Binary(
        name=found.name,
        arch=arch.name,
        kind=kind,
        code=code,
        assembly=assembly,
        warps=found.num_warps,
        lanes=arch.lanes,
        scratch=getattr(found, "global_scratch_size", 0),  # older versions of triton have none for AMD
        scratch_align=getattr(found, "global_scratch_align", 1),
        resources=resources(kind, code, assembly, found.shared),
        options=tuple(options.items()),
    )


def packed(binary: Binary) -> bytes:
    """A binary as bytes: a line of JSON, the code, the assembly."""
    head = {
        "name": binary.name,
        "arch": binary.arch,
        "kind": binary.kind,
        "code": len(binary.code),
        "warps": binary.warps,
        "lanes": binary.lanes,
        "scratch": [binary.scratch, binary.scratch_align],
        "resources": vars(binary.resources),
        "options": binary.options,
    }
    return json.dumps(head).encode() + b"\n" + binary.code + binary.assembly.encode()


def unpacked(data: bytes) -> Binary:
    """The binary that `packed` gave; ValueError for other bytes."""
    line, _, rest = data.partition(b"\n")
    try:
        head = json.loads(line)
        found = head["resources"]
        return Binary(
            name=head["name"],
            arch=head["arch"],
            kind=head["kind"],
            code=rest[: head["code"]],
            assembly=rest[head["code"] :].decode(),
            warps=head["warps"],
            lanes=head["lanes"],
            scratch=head["scratch"][0],
            scratch_align=head["scratch"][1],
            resources=Resources(**{**found, "matrix": tuple(found["matrix"])}),
            options=tuple((name, value) for name, value in head["options"]),
        )
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"no packed binary: {error}") from None
