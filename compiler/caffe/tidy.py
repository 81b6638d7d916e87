"""Source-to-source translation, the last step: the tree of a prototxt as a person would have written it.

Names become words; layers without parameters, whose names are no contract with weights, lose theirs; a value that only
the next statement reads goes into it by a pipe; a batch that all inputs have is `N`. What is computed stays the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from ...grammar import tree
from ...grammar.actions import RESERVED
from ..layers import LAYERS
from ..schema.fillers import FILLERS
from . import writer
from .nets import identifier

# How many settings everybody knows by their place.
POSITIONAL = {"conv": 2, "deconv": 2, "linear": 1, "max_pool": 1, "avg_pool": 1, "dropout": 1, "rnn": 1, "lstm": 1}
# Words that open a statement begin no bind.
OPENING = {"input", "param", "loss", "metric", "output"}


@dataclass
class Tidy:
    """The rewriting of one net. keep_names: of all layers. chained: values go into what reads them.

    batch: the size that became `N`, if any. unfilled: fillers of 0 were left out. renamed: words by names of blobs.
    bound: those that are bound by plain statements.
    """

    keep_names: bool = False
    chained: bool = True
    batch: int | None = None
    unfilled: bool = False
    renamed: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)

    def net(self, item: tree.NetDef) -> tree.NetDef:
        self.batch = _batch(item.body)
        calls = [call for one in flat(item.body) for call in _calls(one)]
        fillers = [arg for call in calls for arg in call.args if _is_filler(arg)]
        self.unfilled = bool(fillers) and all(isinstance(arg.value, tree.Name) for arg in fillers)
        body = self._chained(item.body) if self.chained else item.body
        self.bound = {target.name for one in flat(body) if isinstance(one, tree.Bind) for target in one.targets}
        return replace(item, body=self._labels(self._body(body)))

    def train(self, item: tree.TrainDef) -> tree.TrainDef:
        """A `train` block without what holds anyway."""
        settings = []
        for one in item.settings:
            value = one.value
            if isinstance(value, tree.List) and len(value.items) == 1 and one.key.name == "from":
                value = value.items[0]
            if isinstance(value, tree.Call) and one.key.name == "solver":
                args = [arg for arg in value.args if not (isinstance(arg.value, tree.Name) and arg.value.name == "l2")]
                value = replace(value, args=tuple(replace(arg, value=_plain(arg.value)) for arg in args))
            elif isinstance(value, tree.Call):
                value = replace(value, args=tuple(replace(arg, value=_plain(arg.value)) for arg in value.args))
            settings.append(replace(one, value=value))
        return replace(item, settings=tuple(settings))

    def data(self, item: tree.DataDef) -> tree.DataDef:
        """A source, whose columns have the names of inputs."""
        assert isinstance(item.value, tree.Call)
        args = []
        for arg in item.value.args:
            if arg.name is not None and arg.name.name == "columns" and isinstance(arg.value, tree.List):
                texts = [one for one in arg.value.items if isinstance(one, tree.String)]
                names = [self._name(tree.Name(one.span, one.value)) for one in texts]
                arg = replace(arg, value=replace(arg.value, items=tuple(names)))
            args.append(arg)
        return replace(item, value=replace(item.value, args=tuple(args)))

    def _name(self, item: tree.Name) -> tree.Name:
        """A value's name as a word of its own."""
        if item.name not in self.renamed:
            text = identifier(item.name)
            text = f"_{text}" if item.name.startswith("_") else text
            opens = text in OPENING and item.name in self.bound
            word = f"{text}_" if text in RESERVED or opens else text
            taken, free, number = set(self.renamed.values()), word, 1
            while free in taken:
                number += 1
                free = f"{word}_{number}"
            self.renamed[item.name] = free
        return replace(item, name=self.renamed[item.name])

    def _body(self, body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
        return tuple(self._statement(one) for one in body)

    def _statement(self, item: tree.AnyStatement) -> tree.AnyStatement:
        match item:
            case tree.Input():
                dims = item.type.dims
                if self.batch is not None:
                    dims = (writer.name("N", dims[0].span), *dims[1:])
                return replace(item, name=self._name(item.name), type=replace(item.type, dims=dims))
            case tree.Param():
                return replace(item, name=self._name(item.name))
            case tree.Role():
                return replace(item, name=self._name(item.name), value=self._value(item.value))
            case tree.Bind():
                return replace(item, targets=tuple(map(self._name, item.targets)), value=self._value(item.value))
            case tree.If():
                arms = tuple(replace(arm, body=self._body(arm.body)) for arm in item.arms)
                return replace(item, arms=arms, otherwise=self._body(item.otherwise) if item.otherwise else None)
            case _:
                return item

    def _value(self, item: tree.Expr) -> tree.Expr:
        """Operands renamed, labels dropped or written as words."""
        if isinstance(item, tree.Name):
            return self._name(item)
        if isinstance(item, tree.Pipe):
            calls = tuple(map(self._call, item.calls))
            return replace(item, value=self._value(item.value), calls=calls)
        return self._call(item) if isinstance(item, tree.Call) else item

    def _call(self, item: tree.Call) -> tree.Call:
        args = []
        for arg in item.args:
            value = arg.value
            if arg.name is None or arg.name.name in ("by", "static", "h0", "c0"):
                value = self._value(value)
            elif self.unfilled and _is_filler(arg):
                continue
            elif isinstance(value, tree.Path):
                value = _readable(value)
            value = _plain(value)
            if not _is_default(item.callee.name, arg, value):
                args.append(replace(arg, value=value))
        label = item.label
        if not self.keep_names and not LAYERS[item.callee.name].params:
            label = None
        return replace(item, args=tuple(_positional(item, _shared(args))), label=_written(label))

    def _chained(self, body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
        """Each statement whose value only the next one reads, first of all, goes into that."""
        reads = _reads(body)
        found: list[tree.AnyStatement] = []
        for number, item in enumerate(body):
            if isinstance(item, tree.If):
                arms = tuple(replace(arm, body=self._chained(arm.body)) for arm in item.arms)
                otherwise = self._chained(item.otherwise) if item.otherwise else None
                item = replace(item, arms=arms, otherwise=otherwise)
            elif found and number and reads.get(number - 1) == 1:
                item = _joined(found, item)
            found.append(item)
        return tuple(found)

    def _labels(self, body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
        """Labels that say what the name of the statement says are left out."""
        found: list[tree.AnyStatement] = []
        for item in body:
            if isinstance(item, tree.If):
                arms = tuple(replace(arm, body=self._labels(arm.body)) for arm in item.arms)
                item = replace(item, arms=arms, otherwise=self._labels(item.otherwise) if item.otherwise else None)
            elif isinstance(item, tree.Bind | tree.Role):
                learned = [call for call in _calls(item) if LAYERS[call.callee.name].params]
                name = item.targets[0].name if isinstance(item, tree.Bind) else item.name.name
                if len(learned) == 1 and isinstance(learned[0].label, tree.Name) and learned[0].label.name == name:
                    item = replace(item, value=_unlabelled(item.value, learned[0]))
            found.append(item)
        return tuple(found)


def flat(body: Sequence[tree.AnyStatement]) -> Iterator[tree.AnyStatement]:
    """All statements, those of choices in their place."""
    for item in body:
        if isinstance(item, tree.If):
            for part in [*(arm.body for arm in item.arms), item.otherwise or ()]:
                yield from flat(part)
        else:
            yield item


def _calls(item: tree.AnyStatement) -> list[tree.Call]:
    found: list[tree.Call] = []
    waiting: list[tree.Node] = [item]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tree.Call):
            if part.callee.name in LAYERS:
                found.append(part)
            waiting += [arg.value for arg in part.args if arg.name is None]
        elif isinstance(part, tree.Pipe):
            waiting += [part.value, *part.calls]
        elif isinstance(part, tree.Bind | tree.Role):
            waiting.append(part.value)
    return found


def _batch(body: Sequence[tree.AnyStatement]) -> int | None:
    """The size that the first axis of all inputs has; None where one differs, or where a size stands in the net."""
    firsts = [one.type.dims[0] if one.type.dims else None for one in flat(body) if isinstance(one, tree.Input)]
    sizes = {one.value if isinstance(one, tree.Number) else None for one in firsts}
    size = sizes.pop() if len(sizes) == 1 else None
    recurrent = any(call.callee.name in ("rnn", "lstm", "lstm_unit") for one in flat(body) for call in _calls(one))
    return size if isinstance(size, int) and not recurrent else None


def _is_filler(arg: tree.Arg) -> bool:
    """Whether an argument gives weights their first values."""
    if arg.name is None or not arg.name.name.endswith("weight"):
        return False
    return isinstance(arg.value, tree.Call) or (isinstance(arg.value, tree.Name) and arg.value.name == "constant")


def _written(label: tree.Name | tree.String | None) -> tree.Name | tree.String | None:
    """A label as a word where it is one; blanks, which no label has, as `_`."""
    if not isinstance(label, tree.String):
        return label
    text = "_".join(label.value.split()).strip("./")
    word = text.isidentifier() and text.isascii() and text not in RESERVED
    return tree.Name(label.span, text) if word else tree.String(label.span, text)


def _readable(path: tree.Path) -> tree.Path:
    """A parameter by a name of words; `/` and `.` count as the same."""
    parts = [piece for part in path.parts for piece in part.name.replace("/", ".").split(".")]
    return replace(path, parts=tuple(writer.name(piece, path.span) for piece in parts))


def _plain(value: tree.Expr) -> tree.Expr:
    """A value without what says nothing: `xavier` for `xavier()`, 2 for 2.0."""
    if isinstance(value, tree.Call) and value.callee.name in FILLERS:
        if not value.args:
            return value.callee
        return replace(value, args=tuple(replace(arg, value=_plain(arg.value)) for arg in value.args))
    if isinstance(value, tree.List):
        return replace(value, items=tuple(map(_plain, value.items)))
    if isinstance(value, tree.Unary):
        return replace(value, operand=_plain(value.operand))
    if isinstance(value, tree.Number) and float(value.value).is_integer() and value.value < 1e6:
        return tree.Number(value.span, int(value.value), str(int(value.value)))
    return value


def _is_default(callee: str, arg: tree.Arg, value: tree.Expr) -> bool:
    """Whether an argument says what holds without it."""
    if arg.name is None or callee not in LAYERS:
        return False
    if arg.name.name == "bias" and callee in ("conv", "deconv", "linear", "embed"):
        zero = isinstance(value, tree.Call) and [getattr(one.value, "value", None) for one in value.args] == [0]
        named = value.callee.name if isinstance(value, tree.Call) else getattr(value, "name", "")
        return named == "constant" and (zero or not isinstance(value, tree.Call))
    setting = LAYERS[callee].signature.parameters.get(arg.name.name)
    default = setting.default if setting is not None else None
    if callee in ("max_pool", "avg_pool") and arg.name.name == "stride":
        return False
    if isinstance(value, tree.Number | tree.Boolean):
        return (
            default is not None
            and isinstance(value, tree.Boolean) == isinstance(default, bool)
            and value.value == default
        )
    return isinstance(value, tree.Name) and isinstance(default, str) and value.name == default


def _positional(call: tree.Call, args: list[tree.Arg]) -> list[tree.Arg]:
    """The arguments with the settings that a call begins with by their places: `conv(20, 5)`."""
    settings = LAYERS[call.callee.name].signature.parameters.values() if call.callee.name in POSITIONAL else ()
    order = [one.name for one in settings if one.kind is one.KEYWORD_ONLY]
    by_name = {arg.name.name: arg for arg in args if arg.name is not None}
    sides = [by_name[name].value for name in ("kernel", "stride") if name in by_name]
    if call.callee.name in ("max_pool", "avg_pool") and len(sides) == 2 and sides[0] == sides[1]:  # what it is anyway
        args = [arg for arg in args if arg is not by_name["stride"]]
    leading = list(takewhile(by_name.__contains__, order[: POSITIONAL.get(call.callee.name, 0)]))
    placed = [replace(by_name[name], name=None) for name in leading]
    rest = [arg for arg in args if arg.name is not None and arg.name.name not in leading]
    return [*(arg for arg in args if arg.name is None), *placed, *rest]


def _shared(args: list[tree.Arg]) -> list[tree.Arg]:
    """Parameters that are all those of one layer, said once: `share: conv1`."""
    tied = [arg for arg in args if isinstance(arg.value, tree.Path) and not arg.value.permissive]
    others = [arg.name.name for arg in args if arg.name is not None and arg.name.name in ("weight", "lr", "decay")]
    owners = {str(arg.value).rpartition(".")[0] for arg in tied}
    same = all(arg.name is not None and str(arg.value).endswith(f".{arg.name.name}") for arg in tied)
    if len(tied) < 2 or len(owners) != 1 or not same or len(others) > 1:
        return args
    owner, place = owners.pop(), tied[0].span
    return [*(arg for arg in args if arg not in tied), writer.arg("share", writer.text(owner, place), place)]


def _reads(body: Sequence[tree.AnyStatement]) -> Counter[int]:
    """How often the value that each statement of a body binds is read."""
    bound: dict[str, int] = {}
    found: Counter[int] = Counter()

    def read(part: tree.Node, times: int) -> None:
        waiting = [part]
        while waiting:
            one = waiting.pop()
            if isinstance(one, tree.Name) and one.name in bound:
                found[bound[one.name]] += times
            waiting += tree.children(one)

    for number, item in enumerate(body):
        if isinstance(item, tree.If):
            for one in flat([item]):
                read(one, 2)
            continue
        if isinstance(item, tree.Bind | tree.Role):
            read(item.value, 1)
            for target in item.targets if isinstance(item, tree.Bind) else (item.name,):
                bound[target.name] = number
    return found


def _joined(found: list[tree.AnyStatement], item: tree.AnyStatement) -> tree.AnyStatement:
    """A statement with the one before it, taken off `found`, in the place of its first operand; else itself."""
    before = found[-1]
    if not isinstance(item, tree.Bind | tree.Role) or not isinstance(before, tree.Bind) or len(before.targets) != 1:
        return item
    name, value = before.targets[0].name, item.value
    if isinstance(value, tree.Name) and value.name == name:
        found.pop()
        return replace(item, value=before.value)
    if not isinstance(value, tree.Call) or not isinstance(before.value, tree.Call | tree.Pipe):
        return item
    first = value.args[0] if value.args else None
    alone = [arg for arg in value.args if arg.name is None and isinstance(arg.value, tree.Name | tree.Call)]
    if first is None or first.name is not None or not isinstance(first.value, tree.Name) or first.value.name != name:
        return item
    if len(alone) != 1:
        return item
    found.pop()
    step = replace(value, args=value.args[1:])
    piped = _piped(before.value)
    if isinstance(piped, tree.Pipe):
        return replace(item, value=replace(piped, calls=(*piped.calls, step)))
    return replace(item, value=tree.Pipe(item.span, piped, (step,)))


def _piped(value: tree.Call | tree.Pipe) -> tree.Call | tree.Pipe:
    """A call of one tensor as a pipe."""
    if isinstance(value, tree.Pipe) or not value.args:
        return value
    tensors = [arg for arg in value.args if arg.name is None and isinstance(arg.value, tree.Name | tree.Call)]
    if len(tensors) != 1 or tensors[0] is not value.args[0] or not isinstance(tensors[0].value, tree.Name):
        return value
    return tree.Pipe(value.span, tensors[0].value, (replace(value, args=value.args[1:]),))


def _unlabelled(value: tree.Expr, call: tree.Call) -> tree.Expr:
    """A value with one of its calls without its label."""
    if value is call:
        return replace(call, label=None)
    if isinstance(value, tree.Pipe):
        calls = tuple(replace(one, label=None) if one is call else one for one in value.calls)
        return replace(value, value=_unlabelled(value.value, call), calls=calls)
    return value
