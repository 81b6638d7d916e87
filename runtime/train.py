"""The training loop: rate, step, averaged loss, tests, snapshots, and everything that may happen in between.

A run is a function of its program, data and seed. It can be stopped after any step, by Ctrl-C or by a crash, and goes
on from its last snapshot to the same bits.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..compiler.program import UserError
from ..compiler.spec import TestSpec, TrainSpec
from . import snapshot as snapshots
from .atomic import sweep
from .callbacks import Callback, Calls
from .curves import try_curves
from .distributed.alone import ALONE, Alone, Signalled
from .distributed.standing import go_down
from .evaluate import Array, EndOfData, PassData, Runnable, TrainData, evaluate, feeds, numbers
from .folder import CURVES, LOG, SNAPSHOTS, locked
from .history import History
from .improvement import tests_of, unimproved
from .interruption import Diverged, Interrupted, Interruption, RankLost
from .learning_rate import rate
from .log import Log, mend, records
from .progress import Progress, Standing, open_progress
from .snapshot import KEEP, Snapshot
from .state import State
from .tensors import printable

OBJECTIVE = ".objective"
RATE = ".rate"
WINDOW = 20  # steps behind the averaged loss where no lines are displayed
MOST = 10_000  # steps behind it at most: each snapshot keeps their losses
Diagnose = Callable[[Mapping[str, Array], State], str]
Test = tuple[TestSpec, Runnable, PassData]


def train(
    step: Runnable,
    stream: TrainData,
    spec: TrainSpec,
    *,
    losses: Mapping[str, float],
    metrics: Sequence[str] = (),
    tests: Sequence[Test] = (),
    accumulate: Runnable | None = None,
    folder: Path | None = None,
    resume: bool = False,
    start: int = 0,
    threads: int = 1,
    device: str = "cpu",
    keep: int = KEEP,
    diagnose: Diagnose | None = None,
    progress: Progress | None = None,
    callbacks: Sequence[Callback] = (),
    group: Alone = ALONE,
) -> History:
    """Train for `spec.steps` steps from the state that `step` holds, or with `resume` from the folder's last snapshot.

    step: the program of forward, backward and update; where `spec.accumulate` > 1 the update alone, and `accumulate`
    is what adds up gradients. losses: name -> weight; metrics: other outputs to record. tests: what to test on, with
    an executable in test mode on the same state. folder: where the run keeps its files; None keeps none, and then
    there are no snapshots. start: steps that were done before, elsewhere. threads, device: recorded with snapshots.
    keep: snapshots left on disk, 0 for all. diagnose: says in which layer a number that is none appeared first, from
    the columns of the batch and the state before the step. callbacks: told of each event, and may end the run. group:
    the processes that do this together; only the first has a folder, and all have programs and streams of their share.

    Raises `Interrupted` after Ctrl-C or SIGTERM, `Diverged` for a loss that is no finite number, `UserError` for files
    that cannot be read or written. Snapshots and log are whole and usable after each of them.
    """
    run = _Run(step, stream, spec, losses, metrics, tests, accumulate, folder, threads, device, keep, diagnose, group)
    run.calls = Calls(callbacks, spec, step.state, run.history)
    run.done = start
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(locked(folder))
        run.progress = stack.enter_context(closing(progress or open_progress()))
        found = group.begin(lambda: run.open(resume), run)
        run.log = stack.enter_context(Log(folder / LOG if folder else None, run.history))
        interruption = group.stopped_by(stack.enter_context(Interruption()))
        run.header(found)
        try:
            run.all_steps(interruption)
        except RankLost as lost:
            go_down(run, lost)
        finally:
            if folder is not None and len(run.history) and (why := try_curves(folder / CURVES, run.history)):
                run.progress.note(f"warning: {why}")
    return run.history


class _Run:
    """One call of `train`: what it was given, and where it stands. `done` counts the steps that are committed."""

    progress: Progress
    log: Log
    calls: Calls

    def __init__(
        self,
        step: Runnable,
        stream: TrainData,
        spec: TrainSpec,
        losses: Mapping[str, float],
        metrics: Sequence[str],
        tests: Sequence[Test],
        accumulate: Runnable | None,
        folder: Path | None,
        threads: int,
        device: str,
        keep: int,
        diagnose: Diagnose | None,
        group: Alone,
    ) -> None:
        if (accumulate is not None) != (spec.accumulate > 1):
            raise ValueError("a program that accumulates gradients goes with spec.accumulate > 1")
        self.step, self.stream, self.spec, self.tests = step, stream, spec, tests
        self.accumulate, self.folder, self.diagnose, self.group = accumulate, folder, diagnose, group
        self.place: Any = None  # in the data, where a step is under way
        self.elsewhere = Path()  # in the place of a snapshot that another process has
        self.keep = keep if spec.keep is None else spec.keep
        self.losses = dict(losses)
        self.names = [*losses, *(name for name in metrics if name not in losses)]
        self.state = step.state
        self.window = min(spec.average or spec.display or WINDOW, MOST)
        self.recent: deque[float] = deque(maxlen=self.window)
        self.seconds: deque[float] = deque(maxlen=self.window)
        self.history = History()
        self.history.folder = folder
        self.done = 0
        self.tested = True  # whether the tests that are due after step `done` were done
        self.seen: set[int] = set()  # which tests were done after step `done`
        self.ended = False  # the data came to an end
        self.saved: Path | None = None  # the snapshot of step `done`
        source = "\n".join(one.program.source for one in (step, accumulate) if one is not None)
        digest = hashlib.sha256(source.encode()).hexdigest()
        self.environment = snapshots.environment(digest, threads, device, group.ranks)

    def open(self, resume: bool) -> Snapshot | None:
        """Find the snapshot to go on from, or see that the folder is free for a new run."""
        if self.folder is None:
            return None
        log = self.folder / LOG
        if not resume:
            if log.exists():
                raise UserError(
                    f"{self.folder}: holds another run; choose another folder, or --resume to go on with it"
                )
            return None
        for place in (self.folder, self.folder / SNAPSHOTS):
            sweep(place)
        found, notes = snapshots.latest(self.folder / SNAPSHOTS)
        for note in notes:
            self.progress.note(f"warning: {note}")
        if found is None:
            self.progress.note(f"{self.folder}: there is no snapshot yet; the run begins again")
        else:
            self._restore(found)
        if log.exists():
            if note := mend(log):
                self.progress.note(f"warning: {note}")
            for record in records(log):
                self.history.add(record)
            self.history.cut(self.done)
        return found

    def _restore(self, found: Snapshot) -> None:
        spec = self.spec
        if found.net != spec.net:
            raise UserError(f"{found.path}: is of the net `{printable(found.net)}`, not of `{spec.net}`")
        found.restore(self.group.room(self.state))
        self.stream.seek(found.position)
        self.done, self.tested, self.saved = found.step, found.tested, found.path
        self.seen.update(self._due_tests() if self.tested else ())
        self.recent.extend(found.losses)
        if changed := snapshots.changes(found, self.environment, spec):
            self.progress.note("the results may differ from an uninterrupted run's, since the snapshot was made with:")
            for line in changed:
                self.progress.note(f"  {line}")

    def header(self, found: Snapshot | None) -> None:
        """Begin the log and the display."""
        spec = self.spec
        self.log.write(
            "run",
            net=spec.net,
            steps=spec.steps,
            batch=self.stream.batch * spec.accumulate,
            losses=list(self.losses),
            solver=str(spec.solver),
            schedule=str(spec.schedule),
            seed=spec.seed,
            environment=self.environment,
        )
        if self.folder is not None:
            if self.done or found is not None or len(self.history):
                self.log.write("resume", step=self.done)
            kept = f"the last {self.keep} snapshots are kept" if self.keep else "all snapshots are kept"
            self.progress.note(f"log, curves, snapshots and weights go to {self.folder} ({kept})")
        self.progress.start(spec.net, self.done, spec.steps)
        self.calls.begin(self.done)

    def all_steps(self, interruption: Signalled) -> None:
        """Every step that is left, and what is due after it; then the last test, snapshot and weights."""
        start, first = time.monotonic(), self.done
        if self.done == 0:
            self.tested = not self._due_tests()
        while True:
            stop = interruption.came
            if not self.tested and self._test(self._due_tests(), stop):
                self.tested = True
                self._compare()
            due = self.spec.snapshot and self.done > first and self.done % self.spec.snapshot == 0
            if due and self.tested and self.saved is None:
                self.snapshot()
            if stop():
                self._stop(interruption)
            if self._over():
                if not self._due_tests():
                    break
                self.tested = False
            elif self.tested and self._waited():
                break
            else:
                self._one_step(due=self.done == first)
        if self.saved is None:
            self.snapshot()
        seconds = round(time.monotonic() - start, 3)
        if self.folder is None:
            self.log.write("end", step=self.done, seconds=seconds)
            self.calls.end()
            return
        weights = self.folder / f"{self.spec.net}.safetensors"
        self.state.save(weights)
        self.history.weights = weights
        self.log.write("end", step=self.done, seconds=seconds, weights=weights.name)
        self.progress.note(f"trained {self.spec.net} in {seconds:,.1f} s; weights: {weights}")
        self.calls.end()

    def _one_step(self, *, due: bool) -> None:
        spec = self.spec
        self.place = self.stream.position
        self.state.keep()
        now = rate(spec.schedule, float(spec.solver["lr"]), self.done, spec.steps)
        with np.errstate(over="ignore"):  # a rate too large for f32 is infinite
            rate_feed = {RATE: np.asarray(now).astype(np.float32)} if RATE in self.step.program.inputs else {}
        begin = time.perf_counter()
        try:
            loss, values = self._update(rate_feed)
        except EndOfData as end:
            self.state.undo()
            self.ended = True
            self.progress.note(f"{end} after step {self.done:,}; the run ends")
            return
        seconds = time.perf_counter() - begin
        self.done += 1
        self.place = self.saved = None
        self.seen.clear()
        self.recent.append(loss)
        self.seconds.append(seconds)
        self.log.write("step", step=self.done, loss=loss, rate=now, values=values, seconds=round(seconds, 6))
        self.calls.step(self.done, loss, now, values)
        self.tested = not self._due_tests()
        due = due or bool(spec.display and (self.done % spec.display == 0 or self.done == spec.steps))
        self.progress.step(self._standing(now), due=due)

    def _update(self, rate_feed: Mapping[str, Array]) -> tuple[float, dict[str, float]]:
        """One update, of a batch or of several: the loss, and all that is recorded."""
        if self.accumulate is None:
            return self._batch(self.step, rate_feed)
        parts = [self._batch(self.accumulate, {}) for _ in range(self.spec.accumulate)]
        self.step.run(rate_feed)
        values = {name: sum(part[name] for _, part in parts) / len(parts) for name in parts[0][1]}
        return sum(part for part, _ in parts) / len(parts), values

    def _standing(self, now: float) -> Standing:
        mean = sum(self.seconds) / len(self.seconds)
        told = self.names if len(self.losses) > 1 else [name for name in self.names if name not in self.losses]
        recent = self.history.recent(len(self.recent), told)
        return Standing(
            done=self.done,
            loss=sum(self.recent) / len(self.recent),
            metrics={name: sum(values) / len(values) for name, values in recent.items()},
            rate=now,
            speed=self.stream.batch * self.spec.accumulate / max(mean, 1e-9),
            left=mean * (self.spec.steps - self.done),
        )

    def _batch(self, program: Runnable, more: Mapping[str, Array]) -> tuple[float, dict[str, float]]:
        """Run a program on the next batch: the loss, and all that is recorded of it."""
        columns = feeds(program, self.stream.next().columns)
        outputs = program.run({**columns, **more})
        values = numbers({name: outputs[name] for name in self.names})
        whole = math.fsum(weight * values[name] for name, weight in self.losses.items() if weight)
        loss = float(np.asarray(outputs[OBJECTIVE]).reshape(())) if OBJECTIVE in outputs else whole
        if not math.isfinite(loss):
            self._diverged(f"the loss is {loss}", columns)
        return loss, values

    def _diverged(self, what: str, columns: Mapping[str, Array]) -> NoReturn:
        number = self.done + 1
        self.state.undo()  # so that the diagnosis sees what the step saw
        where = f"; {self.diagnose(columns, self.state)}" if self.diagnose is not None else ""
        now = rate(self.spec.schedule, float(self.spec.solver["lr"]), self.done, self.spec.steps)
        message = f"step {number:,}: {what}{where} (the rate was {now:.4g}: try a lower one, a warm-up, or `clip`)"
        self.log.write("stop", step=number, reason=message)
        raise Diverged(message)

    def _over(self) -> bool:
        """Whether no step follows."""
        return self.done >= self.spec.steps or self.ended or self.calls.stopped

    def _due_tests(self) -> Collection[int]:
        """Which tests are to be done after step `done`."""
        end = self._over()
        left = [(number, spec) for number, (spec, _, _) in enumerate(self.tests) if number not in self.seen]
        return [number for number, spec in left if end or spec.due(self.done)]

    def _test(self, numbers: Iterable[int], stop: Callable[[], bool]) -> bool:
        """Run tests; whether all of them were finished."""
        self.group.collect(self.state)
        for number in numbers:
            spec, executable, data = self.tests[number]
            begin = time.perf_counter()
            found = evaluate(executable, data, tuple(executable.program.returned), stop=stop)
            if found is None:
                return False
            values, count = found
            seconds = round(time.perf_counter() - begin, 6)
            self.seen.add(number)
            self.log.write("test", step=self.done, data=spec.data.name, values=values, records=count, seconds=seconds)
            self.progress.test(self.done, spec.data.name, values)
            self.calls.test(spec.data.name, values)
        return True

    def _compare(self) -> None:
        """Keep the weights of a test that is the best so far."""
        if (watched := self.spec.best) is None or self.folder is None:
            return
        seen = tests_of(self.history, watched)
        if len(seen) and seen[-1][0] == self.done and not unimproved(seen, watched):
            self.state.save(self.folder / f"{self.spec.net}.best.safetensors")
            self.log.write("best", step=self.done, name=str(watched), value=seen[-1][1])
            self.progress.note(f"step {self.done:,}: the best {watched} so far, {seen[-1][1]:.5g}")

    def _waited(self) -> bool:
        """Whether so many tests found nothing better that the run ends."""
        if self.spec.stop is None:
            return False
        watched, count = self.spec.stop
        over = unimproved(tests_of(self.history, watched), watched) >= count
        if over:
            self.progress.note(f"step {self.done:,}: no better {watched} for {count} tests; the run ends")
        return over

    def snapshot(self) -> None:
        """Save how things stand, where this process keeps files."""
        state = self.group.whole_state(self.state)
        if self.folder is None:
            self.saved = None if self.group.first else self.elsewhere
            return
        broken = [n for n, i in self.state.infos.items() if i.kind == "parameter" and not self.state.finite(n)]
        if broken:
            message = f"after step {self.done:,}: {broken[0]} is not finite; no snapshot is made of that"
            self.log.write("stop", step=self.done, reason=message)
            raise Diverged(message)
        counters = {n: int(self.state.buffers[n]) for n, i in self.state.infos.items() if i.kind == "counter"}
        made = Snapshot(
            net=self.spec.net,
            step=self.done,
            steps=self.spec.steps,
            position=self.stream.position,
            losses=tuple(self.recent),
            tested=self.tested,
            counters=counters,
            solver=str(self.spec.solver),
            schedule=str(self.spec.schedule),
            seed=self.spec.seed,
            environment=self.environment,
        )
        self.log.flush()
        self.saved = snapshots.save(self.folder / SNAPSHOTS, made, state, keep=self.keep).path
        self.log.write("snapshot", step=self.done, file=self.saved.name)
        self.calls.snapshot(self.saved)

    def _stop(self, interruption: Signalled) -> NoReturn:
        if self.saved is None:
            self.snapshot()
        self.log.write("stop", step=self.done, reason=f"signal {interruption.signal or 0}")
        raise Interrupted(interruption.signal or 0, self.done, self.saved, self.history)
