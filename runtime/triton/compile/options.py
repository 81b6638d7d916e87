"""What Triton is told about a kernel besides its text: the same by JIT and ahead of time, so that both are one kernel.

NVIDIA's assembler spills a register or two to fit one more block on a multiprocessor, and takes all registers where
fewer would do. Such a kernel is compiled again with a number of registers given, and taken if it spills none.
"""

from __future__ import annotations

from typing import Any, Literal

SPARE = 200  # registers of a thread: with more, few warps fit on a multiprocessor
WIDTHS = (96, 128, 168, SPARE)
FILE = 65536  # registers that a block may have, on all of NVIDIA's GPUs from 5.0 on but some of its small boards


def options_of(warps: int, stages: int, backend: Literal["cuda", "hip"]) -> dict[str, Any]:
    """Every option of triton's that decides on the code, explicitly: defaults change from version to version."""
    found: dict[str, Any] = {
        "num_warps": warps,
        "num_stages": stages,
        "num_ctas": 1,
        "enable_fp_fusion": True,
        "sanitize_overflow": False,
        "debug": False,
        "launch_cooperative_grid": False,
        "default_dot_input_precision": "ieee",
    }
    if backend == "cuda":
        return found | {
            "maxnreg": None,
            "ptx_options": "",
            "enable_reflect_ftz": True,
            "launch_pdl": False,
        }
    return found | {
        # A stage more than two would hold its blocks in the 64 kB that all blocks of a compute unit share.
        "num_stages": min(stages, 2),
        "waves_per_eu": 0,
        "matrix_instr_nonkdim": 0,
        "kpack": 1,
        "allow_flush_denorm": False,
        "schedule_hint": "",
    }


def options_of_jit(warps: int, stages: int) -> dict[str, Any]:
    """The same for the GPU at hand, those that this version of Triton knows: its JIT refuses others.

    warps or stages 0: Triton's default.
    """
    from triton.compiler.compiler import make_backend
    from triton.runtime import driver

    target = driver.active.get_current_target()
    known = vars(make_backend(target).parse_options({"enable_fp_fusion": True}))
    found = {name: value for name, value in options_of(warps, stages, target.backend).items() if name in known}
    unsaid = {name for name, value in (("num_warps", warps), ("num_stages", stages)) if not value}
    return {name: value for name, value in found.items() if name not in unsaid}


def registers_given(registers: int, spills: int, threads: int) -> tuple[int, ...]:
    """With which registers a thread a kernel of NVIDIA's is compiled again, in this order, until one spills none.

    registers, spills: what it has. threads: of a block. Empty where it is good as it is.
    """
    if not spills and registers <= SPARE:
        return ()
    return tuple(wide for wide in WIDTHS if wide * threads <= FILE and (wide > registers or wide == SPARE))
