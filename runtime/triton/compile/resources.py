"""What a compiled kernel uses: registers, spills, shared memory, asynchronous copies and matrix instructions.

NVIDIA's registers and spills come from the machine code, through the `cuobjdump` that is packaged with triton; what is
copied and multiplied how, from PTX, whose instructions of these kinds the assembler takes over (and may repeat). AMD's
figures are in the metadata and the text of the assembly. No GPU is needed.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

# Matrix instructions by the names that their makers give them, and copies to shared memory, as PTX has them.
MATRIX = {
    "wgmma": re.compile(r"\bwgmma\.mma_async"),
    "tcgen05": re.compile(r"\btcgen05\.mma"),
    "mma": re.compile(r"(?<![\w.])mma\.sync"),
}
ASYNC = re.compile(r"\bcp\.async\.(?:ca|cg|bulk)\b")
LOCAL = re.compile(r"\b(?:STL|LDL)\b")
MFMA = re.compile(r"\bv_s?mfmac?_\w+")
LDS = re.compile(r"^\s*(?:buffer|global)_load_(?:lds_\w+|\w+\s.*\blds\b)", re.MULTILINE)


@dataclass(frozen=True)
class Resources:
    """registers: of a thread. spills: instructions that move registers to or from local memory (of AMD: registers).

    local: bytes of local memory a thread. shared: bytes a block. copies: asynchronous copies from global to shared
    memory in the text. matrix: the matrix instructions' names (`mma`, `wgmma`, `tcgen05`, `mfma`).
    """

    registers: int
    spills: int
    local: int
    shared: int
    copies: int
    matrix: tuple[str, ...]


def resources(kind: Literal["cubin", "hsaco"], code: bytes, assembly: str, shared: int) -> Resources:
    """What a kernel uses. assembly: PTX or AMD's. shared: what the compiler asks for at the launch."""
    return _of_cubin(code, assembly, shared) if kind == "cubin" else _of_assembly(assembly, shared)


def _of_cubin(code: bytes, text: str, shared: int) -> Resources:
    usage = _dump("-res-usage", code)
    figures = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    if figures is None:
        raise ValueError(f"cuobjdump says no registers: {usage[:200]!r}")
    local = int(figures[2]) + int(figures[3])
    return Resources(
        registers=int(figures[1]),
        spills=len(LOCAL.findall(instructions(code))) if local else 0,
        local=local,
        shared=shared,
        copies=len(ASYNC.findall(text)),
        matrix=tuple(name for name, pattern in MATRIX.items() if pattern.search(text)),
    )


def instructions(code: bytes) -> str:
    """The instructions of a cubin, a line each; takes about half a second."""
    return "\n".join(line for line in _dump("-sass", code).splitlines() if ";" in line)


def _of_assembly(text: str, shared: int) -> Resources:
    def figure(name: str) -> int:
        found = re.search(rf"^\s*(?:- )?{re.escape(name)}:\s*(\d+)", text, re.MULTILINE)
        if found is None:
            raise ValueError(f"the assembly has no {name}")
        return int(found[1])

    return Resources(
        registers=figure(".vgpr_count"),
        spills=figure(".vgpr_spill_count") + figure(".sgpr_spill_count"),
        local=figure(".private_segment_fixed_size"),
        shared=shared,
        copies=len(LDS.findall(text)),
        matrix=("mfma",) if MFMA.search(text) else (),
    )


def _dump(flag: str, code: bytes) -> str:
    tool = packaged_tool("cuobjdump")
    if tool is None:
        raise FileNotFoundError("cuobjdump is not packaged with this triton")
    env = {**os.environ, "PATH": f"{tool.parent}{os.pathsep}{os.environ.get('PATH', '')}"}  # it calls nvdisasm
    with tempfile.TemporaryDirectory(prefix="netc-") as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(code)
        done = subprocess.run([tool, flag, path], capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise ValueError(f"cuobjdump {flag}: {(done.stderr or done.stdout).strip()[:200]}")
    return done.stdout + done.stderr


def packaged_tool(name: str) -> Path | None:
    """A tool of NVIDIA's that comes with triton; None where triton or the tool is absent. Imports nothing."""
    spec = find_spec("triton")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "backends" / "nvidia" / "bin" / name
    return path if path.is_file() else None
