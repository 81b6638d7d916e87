"""A layer in a net: its arguments bound, its function called under its name, its parameters made, its row entered."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from ...grammar import tree
from ...grammar.source import SourceError, Span
from .. import expr, ops
from ..graph import Node, TooManyNodes, at
from ..host import ABSENT, HostError, HostFunction, Sizes, is_registered
from ..layers import Layer, building
from ..net import LayerInfo
from ..ops.base import TypeRuleError
from ..program import StateInfo
from ..schema.schema import Argument, Bound, bind, public, read_word
from ..schema.settings import UNKNOWN, describe, in_single, kind_of
from ..spec import Filler
from ..types import TensorType, single
from . import calls, constants, labels
from .chain import label_of
from .expressions import Results, evaluate
from .frame import Frame
from .limits import LAYER_WORK, MAX_NODES, Stop, limit
from .names import LayerEntry
from .state import Applied, NetState

FILLER_OR_TENSOR = kind_of(Filler | Node)
COMMON = ("lr", "decay", "share")


class ParameterError(TypeRuleError):
    """A parameter that does not fit: the setting whose argument is to blame."""

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class Context:
    """What a running layer asks for (`layers.base.LayerContext`): its parameters, statistics and random numbers.

    given: fillers and tied tensors by parameter; `permissive` ones may have another shape. twin: the layer whose
    parameters are shared. lr, decay: multipliers in the order of the layer's parameters.
    """

    def __init__(
        self,
        net: NetState,
        layer: Layer,
        entry: LayerEntry,
        given: dict[str, Filler | Node],
        multipliers: dict[str, tuple[float, ...]],
        twin: LayerEntry | None,
        dtype: str,
        permissive: Collection[str] = (),
    ) -> None:
        self.training, self.processes = net.training, net.processes
        self.net, self.layer, self.entry = net, layer, entry
        self.given, self.multipliers, self.twin, self.dtype = given, multipliers, twin, dtype
        self.permissive, self.made = permissive, list[str]()
        self.updates: dict[str, Node] = {}
        self.carry_names: dict[str, str] = {}

    def _multiplier(self, what: str, name: str) -> float:
        values = self.multipliers.get(what, ())
        at = self.layer.params.index(name) if name in self.layer.params else len(values)
        at = 0 if len(values) == 1 else at
        return values[at] if at < len(values) else 1.0

    def parameter(self, name: str, shape: tuple[int, ...], filler: Filler) -> Node:
        self.made.append(name)
        given = self.given.get(name)
        if isinstance(given, Node):
            self.entry.params[name] = given
            if name in self.permissive and given.type.count == math.prod(shape):
                return expr.reshape(given, shape)
            return self._fits(given, shape, name, "the tensor", name)
        if self.twin is not None:
            other = self.twin.params.get(name)
            if other is None:
                raise ParameterError(f"layer `{self.twin.name}` has no parameter `{name}` to share", "share")
            self.entry.params[name] = other
            return self._fits(other, shape, name, f"that of `{self.twin.name}`", "share")
        info = StateInfo(
            f"{self.entry.name}.{name}",
            TensorType(tuple(int(n) for n in shape), self.dtype),
            "parameter",
            given or filler,
            lr=self._multiplier("lr", name),
            decay=self._multiplier("decay", name),
            layer=self.entry.name,
            place=f"{self.entry.span.file}:{self.entry.span.line}",
        )
        node = self._new(info)
        self.entry.params[name] = node
        return node

    def _fits(self, node: Node, shape: tuple[int, ...], name: str, what: str, setting: str) -> Node:
        if node.shape != tuple(shape):
            wanted, has = (" x ".join(map(str, s)) or "one number" for s in (shape, node.shape))
            raise ParameterError(f"the {name} is {wanted}, {what} is {has}", setting)
        return node

    def _new(self, info: StateInfo) -> Node:
        if not self.net.check_size(info.type, self.entry.span, f"`{info.name}`"):
            raise ParameterError("", "")
        return self.net.parameter(info, self.entry.span)

    def statistic(self, name: str, shape: tuple[int, ...], value: float) -> Node:
        first = Filler("constant", (("value", float(value)),))
        node = self._unlearned("statistic", f"{self.entry.name}.{name}", shape, first)
        self.entry.params[name] = node
        return node

    def commit(self, name: str, value: Node) -> None:
        self.updates[f"{self.entry.name}.{name}"] = value

    def carried(self, name: str, shape: tuple[int, ...]) -> Node:
        # Programs on one state may be of both modes and of several batches: each has a value of its own.
        sizes = "x".join(map(str, shape))
        full = f".{self.entry.name}.{name}.{'train' if self.training else 'test'}.{sizes}"
        self.carry_names[name] = full
        return self._unlearned("carried", full, shape, Filler("constant", (("value", 0.0),)))

    def read_from(self, name: str, shape: tuple[int, ...], file: str) -> Node:
        path = str(Path(self.entry.span.file).parent / file)
        return self._unlearned("carried", f".{self.entry.name}.{name}", shape, Filler("file", (("path", path),)))

    def _unlearned(
        self, kind: Literal["statistic", "carried"], full: str, shape: tuple[int, ...], filler: Filler
    ) -> Node:
        info = StateInfo(
            full,
            TensorType(tuple(int(n) for n in shape), self.dtype),
            kind,
            filler,
            lr=0.0,
            decay=0.0,
            layer=self.entry.name,
            place=f"{self.entry.span.file}:{self.entry.span.line}",
            buffer=full,
        )
        return self._new(info)

    def carry(self, name: str, value: Node) -> None:
        self.updates[self.carry_names[name]] = value

    def random_bits(self, shape: tuple[int, ...]) -> Node:
        return self.net.random_bits(shape)

    def across(self, x: Node, what: str) -> Node:
        return self.net.across(x, f"{self.entry.name}.{what}")

    def host_function(self, text: str, settings: str) -> tuple[HostFunction, Sizes | None]:
        python, name = self.net.python, self.entry.name
        if python is None:
            return HostFunction(name, ABSENT), None
        if not python.allowed and not is_registered(text):
            hint = "a .net file runs no code by itself; if you trust this one: --allow-python, or allow_python=True"
            self.net.problems.add(SourceError("E431", f'host: this would run Python, "{text}"', self.entry.span, hint))
            raise ParameterError("", "")
        try:
            layer = python.layer((self.net.name, self.training, name), text, settings, self.entry.span.file)
        except HostError as error:
            self.net.problems.add(SourceError("E432", f"host: {error}", self.entry.span, "see `netc explain E432`"))
            raise ParameterError("", "") from error
        return HostFunction(name, layer), python.sizes.get(name)


def apply(frame: Frame, node: tree.Call, layer: Layer, arguments: list[Argument], written: dict[Node, str]) -> Any:
    """The value or the `Results` of a layer; `written` is the name of what is piped into it, where it has one."""
    net = frame.net
    assert net is not None
    callee = node.callee
    net.spend(callee.span, LAYER_WORK)
    if frame.layer is None:
        name, key = calls.name_call(frame, node, bool(layer.params))
        entry = LayerEntry(name, layer.name, callee.span)
        assert frame.scope is not None
        frame.scope.entries[key] = entry
        net.add_layer(entry)
    else:
        entry, key = LayerEntry(frame.layer, layer.name, callee.span), ("", 0)
    if layer.name in constants.FUNCTIONS and len(arguments) == 1:
        arguments = [_evaluated(frame, arguments[0])]
        folded = _fold(frame, layer, arguments, callee.span)
        if folded is not None:
            return folded[0]
    signature = layer.signature
    named = [p for p in layer.params if p not in signature.parameters or p == "bias"]
    taken, rest = calls.take(arguments, [*named, *COMMON] if layer.params else ())
    own = calls.once(frame, layer.name, taken)
    given, fine = _parameters(frame, layer, own, rest)
    multipliers = {what: _multipliers(frame, layer, own[what]) for what in ("lr", "decay") if what in own}
    fine = fine and None not in multipliers.values()
    reader = calls.FrameReader(frame)
    others = [*named, *COMMON] if layer.params else []
    bound = bind(layer.name, signature, rest, callee.span, reader, others=others)
    twin = _twin(frame, own, key)
    if "share" in own:
        fine = fine and _nothing_beside(frame, layer, own, given) and twin is not None and not twin.broken
    if not bound.ok or not fine:
        entry.broken = True
        return UNKNOWN
    operands = _operands(bound, signature)
    tensors = [x for _, x in operands]
    written = written | _written(frame, node)
    dtype = next((x.dtype for x in tensors if x.type.is_float), "f32")
    said: dict[str, tuple[float, ...]] = {k: v for k, v in multipliers.items() if v is not None}
    permissive = {k for k, one in own.items() if isinstance(one.expr, tree.Path) and one.expr.permissive}
    context = Context(net, layer, entry, given, said, twin, dtype, permissive)
    results = _run(frame, layer, context, bound, own, node, tensors, written)
    if results is None or not _finish(frame, layer, context, bound, own, results, operands, node):
        entry.broken = True
        return UNKNOWN
    return results[0] if len(results) == 1 else Results(results)


def _evaluated(frame: Frame, argument: Argument) -> Argument:
    """A positional argument with its value."""
    if argument.name is not None or argument.expr is None:
        return argument
    return Argument(argument.span, None, None, evaluate(frame, argument.expr))


def _fold(frame: Frame, layer: Layer, arguments: list[Argument], span: Span) -> tuple[Any] | None:
    """The value of an elementwise function of one constant; None where it is for tensors."""
    if arguments[0].name is not None or not constants.is_number(arguments[0].value):
        return None
    try:
        return (constants.function(layer.name, arguments[0].value),)
    except constants.FoldError as error:
        frame.report(SourceError(error.code, error.message, span, error.hint))
        return (UNKNOWN,)


def _parameters(
    frame: Frame, layer: Layer, own: dict[str, Argument], rest: list[Argument]
) -> tuple[dict[str, Filler | Node], bool]:
    """What `weight:`, `bias:` and their like say: fillers and tied tensors; `none` becomes the layer's own setting."""
    given: dict[str, Filler | Node] = {}
    fine = True
    reader = calls.FrameReader(frame)
    for name, argument in own.items():
        if name in COMMON:
            continue
        assert argument.expr is not None
        early = read_word(FILLER_OR_TENSOR, argument.expr, reader)
        value = early[0] if early is not None else evaluate(frame, argument.expr)
        if value is UNKNOWN:
            fine = False
        elif isinstance(value, (Filler, Node)):
            given[name] = value
            if name in layer.signature.parameters:
                rest.append(Argument(argument.span, argument.name, tree.Boolean(argument.span, True)))
        elif (value is None or isinstance(value, bool)) and name in layer.signature.parameters:
            rest.append(Argument(argument.span, argument.name, tree.Boolean(argument.span, bool(value))))
        else:
            fine = False
            takes = "a filler, a tensor or none" if name in layer.signature.parameters else "a filler or a tensor"
            message = f"{layer.name}: `{name}` takes {takes}, not {describe(value)}"
            hint = f"constant({describe(value)}) fills it with that value" if constants.is_number(value) else ""
            frame.report(SourceError("E207", message, argument.span, hint))
    return given, fine


