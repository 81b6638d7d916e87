"""Data parallel steps: each rank computes the gradients of its records, all take the update by their mean.

Gradients lie in one flat buffer. It is cut into buckets, each of which is summed over the ranks (an all-reduce) as soon
as the last launch that writes into it is done, while the backward pass goes on. The update follows when all are there;
it is the same on all ranks, so that their parameters stay equal. Source: Li et al., "PyTorch Distributed: Experiences
on accelerating data parallel training", 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.program import Commit, Program
from ..executable import Executable
from ..state import State
from .alone import Alone
from .group import Group, Pending
from .shares import Shares

Array = npt.NDArray[Any]
GRADIENTS = ".gradients"
FINITE = ".finite"  # an output: 1 where all gradients of a batch are finite numbers, else 0
STEP = ".step"
SEED = ".seed"
APART = (
    0x9E3779B97F4A7C15  # between the seeds of two parts: 2^64 by the golden ratio, so that few are near to any other
)
BUCKET = 1 << 20  # bytes; below that latency is most of the time that a sum takes
PIECES = 4  # or more in which gradients leave, where the layers allow it
F32 = 4


@dataclass(frozen=True)
class Bucket:
    """The elements [start, stop) of the gradients, which are there after the `launch`-th launch."""

    launch: int
    start: int
    stop: int


def buckets(commits: Sequence[Commit], length: int, size: int = BUCKET) -> list[Bucket]:
    """The gradients in pieces, in the order in which they are complete.

    Neighbours are joined up to so many bytes, and to a share of the whole, so that those of a small net do not all
    wait for the first layer either; what a launch writes stays together. commits: when what is written. Where nothing
    is known of that, all is one piece that is complete at the end.
    """
    most = min(size, length * F32 // PIECES)
    found: list[Bucket] = []
    for one in sorted((one for one in commits if one.state == GRADIENTS), key=lambda one: one.start):
        if found and (one.stop - found[-1].start) * F32 <= most:
            last = found.pop()
            found.append(Bucket(max(last.launch, one.launch), last.start, one.stop))
        else:
            found.append(Bucket(one.launch, one.start, one.stop))
    if [one.start for one in found] != [0, *(one.stop for one in found)][:-1] or not found or found[-1].stop != length:
        found = [Bucket(0, 0, length)] if length else []
    return sorted(found, key=lambda one: (one.launch, one.start))


class GradientSum:
    """The sum of a program's gradients over all ranks. due: whether the next run's are to be summed.

    batches: that share an update. On a GPU the sums of a step of one batch are recorded with its launches; those of
    several batches are asked for behind the last of them, for a recording knows no turns.
    """

    def __init__(self, group: Alone, program: Executable, batches: int = 1, size: int = BUCKET) -> None:
        assert isinstance(group, Group), "a process that is alone sums parts, not ranks"
        self._group, self._program = group, program
        self.due = True
        self._pending: list[Pending] = []
        held = program.state.buffers.get(GRADIENTS)
        self.buckets = buckets(program.program.commits, 0 if held is None else held.size, size)
        self._late = self.on_gpu and batches > 1
        calls: dict[int, Callable[[], None]] = {}
        for launch in dict.fromkeys(one.launch for one in self.buckets):
            calls[launch] = partial(self._start, [one for one in self.buckets if one.launch == launch])
        if self.on_gpu:
            calls[max(calls)] = partial(self._start_and_wait, calls[max(calls)])
        program.interleave({} if self._late else calls)

    @property
    def on_gpu(self) -> bool:
        """Whether the gradients are on a GPU."""
        return bool(self.buckets) and not isinstance(self._program.memory(GRADIENTS), np.ndarray)

    @property
    def bytes(self) -> int:
        """Those that are summed."""
        return sum(one.stop - one.start for one in self.buckets) * F32

    def _start(self, ready: Sequence[Bucket]) -> None:
        if self.due:
            self._begin(ready)

    def _begin(self, ready: Sequence[Bucket]) -> None:
        memory = self._program.memory(GRADIENTS) if ready else None
        for one in ready:
            self._pending.append(self._group.start_sum(self._group.tensor(memory, one.start, one.stop)))

    def _start_and_wait(self, start: Callable[[], None]) -> None:
        start()
        self._wait()

    def _wait(self) -> None:
        for one in self._pending:
            one.wait()
        self._pending = []

    def alone(self) -> None:
        """The same sums of what lies there, beside nothing else."""
        self._begin(self.buckets)
        self._wait()

    def leave_out(self) -> None:
        """Sum nothing from now on."""
        self.due = False
        self._program.interleave({})

    def finish(self) -> None:
        """Wait until all is summed."""
        if self._late and self.due:
            self._begin(self.buckets)
        self._wait()
        if self.buckets and not self.on_gpu:
            self._program.state.touch()


class ExactSum:
    """The sum of the gradients over all ranks, two and two: for each number of ranks the same additions."""

    def __init__(self, group: Alone, program: Executable) -> None:
        self._group, self._program = group, program
        self.due = True

    def finish(self) -> None:
        """Add them up."""
        if (held := self._program.state.buffers.get(GRADIENTS)) is not None:
            self._group.tree_sum(held)
            self._program.state.touch()


class SharedProgram:
    """A program that each rank runs on its share of a batch, in parts; its outputs are the means over all parts.

    parts: of the whole batch, those of a rank one after the other. more: the names of inputs beside the program's own.
    """

    def __init__(
        self,
        group: Alone,
        own: Executable,
        parts: int | None = None,
        more: Mapping[str, Any] | None = None,
        source: str = "",
    ) -> None:
        self._group, self._own = group, own
        self._parts = parts or group.ranks
        self._mine = range(self._parts // group.ranks)
        of: Program = own.program
        returned = {name: type_ for name, type_ in of.returned.items() if name != FINITE}
        inputs = {**of.inputs, **(more or {})}
        self.program = SimpleNamespace(inputs=inputs, returned=returned, source=f"{of.source}{source}")

    @property
    def state(self) -> State:
        """The state of the program on this rank."""
        return self._own.state

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run it on this rank's feeds."""
        return self._means([self._own.run(self._rows(feeds, part)) for part in self._mine])

    def _rows(self, feeds: Mapping[str, Array], part: int) -> Mapping[str, Array]:
        """The rows of one of this rank's parts."""
        if len(self._mine) == 1:
            return feeds
        sizes = {name: len(array) // len(self._mine) for name, array in feeds.items()}
        return {name: array[part * sizes[name] : (part + 1) * sizes[name]] for name, array in feeds.items()}

    def _means(self, every: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        """The means of the outputs of all parts. They are added in the order of the parts, whichever rank has which."""
        first = every[0]
        rows = [np.concatenate([np.empty(0), *(np.ravel(x) for x in one.values())]) for one in every]
        table = np.zeros((self._parts, len(rows[0])))
        start = self._group.rank * len(rows)
        table[start : start + len(rows)] = rows
        means = self._group.sums_and_signal(table.reshape(-1)).reshape(table.shape).sum(axis=0) / self._parts
        found, at = {}, 0
        for name, array in first.items():
            size = int(np.size(array))
            found[name] = means[at : at + size].reshape(np.shape(array))
            at += size
        return found


class SharedGradients(SharedProgram):
    """The gradients of a rank's share of a batch, made, or added to those of the batches before.

    Each part draws random numbers of its own. In f16 a batch of which any part's gradients are not finite leaves
    running statistics alone on all ranks; where it is the only one of its step it is not counted either. exact: parts
    are added two by two, in an order that does not depend on which rank has which.
    """

    def __init__(
        self, group: Alone, own: Executable, batches: int, parts: int | None = None, *, exact: bool = False, **more: Any
    ) -> None:
        super().__init__(group, own, parts, **more)
        self.sum = ExactSum(group, own) if exact else GradientSum(group, own, batches)
        self._batches, self._done = batches, 0
        infos = own.state.infos.values()
        kinds = {info.buffer or info.name: info.kind for info in infos}
        written = [name for name in own.program.updates if name != GRADIENTS]
        # Of each part: what its batches leave to the next. Of all: what is the mean of the parts, and what counts once.
        self._kept = [name for name in written if kinds[name] == "carried"] + [GRADIENTS] * (batches > 1)
        self._once = [name for name in written if kinds[name] != "carried"]
        self._held: dict[tuple[str, int], Array] = {}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Compute them; behind the last batch of a step they are on their way to the other ranks when this returns."""
        self._done += 1
        self.sum.due = self._done % self._batches == 0
        buffers, several = self.state.buffers, len(self._mine) > 1
        guarded = FINITE in self._own.program.outputs
        before = {name: buffers[name].copy() for name in self._once} if several or guarded else {}
        outputs, after = [], []
        for part in self._mine:
            if several:
                self._exchange(before, part)
            with self._drawing(self._group.rank * len(self._mine) + part):
                outputs.append(self._own.run(self._rows(feeds, part)))
            if several:
                after.append({name: buffers[name].copy() for name in self._once})
                self._held |= {(name, part): buffers[name].copy() for name in (*self._kept, GRADIENTS)}
        if several:
            self._join(after)
        means = self._means(outputs)
        if means.pop(FINITE, np.ones(())) < 1:
            for name, value in before.items():
                if name != STEP or self._batches == 1:
                    buffers[name][...] = value
            self.state.touch()
        return means

    def _exchange(self, before: Mapping[str, Array], part: int) -> None:
        """Set the state for a part: as it was before the batch, and what the part itself left."""
        for name, value in before.items():
            self.state.buffers[name][...] = value
        for name in self._kept:
            self.state.buffers[name][...] = self._held.get((name, part), 0)
        self.state.touch()

    def _join(self, after: Sequence[Mapping[str, Array]]) -> None:
        """Statistics are the mean of the parts; gradients their sum, where they are due."""
        buffers = self.state.buffers
        for name in self._once:
            if buffers[name].dtype.kind == "f":
                buffers[name][...] = np.sum([one[name] for one in after], axis=0, dtype=np.float64) / len(after)
        if self.sum.due:
            buffers[GRADIENTS][...] = added([self._held.pop((GRADIENTS, part)) for part in self._mine])
        self.state.touch()

    @contextmanager
    def _drawing(self, part: int) -> Iterator[None]:
        """Random numbers of a part's own; those of the first are as if there were no other."""
        if part == 0 or SEED not in self._own.program.state:
            yield
            return
        held = self.state.buffers[SEED]
        seed = held.copy()
        held[...] = np.uint64((int(seed) + part * APART) % (1 << 64)).astype(np.int64)
        self.state.touch()
        try:
            yield
        finally:
            self.state.buffers[SEED][...] = seed
            self.state.touch()


def added(parts: Sequence[Array]) -> Array:
    """The sum of as many arrays as a power of two, neighbours first."""
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


class SharedUpdate:
    """The update that follows the batches of a step, by the mean of all gradients."""

    def __init__(self, gradients: SharedGradients, update: Executable, shares: Shares | None = None) -> None:
        self._gradients, self._update, self._shares = gradients, update, shares
        self.program, self.state = update.program, gradients.state

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Wait for the gradients, and update."""
        self._gradients.sum.finish()
        if self._shares is None:
            return self._update.run(feeds)
        self._shares.before()
        found = self._update.run(feeds)
        self._shares.after()
        return found


class SharedStep:
    """A step of one batch: gradients and update."""

    def __init__(
        self, gradients: SharedGradients, own: Executable, update: Executable, shares: Shares | None = None
    ) -> None:
        self._gradients, self._update = gradients, SharedUpdate(gradients, update, shares)
        self.program, self.state = gradients.program, own.state
        self._own, self._later = own.program.inputs, update.program.inputs

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The losses and metrics of the whole batch; the state has its update."""
        values = self._gradients.run({name: feeds[name] for name in self._own})
        self._update.run({name: feeds[name] for name in self._later})
        return values


def shared(group: Alone, programs: Sequence[Executable], batches: int, parts: int, *, exact: bool) -> list[Any]:
    """The programs of a step of so many batches as all ranks run them: the step, with what accumulates before it."""
    own, update = programs
    rest, shares = update.program, None
    if update.state is not own.state:
        assert isinstance(group, Group), "a process that is alone has no others to share its state with"
        shares = group.shares = Shares(group, own.state, update)
    if batches == 1:
        more = {"more": rest.inputs, "source": rest.source}
        gradients = SharedGradients(group, own, 1, parts, exact=exact, **more)
        return [SharedStep(gradients, own, update, shares)]
    gradients = SharedGradients(group, own, batches, parts, exact=exact)
    return [gradients, SharedUpdate(gradients, update, shares)]
