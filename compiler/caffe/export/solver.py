"""A `train` block as a SolverParameter: the rows of `solvers.py`, read the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....grammar.caffe.message import Message
from ....grammar.caffe.schema import fields_of
from ....grammar.source import Span
from ...schema.solvers import SCHEDULES
from ...spec import TrainSpec
from ..solvers import POLICIES, SOLVERS
from .making import put


class NoSolver(Exception):
    """A `train` block that no solver of Caffe's does: why."""


def solver_of(
    spec: TrainSpec, place: Span, *, net: str, test_iterations: Sequence[int], weights: Sequence[str], prefix: str
) -> tuple[Message, list[str]]:
    """A solver of a net's file, and remarks; NoSolver where Caffe has none that does the same.

    test_iterations: batches of each test. weights: files that it begins with. prefix: of its snapshots.
    """
    types = {ours: (caffe, fields) for caffe, (ours, fields) in SOLVERS.items()}
    if spec.solver.name not in types:
        raise NoSolver(f"`{spec.solver.name}` is no solver of Caffe's; it has {', '.join(types)}")
    notes = _unsaid(spec)
    made = Message("SolverParameter", place)
    put(made, "net", net, place)
    tests = spec.tests
    if tests:
        every, start = {test.every for test in tests}, {test.start for test in tests}
        if len(every) > 1 or any(test.net for test in tests):
            raise NoSolver("its tests are of several nets or times, and Caffe's solver has one interval")
        for count in test_iterations:
            put(made, "test_iter", count, place)
        put(made, "test_interval", every.pop() or spec.steps, place)
        if min(start) > 0:
            put(made, "test_initialization", False, place)
    kind, fields = types[spec.solver.name]
    put(made, "base_lr", spec.solver["lr"], place)
    _schedule(spec, made, place)
    for name in (*fields, "weight_decay"):
        if spec.solver[name] != fields_of(made.type)[name].default:
            put(made, name, spec.solver[name], place)
    if spec.solver["decay"] == "l1":
        put(made, "regularization_type", "L1", place)
    numbers: Mapping[str, float] = {
        "max_iter": spec.steps,
        "display": spec.display,
        "iter_size": spec.accumulate,
        "average_loss": spec.average or 1,
        "snapshot": spec.snapshot,
    }
    for name, value in numbers.items():
        if value != fields_of(made.type)[name].default:
            put(made, name, value, place)
    if spec.clip:
        put(made, "clip_gradients", spec.clip, place)
    put(made, "snapshot_prefix", prefix, place)
    put(made, "random_seed", spec.seed, place)
    put(made, "type", kind, place)
    put(made, "weights", ",".join(weights) if weights else [], place)
    return made, notes


def _schedule(spec: TrainSpec, made: Message, place: Span) -> None:
    schedule = spec.schedule
    if schedule.name not in POLICIES:
        known = ", ".join(name for name in SCHEDULES if name in POLICIES)
        raise NoSolver(f"`{schedule.name}` is no policy of Caffe's; it has {known}")
    if schedule.get("warmup"):
        raise NoSolver("its schedule warms up, and Caffe's do not: warmup: 0")
    put(made, "lr_policy", schedule.name, place)
    for caffe, ours in POLICIES[schedule.name].items():
        value = schedule[ours]
        put(made, caffe, list(value) if isinstance(value, tuple) else value, place)


def _unsaid(spec: TrainSpec) -> list[str]:
    """What of a block Caffe's solver does not do."""
    found = []
    if spec.best is not None or spec.stop is not None or spec.keep is not None:
        found.append("`keep` and `stop` are not for Caffe's solver: it keeps all snapshots, and does all its steps")
    if spec.rename:
        found.append("`rename` is not for Caffe's solver: layers of its weights have the names that they have there")
    return found
