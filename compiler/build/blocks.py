"""Blocks and ops at their uses: arguments bound to formals, the body run in a frame of its own."""

from __future__ import annotations

from typing import Any

from ...grammar import tree
from ...grammar.source import SourceError, Span
from ..graph import Node
from ..net import LayerInfo
from ..schema.schema import Argument, unknown_setting
from ..schema.settings import UNKNOWN, describe
from . import body, calls, labels
from .expressions import Results, evaluate
from .frame import Binding, Frame, Use
from .limits import BLOCK_WORK, MAX_BLOCKS, Stop, limit
from .module import Function
from .names import LayerEntry, Scope, canonical


def bind_formals(
    frame: Frame, function: Function, arguments: list[Argument], span: Span, extra: tuple[str, ...] = ()
) -> dict[str, Binding]:
    """The formals of a block or an op with their values; UNKNOWN (reported) where one is missing or wrong."""
    formals = function.definition.formals
    names = [formal.name.name for formal in formals]
    values: dict[str, Any] = {}
    positional = [a for a in arguments if a.name is None]
    for argument, name in zip(positional, names, strict=False):
        values[name] = _value(frame, argument)
    for argument in positional[len(names) :]:
        value = _value(frame, argument)
        if value is not UNKNOWN:
            hint = f"{function.name} takes {', '.join(names) or 'nothing'}"
            message = f"{function.name}: {describe(value)} is one argument too many"
            frame.report(SourceError("E205", message, argument.span, hint))
    for argument in arguments:
        if argument.name is None:
            continue
        name = argument.name.name
        if name not in names:
            frame.report(unknown_setting(function.name, argument.name, [*names, *extra]))
        elif name in values:
            message = f"{function.name}: `{name}` is given twice"
            frame.report(SourceError("E206", message, argument.name.span, "leave one of them out"))
        else:
            values[name] = _value(frame, argument)
    return _defaults(frame, function, values, span)


def _defaults(frame: Frame, function: Function, values: dict[str, Any], span: Span) -> dict[str, Binding]:
    """Fills in what a use leaves out, each default seen from the definition and the formals before it."""
    env: dict[str, Binding] = {}
    inside = Frame(frame.problems, function.module, "file", function.position, env=env)
    for formal in function.definition.formals:
        name = formal.name.name
        if name in values:
            value = values[name]
        elif formal.default is not None:
            value = evaluate(inside, formal.default)
        else:
            value = UNKNOWN
            message = f"{function.name}: `{name}` is missing"
            frame.report(SourceError("E204", message, span, f"{function.kind} `{function.name}` needs it"))
        env[name] = Binding(value, formal.name.span)
    return env


def _value(frame: Frame, argument: Argument) -> Any:
    if argument.expr is None:
        return argument.value
    if isinstance(argument.expr, tree.Name) and argument.expr.name != "none" and not _seen(frame, argument.expr.name):
        frame.unknown_value(argument.expr, words=argument.name is not None)
        return UNKNOWN
    if isinstance(argument.expr, tree.String):
        text = labels.filled(frame, argument.expr)
        return UNKNOWN if text is None else text
    return evaluate(frame, argument.expr)


def _seen(frame: Frame, name: str) -> bool:
    try:
        frame.value(name)
    except KeyError:
        return False
    return True


def _enter(frame: Frame, function: Function, span: Span) -> tuple[Use, ...]:
    """The uses around a body with one more; E512 where they are too many."""
    assert frame.net is not None
    frame.net.spend(span, BLOCK_WORK)
    if len(frame.uses) >= MAX_BLOCKS:
        frame.problems.add(limit("E512", f"blocks and ops stand in each other more than {MAX_BLOCKS} deep", span))
        raise Stop
    return (*frame.uses, Use(function, span))


def expand_block(
    frame: Frame, node: tree.Call, function: Function, definition: tree.BlockDef, arguments: list[Argument]
) -> Any:
    """The value or the `Results` of a block, its layers named after this use."""
    net = frame.net
    assert net is not None
    assert frame.scope is not None
    own, rest = calls.take(arguments, ("share",))
    if "share" in {formal.name.name for formal in definition.formals}:
        own, rest = {}, arguments
    values = bind_formals(frame, function, rest, node.callee.span, ("share",))
    name, key = calls.name_call(frame, node, net.counts.has_parameters(function.name, frame.module, frame.position))
    net.scopes.add(canonical(name))
    scope = Scope(name, net.counts.body(definition.body, function.module, function.position) == 1, None, function)
    share = calls.once(frame, function.name, own).get("share")
    if share is not None:
        scope.twin = _block_twin(frame, function, share)
        scope.broken = scope.twin is None
    elif frame.scope.twin is not None:
        twin = frame.scope.twin.entries.get(key)
        scope.twin = twin if isinstance(twin, Scope) else None
    frame.scope.entries[key] = scope
    inside = Frame(
        frame.problems,
        function.module,
        "block",
        function.position,
        net,
        scope,
        values,
        _enter(frame, function, node.callee.span),
        directives=frame.directives,
        body=definition.body,
    )
    results = body.run_block(inside, definition)
    net.uses[canonical(name)] = scope
    return results[0] if len(results) == 1 else Results(results)


def _block_twin(frame: Frame, function: Function, argument: Argument) -> Scope | None:
    """The use of the same block that `share:` names."""
    found = calls.shared(frame, argument, block=True)
    if not isinstance(found, Scope):
        return None
    if found.function is not function:
        other = found.function.name if found.function is not None else ""
        message = f"`{found.name}` is a use of block `{other}`, not of `{function.name}`"
        frame.report(SourceError("E219", message, argument.span, "only uses of one block share parameters"))
        return None
    return None if found.broken else found


def expand_op(
    frame: Frame, node: tree.Call, function: Function, definition: tree.OpDef, arguments: list[Argument]
) -> Any:
    """The value of an op: its expression over the arguments, all nodes under one name."""
    net = frame.net
    assert net is not None
    assert frame.scope is not None
    values = bind_formals(frame, function, arguments, node.callee.span)
    name = frame.layer
    if name is None:
        name, key = calls.name_call(frame, node, False)
        entry = LayerEntry(name, function.name, node.callee.span)
        frame.scope.entries[key] = entry
        net.add_layer(entry)
    inside = Frame(
        frame.problems,
        function.module,
        "op",
        function.position,
        net,
        frame.scope,
        values,
        _enter(frame, function, node.callee.span),
        layer=name,
    )
    result = evaluate(inside, definition.value)
    if frame.layer is None and isinstance(result, Node):
        tensors = [b.value for b in values.values() if isinstance(b.value, Node)]
        net.history.extend(tensors, (result,), function.name)
        net.history.name(result, name)
        bottoms = tuple((net.history.name_of(x), x.type) for x in tensors)
        settings = tuple((k, b.value) for k, b in values.items() if not isinstance(b.value, Node))
        info = LayerInfo(name, function.name, bottoms, ((name, result.type),), (), settings, node.span)
        net.add_row(info, (result,), frame.directives)
    return result
