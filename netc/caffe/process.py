"""What Caffe keeps for a process: the device, the seed of its random numbers, the place among several solvers."""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from ..grammar.source import UserError
from ..targets import AUTO, choose

TRAIN, TEST = 0, 1
PHASES = {TRAIN: "TRAIN", TEST: "TEST"}
INFO = 0  # the levels of glog
GLOG = "GLOG_minloglevel"  # the variable of the environment that silences it


@dataclass
class Process:
    """device: `cpu` or `cuda`. target: in which nets are written. random: from which each net draws its seed."""

    device: str = "cpu"
    target: str = AUTO
    random: np.random.Generator = field(default_factory=np.random.default_rng)
    solver_count: int = 1
    solver_rank: int = 0
    multiprocess: bool = False
    logging: bool = True


HERE = Process()


def set_mode_cpu() -> None:
    """Nets that are made from now on run on the CPU."""
    HERE.device = "cpu"


def set_mode_gpu() -> None:
    """Nets that are made from now on run on the GPU; UserError where there is none."""
    choose(HERE.target, "cuda").open()
    HERE.device = "cuda"


def set_target(target: str) -> None:
    """Nets that are made from now on are written for this target (`netc devices` lists them); not of pycaffe."""
    choose(target, HERE.device)
    HERE.target = target


def set_device(number: int) -> None:
    """The GPU that `set_mode_gpu` means; there is one, number 0."""
    if number != 0:
        raise UserError(f"netc uses the GPU 0, not {number}: choose it by CUDA_VISIBLE_DEVICES={number}")


def set_random_seed(seed: int) -> None:
    """First values and random numbers of nets that are made from now on follow from this."""
    HERE.random = np.random.default_rng(seed)


def new_seed() -> int:
    """The seed of a net."""
    return int(HERE.random.integers(1 << 31))


def solver_count() -> int:
    """How many solvers train one net together; netc has one."""
    return HERE.solver_count


def set_solver_count(count: int) -> None:
    if count != 1:
        raise UserError(f"{count} solvers cannot share a net: netc trains on one device")


def solver_rank() -> int:
    """Which of them this is."""
    return HERE.solver_rank


def set_solver_rank(rank: int) -> None:
    if rank != 0:
        raise UserError(f"there is one solver, so its rank is 0, not {rank}")


def set_multiprocess(several: bool) -> None:
    """Whether processes train one net together; it changes nothing where there is one."""
    HERE.multiprocess = several


class Timer:
    """A stopwatch: `start`, `stop`, and in `ms` the milliseconds between."""

    def __init__(self) -> None:
        self._began = self._ended = 0.0

    def start(self) -> None:
        self._began = time.perf_counter()

    def stop(self) -> None:
        self._ended = time.perf_counter()

    @property
    def ms(self) -> float:
        return 1e3 * (self._ended - self._began)


def has_nccl() -> bool:
    """Whether solvers of several GPUs can be joined: no."""
    return False


def init_log(prefix: str = "", level: int = INFO) -> None:
    """Write the log to standard error, which is so from the first; `GLOG_minloglevel=1` in the environment ends it."""
    HERE.logging = level <= INFO


def log(message: str) -> None:
    """A line of the log, in the form of Caffe's, which tools for its logs read."""
    quiet = os.environ.get(GLOG, "0")
    if HERE.logging and (not quiet.isdigit() or int(quiet) <= INFO):
        now = datetime.datetime.now().strftime("%m%d %H:%M:%S.%f")
        print(f"I{now} {threading.get_native_id():5d} solver.cpp:0] {message}", file=sys.stderr)
