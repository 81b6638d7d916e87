"""Source-to-source translation, the last step: the tree of a prototxt as a person would have written it.

Names become words; layers without parameters, whose names are no contract with weights, lose theirs; a value that only
the next statement reads goes into it by a pipe; a batch that all inputs have is `N`. What is computed stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from ...grammar import tree
from ...grammar.actions import RESERVED
from ..layers import LAYERS
from ..schema.fillers import FILLERS
from . import writer
from .blocks import ENTERING, OPENING, Repeats
from .chains import flat, joined, reads, returned, unlabelled
from .loops import looped
from .nets import identifier
from .templates import HOLE

# How many settings everybody knows by their place.
POSITIONAL = {"conv": 2, "deconv": 2, "linear": 1, "max_pool": 1, "avg_pool": 1, "dropout": 1, "rnn": 1, "lstm": 1}


@dataclass
class Tidy:
    """The rewriting of one net. keep_names: of all layers. chained: values go into what reads them. folded: what is
    repeated becomes blocks.

    batch: the size that became `N`, if any. unfilled: fillers of 0 were left out. renamed: words by names of blobs.
    bound: those that are bound by plain statements. repeats: what was found in the net.
    taken: names of blocks.
    """

    keep_names: bool = False
    chained: bool = True
    folded: bool = True
    batch: int | None = None
    unfilled: bool = False
    renamed: dict[str, str] = field(default_factory=dict)
    bound: set[str] = field(default_factory=set)
    repeats: Repeats | None = None
    taken: set[str] = field(default_factory=set)

    def net(self, item: tree.NetDef) -> tree.NetDef:
        self.batch = _batch(item.body)
        calls = [call for one in flat(item.body) for call in _calls(one) if call.callee.name in LAYERS]
        fillers = [arg for call in calls for arg in call.args if _is_filler(arg)]
        self.unfilled = bool(fillers) and all(isinstance(arg.value, tree.Name) for arg in fillers)
        plain = self._chained(item.body) if self.chained else item.body
        self.bound = {target.name for one in flat(plain) if isinstance(one, tree.Bind) for target in one.targets}
        body = self._body(item.body)
        if self.folded:
            self.repeats = Repeats({*LAYERS, *self.taken, *self.renamed.values()}, item.span)
            body = looped(self.repeats.fold(body), self.repeats.blocks, outside=True)
            self.taken |= set(self.repeats.blocks)
        return replace(item, body=self._finished(body))

    def blocks(self) -> list[tree.BlockDef]:
        """The blocks of the net that was rewritten last."""
        blocks = self.repeats.blocks if self.repeats is not None else {}
        return [replace(one, body=self._finished(looped(one.body, blocks, outside=False))) for one in blocks.values()]

    def _finished(self, body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
        """A body with chains, without labels that say nothing, and settings by their places."""
        body = self._chained(body) if self.chained else tuple(body)
        return tuple(map(self._placed, self._labels(returned(body))))

    def _placed(self, item: tree.AnyStatement) -> tree.AnyStatement:
        """A statement whose calls have settings by their places."""
        match item:
            case tree.Bind() | tree.Role():
                return replace(item, value=self._ordered(item.value))
            case tree.For():
                return replace(item, body=tuple(map(self._placed, item.body)))
            case tree.Return():
                return replace(item, values=tuple(map(self._ordered, item.values)))
            case tree.If():
                arms = tuple(replace(arm, body=tuple(map(self._placed, arm.body))) for arm in item.arms)
                otherwise = tuple(map(self._placed, item.otherwise)) if item.otherwise else None
                return replace(item, arms=arms, otherwise=otherwise)
            case _:
                return item

    def _ordered(self, item: tree.Expr) -> tree.Expr:
        if isinstance(item, tree.Pipe):
            calls = tuple(map(self._arguments, item.calls))
            return replace(item, value=self._ordered(item.value), calls=calls)
        return self._arguments(item) if isinstance(item, tree.Call) else item

    def _arguments(self, call: tree.Call) -> tree.Call:
        block = self.repeats.blocks.get(call.callee.name) if self.repeats is not None else None
        if block is not None:
            words = [one.name.name for one in block.formals if one.name.name not in ENTERING]
            order = [*takewhile(lambda word: word == HOLE or word.partition("_")[0] in ("out", "kernel"), words)]
        elif call.callee.name in POSITIONAL:
            settings = LAYERS[call.callee.name].signature.parameters.values()
            order = [one.name for one in settings if one.kind is one.KEYWORD_ONLY][: POSITIONAL[call.callee.name]]
        else:
            order = []
        label = call.label
        if isinstance(label, tree.String) and not label.value.startswith("/"):
            label = _written(label)
        return replace(call, args=tuple(_positional(call, [*call.args], order)), label=label)

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
        return replace(item, args=tuple(_shared(args)), label=_written(label))

    def _is_learned(self, call: tree.Call) -> bool:
        blocks = self.repeats.learned if self.repeats is not None else ()
        return call.callee.name in blocks or (call.callee.name in LAYERS and bool(LAYERS[call.callee.name].params))

    def _chained(self, body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
        """Each statement whose value only the next one reads, first of all, goes into that."""
        times = reads(body)
        found: list[tree.AnyStatement] = []
        for number, item in enumerate(body):
            if isinstance(item, tree.If):
                arms = tuple(replace(arm, body=self._chained(arm.body)) for arm in item.arms)
                otherwise = self._chained(item.otherwise) if item.otherwise else None
                item = replace(item, arms=arms, otherwise=otherwise)
            elif found and number and times.get(number - 1) == 1:
                item = joined(found, item)
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
                learned = [call for call in _calls(item) if self._is_learned(call)]
                name = item.targets[0].name if isinstance(item, tree.Bind) else item.name.name
                label = learned[0].label if len(learned) == 1 else None
                if label is not None and name == (label.name if isinstance(label, tree.Name) else label.value):
                    item = replace(item, value=unlabelled(item.value, learned[0]))
            found.append(item)
        return tuple(found)


def _calls(item: tree.AnyStatement) -> list[tree.Call]:
    found: list[tree.Call] = []
    waiting: list[tree.Node] = [item]
    while waiting:
        part = waiting.pop()
        if isinstance(part, tree.Call):
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


def _positional(call: tree.Call, args: list[tree.Arg], order: list[str]) -> list[tree.Arg]:
    """The arguments with the settings that a call begins with by their places: `conv(20, 5)`."""
    by_name = {arg.name.name: arg for arg in args if arg.name is not None}
    sides = [by_name[name].value for name in ("kernel", "stride") if name in by_name]
    if call.callee.name in ("max_pool", "avg_pool") and len(sides) == 2 and sides[0] == sides[1]:  # what it is anyway
        args = [arg for arg in args if arg is not by_name["stride"]]
    leading = list(takewhile(by_name.__contains__, order))
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
