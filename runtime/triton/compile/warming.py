"""Kernels of a program compiled together by Triton's JIT, in threads, and loaded, before the first of them is launched.

A training step of a large net has hundreds, each of which takes about a second. Triton leaves Python while it compiles,
so threads share the work. Where this version of Triton cannot do that, they are compiled one by one. What spills
registers is compiled again as `options` says, so that what runs is what `netc compile` makes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ..run.launch import Launcher

MOST_THREADS = 16


def compile_together(launchers: Sequence[Launcher]) -> None:
    """Compile and load what is not yet. What fails here fails again where it is launched, and says so there."""
    waiting = [launcher for launcher in launchers if launcher.by_jit]
    _compile(waiting)
    _make_starters(waiting)
    trials = []
    for launcher in waiting:
        try:
            wider = launcher.wider()
        except Exception:  # of the compiler or the driver: told when the kernel is launched
            continue
        if wider:
            trials.append((launcher, wider))
    # One number of registers at a time, for all kernels that want one.
    while trials:
        _compile([wider[0] for _, wider in trials])
        trials = [(launcher, wider[1:]) for launcher, wider in trials if not _settled(launcher, wider)]


def _settled(launcher: Launcher, wider: Sequence[Launcher]) -> bool:
    """Whether nothing is left to try: the first of these keeps its values in registers, or it is the last."""
    try:
        if not wider[0].load().n_spills:
            launcher.become(wider[0])
            return True
    except Exception:  # the kernel as it was can be launched
        pass
    return len(wider) == 1


def _make_starters(launchers: Sequence[Launcher]) -> None:
    """Have Triton make what passes arguments to kernels: many versions compile a text in C for each list of types."""
    from triton.runtime import driver

    different = {}
    for launcher in launchers:
        with suppress(Exception):  # told when the kernel is launched
            kernel = launcher.compiled()
            different[str(kernel.src.signature.values())] = kernel
    if len(different) < 2:
        return
    with ThreadPoolExecutor(min(MOST_THREADS, len(different), os.cpu_count() or 1)) as pool:
        for made in [pool.submit(driver.active.launcher_cls, one.src, one.metadata) for one in different.values()]:
            made.exception()


def _compile(waiting: Sequence[Launcher]) -> None:
    import triton

    mode = getattr(triton, "AsyncCompileMode", None)
    if mode is None or len(waiting) < 2:
        return
    threads = min(MOST_THREADS, len(waiting), os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(threads) as pool, mode(pool, ignore_errors=True):
            for launcher in waiting:
                launcher.compile()
    except Exception:  # of the compiler: told when the kernel is launched
        return