def _multipliers(frame: Frame, layer: Layer, argument: Argument) -> tuple[float, ...] | None:
    """`lr: 2` or `lr: [1, 2]`: one for all, or one for each parameter in their order."""
    assert argument.expr is not None
    assert argument.name is not None
    value = evaluate(frame, argument.expr)
    if value is UNKNOWN:
        return None
    values = value if isinstance(value, tuple) else (value,)
    what = argument.name.name
    if not all(constants.is_number(v) for v in values):
        message = f"{layer.name}: `{what}` takes numbers, not {describe(value)}"
        frame.report(SourceError("E218", message, argument.span, f"such as `{what}: 2` or `{what}: [1, 2]`"))
        return None
    if large := [v for v in values if math.isinf(single(v))]:
        message = f"{layer.name}: `{what}` takes numbers, {in_single(large[0])}"
        frame.report(SourceError("E218", message, argument.span))
        return None
    if not 1 <= len(values) <= len(layer.params):
        message = f"{layer.name}: `{what}` has {len(values)} values for {', '.join(layer.params)}"
        frame.report(SourceError("E218", message, argument.span, "one for all, or one for each in this order"))
        return None
    return tuple(map(float, values))


def _twin(frame: Frame, own: dict[str, Argument], key: tuple[str, int]) -> LayerEntry | None:
    """The layer whose parameters this one has: by `share:`, or since the block it stands in shares another's."""
    if "share" in own:
        found = calls.shared(frame, own["share"], block=False)
        return found if isinstance(found, LayerEntry) else None
    if frame.scope is not None and frame.scope.twin is not None and frame.layer is None:
        found = frame.scope.twin.entries.get(key)
        return found if isinstance(found, LayerEntry) else None
    return None


