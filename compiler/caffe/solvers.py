"""A SolverParameter as a `train` block: the solver, its schedule, when it tests, and the nets that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...grammar import tree
from ...grammar.caffe.message import Message, Scalar
from ...grammar.source import SourceError, Span, suggest
from . import writer
from .data import Feed
from .files import written
from .layer import Report
from .nets import Translated

# Our solver by Caffe's type, with the fields that it reads beside the rate and the decay.
SOLVERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "SGD": ("sgd", ("momentum",)),
    "Nesterov": ("nesterov", ("momentum",)),
    "AdaGrad": ("adagrad", ("delta",)),
    "RMSProp": ("rmsprop", ("rms_decay", "delta")),
    "AdaDelta": ("adadelta", ("momentum", "delta")),
    "Adam": ("adam", ("momentum", "momentum2", "delta")),
}
# Our settings by the fields that a policy reads.
POLICIES: dict[str, dict[str, str]] = {
    "fixed": {},
    "step": {"gamma": "gamma", "stepsize": "every"},
    "exp": {"gamma": "gamma"},
    "inv": {"gamma": "gamma", "power": "power"},
    "multistep": {"gamma": "gamma", "stepvalue": "at"},
    "poly": {"power": "power"},
    "sigmoid": {"gamma": "gamma", "stepsize": "at"},
}
# Where a solver names the net that it trains.
TRAIN_FIELDS = ("train_net_param", "train_net", "net_param", "net")


@dataclass(frozen=True)
class Wanted:
    """A net that a solver names: by the path of a file, or written out; with the state that it is taken in."""

    field: str
    item: Scalar | Message
    state: Message

    @property
    def key(self) -> tuple[object, ...]:
        """What tells nets apart."""
        what = self.item.value if isinstance(self.item, Scalar) else id(self.item)
        return what, self.state.get("level"), tuple(self.state.all("stage"))


@dataclass
class Experiment:
    """The definitions of an experiment, as they are found."""

    nets: list[tree.NetDef] = field(default_factory=list)
    data: list[tree.DataDef] = field(default_factory=list)

    def add_data(self, feeds: list[Feed], title: str, more: list[tree.Arg]) -> list[tree.Expr]:
        """The data of a phase under a name of their own, with settings beside their own; the names."""
        found: list[tree.Expr] = []
        for feed in feeds:
            name = title or feed.layer.get("name") or "data"
            taken = {one.name.name for one in self.data}
            number, free = 1, name
            while free in taken:
                number += 1
                free = f"{name}{number}"
            source = feed.source
            call = tree.Call(source.span, source.callee, (*source.args, *more))
            self.data.append(tree.DataDef(feed.layer.span, writer.name(free, source.span), call))
            found.append(writer.name(free, source.span))
        return found


def train_net(solver: Message, report: Report) -> Wanted | None:
    """The net that is trained; None (reported) where there is not exactly one."""
    given = [name for name in TRAIN_FIELDS if solver.has(name)]
    if len(given) != 1:
        what = f"`{given[0]}` and `{given[1]}` both name the net to train" if given else "no net is named to train"
        place = solver.place(given[1]) if given else solver.source.span()
        report(SourceError("E720", what, place, 'such as net: "lenet.prototxt"'))
        return None
    return Wanted(given[0], solver.items(given[0])[0], solver.sub("train_state"))


def test_nets(solver: Message, report: Report) -> list[Wanted]:
    """The nets that are tested, in Caffe's order: those of their own, then the one that is trained."""
    own = [(name, item) for name in ("test_net_param", "test_net") for item in solver.items(name)]
    counts, states = solver.items("test_iter"), solver.messages("test_state")
    generic = [(name, solver.items(name)[0]) for name in ("net_param", "net") if solver.has(name)]
    instances = len(counts) - len(own) if generic else 0
    found = [*own, *(generic * max(instances, 0))]
    if len(counts) != len(found):
        message = f"{len(counts)} `test_iter`s for {len(found)} nets to test"
        report(SourceError("E720", message, solver.place("test_iter"), "one for each"))
        return []
    if states and len(states) != len(found):
        message = f"{len(states)} `test_state`s for {len(found)} nets to test"
        report(SourceError("E720", message, solver.place("test_state"), "one for each, or none"))
        return []
    empty = Message("NetState", solver.span)
    return [Wanted(name, item, states[i] if states else empty) for i, (name, item) in enumerate(found)]


def definitions(
    solver: Message, net_of: Callable[[Wanted], Translated | None], report: Report
) -> tuple[tuple[tree.Definition, ...], Mapping[tuple[str, str], tuple[SourceError, ...]]]:
    """What a solver describes: nets, data and one `train` block; and why modes of nets cannot be had.

    net_of: reads one of its nets; None where that is wrong, and has been reported.
    """
    made = Experiment()
    last = _solver_settings(solver, report)
    wanted = train_net(solver, report)
    trained = net_of(wanted) if wanted is not None else None
    if wanted is None or trained is None:
        return (), {}
    refused: dict[tuple[str, str], tuple[SourceError, ...]] = {}
    title = _enter(made, trained, refused)
    known = {wanted.key: (trained, title)}
    place = wanted.item.span
    settings = [_setting("from", tree.List(place, tuple(made.add_data(trained.feeds["train"], "", []))), place)]
    counts = solver.items("test_iter")
    for i, test in enumerate(test_nets(solver, report)):
        if test.key not in known:
            other = net_of(test)
            if other is None:
                continue
            known[test.key] = other, _enter(made, other, refused)
        found, name = known[test.key]
        count = counts[i]
        assert isinstance(count, Scalar)
        data = made.add_data(found.feeds["test"], "test", [writer.arg("batches", count.value, count.span)])
        every = solver.get("test_interval")
        if not every or not data:
            continue
        interval = writer.constant(every, solver.place("test_interval"))
        start = writer.constant(0, solver.place("test_interval")) if solver.get("test_initialization") else None
        with_ = writer.name(name, test.item.span) if name != title else None
        settings.append(_setting("test", tree.Every(test.item.span, data[0], interval, with_, start), test.item.span))
    settings += last
    block = tree.TrainDef(solver.span, writer.name(title, place), (), tuple(settings))
    return (*made.nets, *made.data, block), refused


