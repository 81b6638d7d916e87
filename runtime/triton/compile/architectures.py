"""The GPUs that kernels are compiled for ahead of time, and what a program of theirs may use.

Figures: CUDA C++ Programming Guide, "Compute Capabilities"; AMD Instinct MI300 instruction set architecture, and its
"CDNA 3" white paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ....compiler.program import UserError


@dataclass(frozen=True)
class Architecture:
    """A kind of GPU. name: `cuda:90`. lanes: threads of a warp.

    shared: bytes of shared memory that one block may have. registers: 32-bit ones that a thread can address (of AMD:
    the architectural ones, without those for accumulation). threads: of a block.
    """

    name: str
    backend: Literal["cuda", "hip"]
    lanes: int
    shared: int
    registers: int
    threads: int = 1024

    @property
    def folder(self) -> str:
        """The name as that of a folder: `cuda_90`."""
        return self.name.replace(":", "_")

    @property
    def capability(self) -> int:
        """Of NVIDIA's: ten times the compute capability."""
        return int(self.name.partition(":")[2])


KNOWN = {
    found.name: found
    for found in (
        Architecture("cuda:80", "cuda", 32, 163 << 10, 255),
        Architecture("cuda:90", "cuda", 32, 227 << 10, 255),
        Architecture("cuda:100", "cuda", 32, 227 << 10, 255),
        Architecture("hip:gfx942", "hip", 64, 64 << 10, 256),
    )
}


def limits(name: str) -> Architecture:
    """What a kernel may use on a GPU, by its name; UserError for one that is not known."""
    found = KNOWN.get(name)
    if found is None:
        raise UserError(f"there is no architecture `{name[:40]}`; there are {', '.join(KNOWN)}")
    return found


def architectures(names: Iterable[str]) -> tuple[Architecture, ...]:
    """Architectures by name, each once; UserError for an unknown one, or if there is none."""
    found = tuple(dict.fromkeys(limits(name.strip()) for name in names))
    if not found:
        raise UserError(f"no architecture is given; there are {', '.join(KNOWN)}")
    return found