def _nothing_beside(frame: Frame, layer: Layer, own: dict[str, Argument], given: dict[str, Filler | Node]) -> bool:
    """Whether a call that shares says nothing of first values and multipliers, which are the owner's; reports E219."""
    idle = [name for name in own if name in ("lr", "decay") or isinstance(given.get(name), Filler)]
    for name in idle:
        message = f"{layer.name}: `{name}` says nothing beside `share`"
        hint = "what is shared has the first values and multipliers of the layer that it is shared with"
        frame.report(SourceError("E219", message, own[name].span, hint))
    return not idle


def _operands(bound: Bound, signature: inspect.Signature) -> list[tuple[str, Node]]:
    """The tensors that a layer reads, in the order of its signature, with the names of its parameters."""
    found: list[tuple[str, Node]] = []
    for name, parameter in signature.parameters.items():
        given = bound.rest if parameter.kind is parameter.VAR_POSITIONAL else [bound.values.get(name)]
        found += [(name, x) for x in given if isinstance(x, Node)]
    return found


def _written(frame: Frame, node: tree.Call) -> dict[Node, str]:
    """The operands that are written as names."""
    named = [arg.value.name for arg in node.args if isinstance(arg.value, tree.Name) and arg.value.name in frame.env]
    values = {name: frame.env[name].value for name in named}
    return {value: name for name, value in values.items() if isinstance(value, Node)}


