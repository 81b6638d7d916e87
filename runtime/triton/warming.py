"""Kernels of a program compiled together by Triton's JIT, in threads, before the first of them is launched.

A training step of a large net has hundreds, each of which takes about a second. Triton leaves Python while it compiles,
so threads share the work. Where this version of Triton cannot do that, each is compiled when it is launched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .launch import Launcher

MOST_THREADS = 16


def compile_together(launchers: Sequence[Launcher]) -> None:
    """Compile what is not compiled yet. What fails here fails again where it is launched, and says so there."""
    import triton

    mode = getattr(triton, "AsyncCompileMode", None)
    waiting = [launcher for launcher in launchers if launcher.by_jit]
    if mode is None or len(waiting) < 2:
        return
    threads = min(MOST_THREADS, len(waiting), os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(threads) as pool, mode(pool, ignore_errors=True):
            for launcher in waiting:
                launcher.compile()
    except Exception:  # of the compiler: told when the kernel is launched
        return
