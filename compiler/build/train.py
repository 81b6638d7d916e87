"""`train NET(…) { … }` blocks to `TrainSpec`s: each key read and checked, columns of data held against the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...grammar import tree
from ...grammar.source import SourceError, Span, UserError, suggest
from ..schema import synonyms as foreign
from ..schema.schema import read_use
from ..schema.settings import UNKNOWN, describe, in_single
from ..schema.solvers import SCHEDULES, SOLVERS
from ..spec import DataSpec, TestSpec, TrainSpec, Use
from ..types import single
from . import calls, constants
from .check import Trial, Trials
from .columns import check_columns
from .experiment import Experiment
from .expressions import evaluate
from .frame import Frame
from .limits import MAX_WHOLE
from .module import NetEntry
from .names import canonical
from .nets import plain
from .overrides import use_of
from .watching import Watching

KEYS = (
    "from",
    "test",
    "solver",
    "schedule",
    "steps",
    "display",
    "snapshot",
    "clip",
    "accumulate",
    "seed",
    "weights",
    "fresh",
    "average",
    "rename",
    "keep",
    "stop",
)
# Keys that are one number, with the least it may be: `--set steps=100` replaces them too.
NUMBERS = {"steps": 1, "display": 0, "snapshot": 0, "clip": 0, "accumulate": 1, "seed": 0, "average": 0}
FIXED = Use("fixed", (("warmup", 0), ("warmup_from", 0.0)))
DEFAULTS: dict[str, Any] = {"display": 100, "snapshot": 0, "clip": None, "accumulate": 1, "seed": 0, "average": 0}


@dataclass
class Found:
    """What the settings of one block gave so far."""

    data: tuple[DataSpec, ...] = ()
    data_place: Span | None = None
    tests: list[tuple[TestSpec, Span]] = field(default_factory=list)
    uses: dict[str, Use] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    weights: tuple[str, ...] | None = None
    weights_place: Span | None = None
    fresh: list[tuple[str, Span]] = field(default_factory=list)
    rename: tuple[tuple[str, str], ...] = ()
    solver_place: Span | None = None
    ok: bool = True


def _number_set(key: str, value: Any) -> int | float:
    """A number that is set from outside; UserError where it is none that the key takes."""
    whole = constants.is_number(value) and (key == "clip" or float(value).is_integer())
    if not whole or not NUMBERS[key] <= value <= MAX_WHOLE:
        raise UserError(
            f"`{key}` takes a {'' if key == 'clip' else 'whole '}number from {NUMBERS[key]} up, not {value}"
        )
    number: int | float = value
    return number


def read_trains(experiment: Experiment, problems: Any, trials: Trials) -> tuple[TrainSpec, ...]:
    """The `train` blocks of the file itself, in order; those with mistakes are reported and left out."""
    specs: list[TrainSpec] = []
    items = [item for item in experiment.file.definitions if isinstance(item, tree.TrainDef)]
    for item in items:
        spec = Block(experiment, problems, trials, item, first=item is items[0]).read()
        if spec is not None:
            specs.append(spec)
    return tuple(specs)


class Block:
    """The reading of one `train` block. first: no other stands before it, whose weights it would go on with."""

    def __init__(
        self, experiment: Experiment, problems: Any, trials: Trials, item: tree.TrainDef, *, first: bool
    ) -> None:
        self.experiment, self.trials, self.item, self.first = experiment, trials, item, first
        self.frame = Frame(problems, experiment.module, "file")
        self.reader = calls.FrameReader(self.frame)
        self.found = Found()
        self.watching = Watching(self.fail, self._whole)

    def fail(self, code: str, message: str, span: Span, hint: str = "") -> None:
        self.found.ok = False
        self.frame.report(SourceError(code, message, span, hint))

    def read(self) -> TrainSpec | None:
        module, item = self.experiment.module, self.item
        entry = module.nets.get(item.net.name)
        if entry is None and not module.incomplete:
            hint = suggest(item.net.name, module.nets) or f"there are {', '.join(module.nets) or 'none'}"
            self.fail("E420", f"there is no net `{item.net.name}`", item.net.span, hint)
        settings = self._net_settings(entry.value) if entry is not None else {}
        self._keys()
        self._missing()
        if entry is None or not self.found.ok:
            return None
        trial = self.trials.get(item.net.name, settings)
        if trial.ok and not trial.learns:
            hint = "such as `loss nll = softmax_loss(scores, label)`"
            self.fail("E430", f"the net `{item.net.name}` has no loss to make small", item.net.span, hint)
        elif trial.ok:
            self._fresh(trial)
            self._decay(trial)
            if self.found.data:  # else somebody feeds the net
                check_columns(self.frame, trial.inputs, self.found.data, self.found.data_place or item.net.span)
            for test, span in self.found.tests:
                other = self.trials.get(test.net, {}) if test.net else trial
                check_columns(self.frame, other.inputs, (test.data,), span)
            self.watching.settle(trial.roles, [test for test, _ in self.found.tests])
        return self._spec(settings)

    def _spec(self, settings: dict[str, Any]) -> TrainSpec:
        found, item = self.found, self.item
        override = {k: _number_set(k, plain(v)) for k, v in self.experiment.settings.items() if k in NUMBERS}
        numbers = {**DEFAULTS, **found.numbers, **override}
        clip = numbers["clip"]
        return TrainSpec(
            net=item.net.name,
            settings=settings,
            data=found.data,
            tests=tuple(test for test, _ in found.tests),
            solver=self._set("solver", found.uses["solver"]),
            schedule=self._set("schedule", found.uses.get("schedule", FIXED)),
            steps=int(numbers["steps"]),
            display=int(numbers["display"]),
            snapshot=int(numbers["snapshot"]),
            clip=float(clip) if clip else None,
            accumulate=int(numbers["accumulate"]),
            seed=int(numbers["seed"]),
            weights=found.weights,
            weights_span=found.weights_place,
            fresh=tuple(name for name, _ in found.fresh),
            rename=found.rename,
            folder=self.experiment.module.folder,
            place=f"{item.span.file}:{item.span.line}",
            average=int(numbers["average"]),
            keep=self.watching.snapshots,
            best=self.watching.told.get("keep"),
            stop=(watched, self.watching.count) if (watched := self.watching.told.get("stop")) else None,
        )

    def _set(self, what: str, use: Use) -> Use:
        """A solver or schedule with what is set from outside."""
        module = self.experiment.module
        formals = (name for entry in module.nets.values() for name in entry.value.formals)
        return use_of(self.experiment.settings, what, use, {*formals, *module.consts, *NUMBERS})

    def _net_settings(self, entry: NetEntry) -> dict[str, Any]:
        """`train NET(classes: 20)`, and what the command line sets over it."""
        title, names = self.item.net.name, entry.formals
        found: dict[str, Any] = {}
        for i, arg in enumerate(self.item.args):
            name = arg.name.name if arg.name is not None else names[i] if i < len(names) else ""
            place = arg.name.span if arg.name is not None else arg.span
            if name not in names:
                takes = f"{title} takes: {', '.join(names)}" if names else f"{title} takes no settings"
                hint = f"{suggest(name, names)} {takes}".strip()
                self.fail("E201", f"{title}: `{name or arg.span.text}` is not a setting", place, hint)
            elif name in found:
                self.fail("E206", f"{title}: `{name}` is given twice", place, "leave one of them out")
            else:
                found[name] = evaluate(self.frame, arg.value)
                self.found.ok = self.found.ok and found[name] is not UNKNOWN
        found |= {key: plain(value) for key, value in self.experiment.settings.items() if key in names}
        missing = [f.name.name for f in entry.definition.formals if f.default is None and f.name.name not in found]
        if missing:
            hint = f"write train {title}({missing[0]}: …)"
            self.fail("E204", f"{title}: `{missing[0]}` is missing", self.item.net.span, hint)
        return found

    def _keys(self) -> None:
        readers: Mapping[str, Callable[[tree.Setting], None]] = {
            "from": self._from,
            "test": self._test,
            "solver": lambda setting: self._use(setting, SOLVERS),
            "schedule": lambda setting: self._use(setting, SCHEDULES),
            "weights": self._weights,
            "fresh": self._fresh_names,
            "rename": self._renamed,
            "keep": self.watching.keep,
            "stop": self.watching.stops,
            **dict.fromkeys(NUMBERS, self._number),
        }
        seen: set[str] = set()
        for setting in self.item.settings:
            key = setting.key.name
            if key not in readers:
                hint = foreign.then(foreign.key(key, KEYS), f"keys: {', '.join(KEYS)}")
                self.fail("E421", f"train: `{key}` is not a key", setting.key.span, hint)
            elif key in seen and key != "test":
                self.fail(
                    "E206", f"train: `{key}` is given twice", setting.key.span, "only `test` may stand several times"
                )
            else:
                seen.add(key)
                readers[key](setting)

    def _missing(self) -> None:
        given = {setting.key.name for setting in self.item.settings}
        # A key under another framework's name is one mistake, not two.
        given |= {foreign.KEYS[name].name for name in given & foreign.KEYS.keys()}
        examples = {"from": "from: digits", "solver": "solver: sgd(lr: 0.01)", "steps": "steps: 1000"}
        for key, example in examples.items():
            if key not in given and not (key == "steps" and "steps" in self.experiment.settings):
                message = f"train {self.item.net.name}: `{key}` is missing"
                self.fail("E422", message, self.item.net.span, f"such as `{example}`")

    def _plain_value(self, setting: tree.Setting) -> tree.Expr | None:
        """The value of a key that has no period; None (reported) where it has one."""
        if isinstance(setting.value, tree.Every | tree.Patience):
            what = "`every`" if isinstance(setting.value, tree.Every) else "`for`"
            self.fail("E423", f"train: `{setting.key.name}` has no {what}", setting.value.span)
            return None
        return setting.value

    def _from(self, setting: tree.Setting) -> None:
        value = self._plain_value(setting)
        if value is None:
            return
        items = value.items if isinstance(value, tree.List) else (value,)
        found = [self._data(item) for item in items]
        self.found.data = tuple(data for data in found if data is not None)
        self.found.data_place = value.span

    def _data(self, expr: tree.Expr) -> DataSpec | None:
        """The data of a name; None (reported) where there is none."""
        module = self.experiment.module
        if not isinstance(expr, tree.Name):
            self.fail("E423", "the name of a `data` is wanted here", expr.span, "define it above: data digits = …")
            return None
        entry = module.data.get(expr.name)
        if entry is None:
            if not module.incomplete:
                hint = suggest(expr.name, module.data) or f"there are {', '.join(module.data) or 'none'}"
                self.frame.report(SourceError("E424", f"there is no data `{expr.name}`", expr.span, hint))
            self.found.ok = False
            return None
        self.found.ok = self.found.ok and entry.value is not None
        return entry.value

    def _test(self, setting: tree.Setting) -> None:
        value, every, start, net = setting.value, 0, 1, ""
        if isinstance(value, tree.Patience):
            self.fail("E423", "train: `test` names data", value.span, "such as `test: heldout every 500`")
            return
        if isinstance(value, tree.Every):
            count = self._whole(value.count, setting.key.name, 1)
            first = self._whole(value.start, setting.key.name, 0) if value.start is not None else 1
            if value.value is None:
                self.fail("E423", "train: `test` names no data", value.span, "such as `test: heldout every 500`")
            if count is None or first is None or value.value is None:
                return
            net = self._tested_net(value.net) if value.net is not None else ""
            value, every, start = value.value, count, first
        data = self._data(value)
        if data is not None:
            self.found.tests.append((TestSpec(data, every, net, start), value.span))

    def _tested_net(self, name: tree.Name) -> str:
        """The net after `with`."""
        nets = self.experiment.module.nets
        if name.name not in nets and not self.experiment.module.incomplete:
            hint = suggest(name.name, nets) or f"there are {', '.join(nets)}"
            self.fail("E420", f"there is no net `{name.name}`", name.span, hint)
        return name.name

    def _use(self, setting: tree.Setting, table: Mapping[str, Callable[..., None]]) -> None:
        value = self._plain_value(setting)
        if value is None:
            return
        found = read_use(value, table, setting.key.name, self.reader)
        if found is None:
            self.found.ok = False
        else:
            self.found.uses[setting.key.name] = Use(*found)
            if table is SOLVERS:
                self.found.solver_place = value.span

    def _number(self, setting: tree.Setting) -> None:
        key, value = setting.key.name, setting.value
        if isinstance(value, tree.Every):
            if key not in ("display", "snapshot") or value.value is not None:
                return self.fail("E423", f"train: `{key}` takes a number", value.span, f"such as `{key}: 1000`")
            if value.net is not None or value.start is not None:
                return self.fail("E423", f"train: `{key}` has neither `with` nor `from`", value.span)
            value = value.count
        if isinstance(value, tree.Patience):
            return self.fail("E423", f"train: `{key}` takes a number", value.span)
        number = self._real(value, key) if key == "clip" else self._whole(value, key, NUMBERS[key])
        if number is not None:
            self.found.numbers[key] = number
        return None

    def _whole(self, expr: tree.Expr, key: str, least: int) -> int | None:
        value = evaluate(self.frame, expr)
        if constants.is_number(value) and float(value).is_integer() and least <= value <= 2**63 - 1:
            return int(value)
        if value is not UNKNOWN:
            message = f"train: `{key}` takes a whole number from {least} up, not {describe(value)}"
            self.fail("E423", message, expr.span)
        self.found.ok = False
        return None

    def _real(self, expr: tree.Expr, key: str) -> float | None:
        value = evaluate(self.frame, expr)
        number = constants.is_number(value) and value > 0
        if number and 0 < single(value) < math.inf:
            return float(value)
        if value is not UNKNOWN:
            what = in_single(value) if number else f"not {describe(value)}"
            self.fail("E423", f"train: `{key}` takes a number above 0, {what}", expr.span)
        self.found.ok = False
        return None

    def _weights(self, setting: tree.Setting) -> None:
        expr = self._plain_value(setting)
        value = evaluate(self.frame, expr) if expr is not None else UNKNOWN
        paths = value if isinstance(value, tuple) else (value,)
        if value is UNKNOWN:
            self.found.ok = False
        elif not paths or not all(isinstance(path, str) and path.isprintable() and path for path in paths):
            message = f"train: `weights` takes the path of a file or a list of them, not {describe(value)}"
            self.fail("E423", message, setting.value.span, 'such as weights: "lenet.safetensors"')
        else:
            self.found.weights, self.found.weights_place = paths, setting.value.span

    def _renamed(self, setting: tree.Setting) -> None:
        """`rename: ["old=new"]`: what layers of the weight files are called in the net."""
        expr = self._plain_value(setting)
        value = evaluate(self.frame, expr) if expr is not None else UNKNOWN
        if value is UNKNOWN:
            self.found.ok = False
            return
        texts = value if isinstance(value, tuple) else (value,)
        pairs = [tuple(map(str.strip, text.split("="))) if isinstance(text, str) else () for text in texts]
        if not all(len(pair) == 2 and all(pair) for pair in pairs) or len({pair[0] for pair in pairs}) < len(pairs):
            message = f"train: `rename` takes texts OLD=NEW, each for a layer of a file, not {describe(value)}"
            self.fail("E423", message, setting.value.span, 'such as rename: ["conv1_1=stem"]')
        else:
            self.found.rename = tuple((pair[0], pair[1]) for pair in pairs)

    def _fresh_names(self, setting: tree.Setting) -> None:
        value = self._plain_value(setting)
        if self.first and not any(other.key.name == "weights" for other in self.item.settings):
            message = "train: `fresh` says nothing without `weights`"
            self.fail("E423", message, setting.key.span, "it names layers whose weights are not taken from those files")
        for item in value.items if isinstance(value, tree.List) else () if value is None else (value,):
            if isinstance(item, tree.String):
                self.found.fresh.append((item.value, item.span))
            elif isinstance(item, tree.Name | tree.Path):
                self.found.fresh.append((item.name if isinstance(item, tree.Name) else str(item), item.span))
            else:
                self.fail("E423", "train: `fresh` takes names of layers", item.span, "such as `fresh: [fc8]`")

    def _decay(self, trial: Trial) -> None:
        """Whether the solver's decay, times a parameter's own, is a number of f32."""
        decay = float(self.found.uses["solver"].get("weight_decay", 0.0)) * trial.decay
        if math.isinf(single(decay)):
            place = self.found.solver_place or self.item.net.span
            message = f"train: `weight_decay` times a layer's `decay`, {trial.decay:g}, is too large for f32"
            self.fail("E423", message, place)

    def _fresh(self, trial: Trial) -> None:
        """Whether the layers that may lack weights are layers of the net."""
        for name, span in self.found.fresh:
            key = canonical(name)
            if not any(known == key or known.startswith(f"{key}.") for known in trial.names):
                hint = suggest(key, trial.names)
                self.fail("E429", f"the net `{self.item.net.name}` has no layer `{name}`", span, hint)