def _run(
    frame: Frame,
    layer: Layer,
    context: Context,
    bound: Bound,
    own: dict[str, Argument],
    node: tree.Call,
    tensors: list[Node],
    written: dict[Node, str],
) -> tuple[Node, ...] | None:
    """The layer's nodes, or None after its error was reported with how the sizes of its operands came about."""
    net = context.net
    positional, named = bound.call(layer.signature)
    try:
        with at(node.span, context.entry.name), building(context):
            result = layer.function(*positional, **named)
    except TypeRuleError as error:
        if not error.message:  # reported where it was found
            return None
        setting = getattr(error, "setting", "")
        place = bound.places.get(setting) or (own[setting].span if setting in own else node.callee.span)
        message = error.message if error.message.startswith(f"{layer.name}: ") else f"{layer.name}: {error.message}"
        notes = [net.history.note(x, written.get(x, "")) for x in tensors[:4]]
        frame.report(SourceError("E310", message, place, "", dict.fromkeys(notes)))
        return None
    except TooManyNodes:
        message = f"{layer.name} expands to too much: a net may have {MAX_NODES:,} nodes"
        frame.report(limit("E511", message, node.callee.span))
        raise Stop from None
    return result if isinstance(result, tuple) else (result,)


def _finish(
    frame: Frame,
    layer: Layer,
    context: Context,
    bound: Bound,
    own: dict[str, Argument],
    results: tuple[Node, ...],
    operands: list[tuple[str, Node]],
    node: tree.Call,
) -> bool:
    """Checks what a layer gave and enters it; False where something is wrong."""
    net, entry, tensors = context.net, context.entry, [x for _, x in operands]
    unmade = [name for name in context.given if name not in context.made]
    for name in unmade:
        message = f"{layer.name}: there is no `{name}` here to fill"
        frame.report(SourceError("E207", message, own[name].span, "other settings leave it out"))
    if unmade or not all(net.check_size(x.type, node.callee.span, f"the result of `{layer.name}`") for x in results):
        return False
    settings = {public(k): v for k, v in bound.values.items() if not isinstance(v, Node)}
    net.history.extend(tensors, results, label_of(layer.name, settings))
    if frame.layer is not None or frame.scope is None:
        return True
    for i, result in enumerate(results):
        net.history.name(result, entry.name if i == 0 else f"{entry.name}.{i + 1}")
    for state, value in context.updates.items():
        net.updates[state] = (value, entry.name)
    bottoms = tuple((net.history.name_of(x), x.type) for x in tensors)
    tops = tuple((net.history.name_of(x), x.type) for x in results)
    params = tuple(x.attrs["name"] for x in entry.params.values() if x.op is ops.param)
    info = LayerInfo(entry.name, layer.name, bottoms, tops, params, tuple(settings.items()), node.span)
    word = labels.label_of(frame, node)
    label = "" if word is None else word[0]
    applied = Applied((*operands,), entry.params, frozenset(context.permissive), frame.scope.name, label)
    net.add_row(info, results, frame.directives, applied)
    return True
