"""Process groups of `torch.distributed`: the ranks of a run, and the collective operations that they do together.

`torchrun` starts the processes and says in the environment who they are. Arrays of the host go over gloo, those of GPUs
over NCCL. All ranks ask for the same operations in the same order. Nothing is pickled: what is told is JSON.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.program import UserError, printable
from ..interruption import RankLost
from ..state import State
from .alone import ALONE, Alone, Answer, Signalled
from .shares import Shares
from .standing import stand, standing

Array = npt.NDArray[Any]
MINUTES = 15  # that others wait for one that reads its data, compiles, or writes a snapshot
MOST = 1 << 26  # bytes that one rank tells another
GROUPS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # which torchrun gives each process
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
MORE = "pip install 'netc[distributed]'"


def launched() -> int:
    """How many processes torchrun, or what stands for it, started as one run; 1 where it did not."""
    if any(name not in os.environ for name in GROUPS):
        return 1
    return max(1, _number("WORLD_SIZE"))


def restarted() -> bool:
    """Whether torchrun has started this run again, after a process of it was lost."""
    return os.environ.get(RESTARTS, "0") not in ("", "0")


def beside() -> int:
    """How many of the processes are on this machine."""
    return max(1, _number("LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in os.environ else 1)


def _number(name: str) -> int:
    text = os.environ[name]
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise UserError(f"${name} is `{printable(text, 40)}`, not a number of processes: start netc with torchrun")
    return int(text)


@contextmanager
def joined(device: str = "cpu") -> Iterator[Alone]:
    """The processes of the run that torchrun started, while it lasts; one alone where it did not."""
    if launched() == 1:
        yield ALONE
        return
    group = Group(device)
    try:
        yield group
    finally:
        group.close()


class Group(Alone):
    """The processes of a run, of which this is one.

    Once a `RankLost` was raised nothing more is asked of the others: `lost` says so.
    """

    def __init__(self, device: str = "cpu") -> None:
        if find_spec("torch") is None:
            raise UserError(
                f"{launched()} processes train together by torch.distributed, which needs PyTorch: {MORE}, "
                "or start netc without torchrun"
            )
        import torch.distributed

        dist: Any = torch.distributed
        if not dist.is_available():
            raise UserError(f"this PyTorch, {torch.__version__}, is built without torch.distributed: {MORE}")
        self.torch, self._dist = torch, dist
        self.rank, self.ranks = _number("RANK"), _number("WORLD_SIZE")
        self.lost = False
        self.shares: Shares | None = None
        self._signals: Signalled | None = None
        self.signal: int | None = None
        if device == "cuda":
            self._own_gpu()
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        with self._asking("does not join"):
            limit = timedelta(minutes=MINUTES)
            store, _, _ = next(dist.rendezvous("env://", timeout=limit))
            # The store outlives processes that torchrun starts again: they must not find where those before them were.
            own = dist.PrefixStore(f"netc, start {os.environ.get(RESTARTS, '0')}", store)
            dist.init_process_group(backend, store=own, rank=self.rank, world_size=self.ranks, timeout=limit)

    def _own_gpu(self) -> None:
        """The GPU of this process: that of its number on this machine."""
        cuda, own = self.torch.cuda, _number("LOCAL_RANK") if "LOCAL_RANK" in os.environ else self.rank
        if own >= cuda.device_count():
            raise UserError(
                f"this machine has {cuda.device_count()} GPUs, and process {own} wants one of its own: "
                f"start {cuda.device_count()} a machine, or use --device cpu"
            )
        cuda.set_device(own)

    def close(self) -> None:
        """Leave the group."""
        if self._dist.is_initialized() and not self.lost:
            self._dist.destroy_process_group()

    @contextmanager
    def _asking(self, what: str = "is gone") -> Iterator[None]:
        if self.lost:
            raise RankLost(f"rank {self.rank} of {self.ranks}: another process {what}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                yield
        except RuntimeError as error:  # the base of all that torch.distributed raises
            self.lost = True
            raise RankLost(f"rank {self.rank} of {self.ranks}: another process {what} ({reason(error)})") from None

    # Arrays.

    def tensor(self, memory: Any, start: int, stop: int) -> Any:
        """Elements of a flat buffer of f32 as a tensor on it. memory: an array, or torch's tensor of its bytes."""
        if isinstance(memory, np.ndarray):
            return self.torch.from_numpy(memory.reshape(-1)[start:stop])
        return memory.view(self.torch.float32)[start:stop]

    def start_sum(self, tensor: Any) -> Pending:
        """Begin to add up a tensor over all ranks, in place."""
        with self._asking():
            return Pending(self, self._dist.all_reduce(tensor, async_op=True))

    def mean(self, array: Array) -> Array:
        """The mean of an array over all ranks, in its own type."""
        found: Array = (self.sums(array) / self.ranks).astype(array.dtype)
        return found

    def tree_sum(self, array: Array) -> None:
        """Add up an array over all ranks, in place: each with its neighbour, then pairs with pairs, and so on."""
        own, other = self._flat(array), self.torch.empty(array.size, dtype=self.torch.float32)
        apart = 1
        while apart < self.ranks:
            with self._asking():
                dist, partner = self._dist, self.rank ^ apart
                asked = [dist.P2POp(dist.isend, own, partner), dist.P2POp(dist.irecv, other, partner)]
                for work in dist.batch_isend_irecv(asked):
                    work.wait()
            own += other
            apart *= 2

    def _flat(self, array: Array) -> Any:
        return self.torch.from_numpy(array.reshape(-1))

    def broadcast(self, array: Array, source: int = 0) -> None:
        """Give all ranks the bytes that an array of one has."""
        if array.size:
            with self._asking():
                self._dist.broadcast(self._flat(array.reshape(-1).view(np.uint8)), source)

    def sums(self, values: Array) -> Array:
        """The sums over all ranks."""
        total = self.torch.from_numpy(np.array(values, np.float64))
        with self._asking():
            self._dist.all_reduce(total)
        found: Array = total.numpy()
        return found

    # Words.

    def told(self, value: Any, source: int = 0) -> Any:
        """What one rank says, as JSON; the others' values are not looked at."""
        text = json.dumps(value).encode() if self.rank == source else b""
        size = np.array([len(text)], np.int64)
        self.broadcast(size, source)
        if not 0 <= size[0] <= MOST:
            raise UserError(f"rank {source} tells {size[0]:,} bytes, and not up to {MOST:,}")
        data = np.frombuffer(text, np.uint8).copy() if self.rank == source else np.empty(int(size[0]), np.uint8)
        self.broadcast(data, source)
        try:
            return json.loads(data.tobytes())
        except (ValueError, RecursionError):
            raise UserError(f"rank {source} tells what is no JSON") from None

    def check_same(self, facts: Mapping[str, str]) -> None:
        """UserError, on all ranks, where one differs from rank 0 in a fact: the file, the version, the program."""
        every = [self.told(dict(facts), rank) for rank in range(self.ranks)]
        for rank, found in enumerate(every):
            for name, value in every[0].items():
                if found.get(name) != value:
                    there, here = (printable(str(one), 80) for one in (found.get(name), value))
                    raise UserError(f"rank {rank} has another {name} than rank 0, {there} and not {here}")

    def settled(self, call: Callable[[], Answer]) -> Answer | None:
        """What rank 0 gets of a call, None elsewhere; a `UserError` of it is raised on all ranks."""
        if self.rank:
            if (message := self.told(None)) is not None:
                raise UserError(f"rank 0: {message}")
            return None
        try:
            found = call()
        except UserError as error:
            self.told(str(error))
            raise
        self.told(None)
        return found

    # Rows.

    def in_turns(self, arrays: dict[str, Array], batch: int) -> dict[str, Array]:
        """The rows of all ranks on rank 0, where they took batches in turn; on others their own."""
        mine = len(next(iter(arrays.values()), ()))
        counts = [self.told(mine, rank) for rank in range(self.ranks)]
        if self.rank:
            for array in arrays.values():
                self.pass_on(np.ascontiguousarray(array), 0)
            return arrays
        total, found = sum(counts), {}
        for name, array in arrays.items():
            rows = np.empty((total, *array.shape[1:]), array.dtype)
            for rank, count in enumerate(counts):
                own = array if rank == 0 else np.empty((count, *array.shape[1:]), array.dtype)
                if rank:
                    self.take(own, rank)
                for turn, start in enumerate(range(0, count, batch)):
                    at = (turn * self.ranks + rank) * batch
                    piece = own[start : start + batch]
                    rows[at : at + len(piece)] = piece
            found[name] = rows
        return found

    def pass_on(self, array: Array, to: int) -> None:
        """Send an array to a rank, which takes it."""
        if array.size:
            with self._asking():
                self._dist.send(self._flat(array.reshape(-1).view(np.uint8)), to)

    def take(self, array: Array, source: int) -> None:
        """Fill an array with one that a rank passes on."""
        if array.size:
            with self._asking():
                self._dist.recv(self._flat(array.reshape(-1).view(np.uint8)), source)

    # What the training loop asks.

    def stopped_by(self, signals: Signalled) -> Signalled:
        """The signal that came to any rank before the last `sums_and_signal`."""
        self._signals = signals
        return self

    def came(self) -> bool:
        """Whether there was one."""
        return self.signal is not None

    def sums_and_signal(self, values: Array) -> Array:
        own = self._signals.signal if self._signals is not None else None
        row = np.zeros((self.ranks, 1))
        row[self.rank] = own or 0
        total = self.sums(np.concatenate([values, row.reshape(-1)]))
        came = total[len(values) :]
        self.signal = self.signal or (int(came.max()) or None)
        return total[: len(values)]

    def begin(self, opened: Callable[[], Answer], run: Any) -> Answer | None:
        """Open the files of a run on rank 0; then all stand where that says, with its state."""
        found = self.settled(opened)
        told = self.told(standing(run) if self.first else None)
        state = run.state
        if not self.first:
            stand(run, told)
            state.writing()
        for name in state.buffers:
            self.broadcast(state.buffers[name])
        state.touch()
        if self.shares is not None:
            self.shares.spread()
        return found

    def room(self, state: State) -> State:
        """A state with room for all that a snapshot holds."""
        return state if self.shares is None else self.shares.room()

    def whole_state(self, state: State) -> State:
        """What a snapshot holds, on rank 0."""
        self.collect(state)
        return state if self.shares is None else self.shares.collect()

    @property
    def whole(self) -> bool:
        """Whether this rank has the whole state."""
        return self.shares is None

    def collect(self, state: State) -> None:
        """Running statistics, which each rank has of its own records, become their mean on all of them."""
        names = [info.buffer or name for name, info in state.infos.items() if info.kind == "statistic"]
        if self.lost:  # what this rank has is as good
            return
        for name in dict.fromkeys(names):
            array = state.buffers[name]
            if array.dtype.kind == "f":
                array[...] = (self.sums(array.reshape(-1)) / self.ranks).reshape(array.shape)
        if names:
            state.touch()


def reason(error: Exception) -> str:
    """What torch.distributed says in its first line, without the lines of its own source and what it guesses."""
    line = re.sub(r"\[/[^\]]*\]\s*", "", str(error).strip().partition("\n")[0])
    return printable(line.partition(". This is typically")[0], 120)


class Pending:
    """A collective operation that was begun."""

    def __init__(self, group: Group, work: Any) -> None:
        self._group, self._work = group, work

    def wait(self) -> None:
        """Until it is done; on a GPU, what is asked for from now on waits there."""
        with self._group._asking():
            self._work.wait()