def _enter(made: Experiment, found: Translated, refused: dict[tuple[str, str], tuple[SourceError, ...]]) -> str:
    """A net among the definitions; its name, which is its own."""
    definition = found.definition
    name, taken, number = definition.name.name, {net.name.name for net in made.nets}, 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}_test" if number == 2 else f"{name}_test{number}"
    title = writer.name(free, definition.name.span)
    made.nets.append(tree.NetDef(definition.span, title, definition.formals, definition.body))
    refused |= {(free, mode): why for mode, why in found.refused.items()}
    return free


def _setting(key: str, value: tree.Expr | tree.Every, place: Span) -> tree.Setting:
    return tree.Setting(place, writer.name(key, place), value)


def _solver_settings(solver: Message, report: Report) -> list[tree.Setting]:
    """solver, schedule, steps and the other keys."""
    place = solver.place("type") if solver.has("type") else solver.place("base_lr")
    found = [
        _setting("solver", _solver(solver, report), place),
        _setting("schedule", _schedule(solver, report), solver.place("lr_policy")),
    ]
    if not solver.get("max_iter"):
        report(SourceError("E720", "`max_iter`, the number of iterations, is missing", solver.span))
    plain = {"max_iter": "steps", "display": "display", "iter_size": "accumulate", "average_loss": "average"}
    for caffe, ours in plain.items():
        if solver.has(caffe):
            found.append(_setting(ours, writer.constant(solver.get(caffe), solver.place(caffe)), solver.place(caffe)))
    if solver.has("weights"):
        at, folder = solver.place("weights"), Path(solver.source.path).parent
        names = [name for given in solver.all("weights") for name in given.split(",") if name]
        paths = tuple(writer.text(written(name, folder), at) for name in names)
        found.append(_setting("weights", tree.List(at, paths), at))
    if solver.get("clip_gradients") > 0:
        clip = writer.constant(solver.get("clip_gradients"), solver.place("clip_gradients"))
        found.append(_setting("clip", clip, clip.span))
    if solver.get("snapshot"):
        at = solver.place("snapshot")
        every = tree.Every(at, None, writer.constant(solver.get("snapshot"), at))
        found.append(_setting("snapshot", every, at))
    if solver.get("random_seed") >= 0:
        seed = writer.constant(solver.get("random_seed"), solver.place("random_seed"))
        found.append(_setting("seed", seed, seed.span))
    return found


def _solver(solver: Message, report: Report) -> tree.Call:
    """`sgd(lr: 0.01, momentum: 0.9)`: every setting that Caffe's type reads, with Caffe's defaults."""
    kind, place = solver.get("type"), solver.place("type")
    if kind not in SOLVERS:
        hint = suggest(kind, SOLVERS) or ", ".join(SOLVERS)
        report(SourceError("E720", f"there is no solver of the type `{kind}`", place, hint))
        kind = "SGD"
    callee, fields = SOLVERS[kind]
    if not solver.has("base_lr"):
        report(SourceError("E720", "`base_lr`, the rate, is missing", solver.span))
    if solver.get("momentum") and "momentum" not in fields:
        report(SourceError("E720", f"{kind} has no momentum", solver.place("momentum"), "leave it out"))
    args = [writer.arg("lr", solver.get("base_lr"), solver.place("base_lr"))]
    args += [writer.arg(name, solver.get(name), solver.place(name)) for name in fields]
    args.append(writer.arg("weight_decay", solver.get("weight_decay"), solver.place("weight_decay")))
    how = solver.get("regularization_type")
    if how not in ("L1", "L2"):
        report(
            SourceError("E720", f"there is no regularization `{how}`", solver.place("regularization_type"), "L1, L2")
        )
    args.append(writer.arg("decay", "l1" if how == "L1" else "l2", solver.place("regularization_type")))
    return writer.call(callee, args, place)


def _schedule(solver: Message, report: Report) -> tree.Call:
    """`step(gamma: 0.1, every: 1000)`."""
    policy, place = solver.get("lr_policy"), solver.place("lr_policy")
    if policy not in POLICIES:
        what = f"there is no policy `{policy}`" if policy else "`lr_policy` is missing"
        report(SourceError("E720", what, place, suggest(policy, POLICIES) or ", ".join(POLICIES)))
        policy = "fixed"
    args = []
    for caffe, ours in POLICIES[policy].items():
        value = solver.all(caffe) if caffe == "stepvalue" else solver.get(caffe)
        if not solver.has(caffe) and caffe != "stepvalue":
            report(SourceError("E720", f"the policy {policy} needs `{caffe}`", place))
        args.append(writer.arg(ours, value, solver.place(caffe)))
    return writer.call(policy, args, place)
