"""Calls: who is meant by a name, what the call's layer is called, and what it gives.

Your own ops and blocks win over layers. Blocks are expanded in place, ops become one layer of elementwise nodes, and a
layer is its function, called under its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...grammar import tree
from ...grammar.source import SourceError, Span, suggest
from ..graph import Node
from ..layers import LAYERS
from ..schema.fillers import FILLERS
from ..schema.schema import Argument, arguments_of
from ..schema.settings import UNKNOWN
from . import blocks, expressions, labels
from . import layers as layer_calls
from .frame import Frame
from .names import LayerEntry, Scope, canonical, join, raw_name


class FrameReader:
    """A frame as `schema.bind` sees it."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def evaluate(self, expr: tree.Expr) -> Any:
        return expressions.evaluate(self.frame, expr)

    def knows(self, name: str) -> bool:
        return self.frame.knows(name)

    def calls(self, name: str) -> bool:
        return self.frame.function(name) is not None or name in LAYERS

    def report(self, error: SourceError) -> None:
        self.frame.report(error)


def call(frame: Frame, node: tree.Call, piped: Argument | None, written: tree.Expr | None = None) -> Any:
    """The value or the `Results` of a call; what is piped into it is its first argument, `written` as such."""
    callee = node.callee.name
    arguments = [*([piped] if piped is not None else ()), *arguments_of(node.args)]
    function = frame.function(callee)
    if frame.net is None or frame.scope is None:
        message = f"`{callee}(…)` stands where only constants do"
        frame.report(SourceError("E315", message, node.callee.span, "calls are for nets, blocks and ops"))
        return UNKNOWN
    if frame.layer is not None and node.label is not None:
        frame.report(SourceError("E217", "nothing inside an op has a name", node.label.span, "leave the `as` out"))
        return UNKNOWN
    if function is None and callee not in LAYERS:
        frame.unknown_function(node.callee)
        evaluate_rest(frame, arguments)
        return UNKNOWN
    if frame.kind == "op" and not allowed_in_op(frame, node):
        evaluate_rest(frame, arguments)
        return UNKNOWN
    if function is not None:
        frame.net.usage.expanded.add(id(function.definition))
        if isinstance(function.definition, tree.OpDef):
            return blocks.expand_op(frame, node, function, function.definition, arguments)
        return blocks.expand_block(frame, node, function, function.definition, arguments)
    named = {piped.value: expressions.shown(written)} if piped is not None and isinstance(piped.value, Node) else {}
    return layer_calls.apply(frame, node, LAYERS[callee], arguments, named)


def allowed_in_op(frame: Frame, node: tree.Call) -> bool:
    """Whether a call may stand in an op: elementwise functions, reductions and other ops; reports E214."""
    callee = node.callee.name
    function = frame.function(callee)
    if function is None and LAYERS[callee].elementwise:
        return True
    if function is not None and function.kind == "op":
        return True
    what = "block" if function is not None else "layer"
    hint = "an op is made of arithmetic, elementwise functions, `where`, `sum`, `mean`, `max`; use a block"
    frame.report(SourceError("E214", f"the {what} `{callee}` cannot stand in an op", node.callee.span, hint))
    return False


def evaluate_rest(frame: Frame, arguments: Iterable[Argument]) -> None:
    """Evaluates the arguments of a call that is wrong anyway, for what may be wrong in them; words may be settings."""
    for argument in arguments:
        filler = isinstance(argument.expr, tree.Call) and argument.expr.callee.name in FILLERS
        if argument.expr is not None and not isinstance(argument.expr, tree.Name) and not filler:
            expressions.evaluate_all(frame, argument.expr)


def name_call(frame: Frame, node: tree.Call, has_parameters: bool) -> tuple[str, tuple[str, int]]:
    """The whole name of a call's layer, and the key under which its scope holds it."""
    assert frame.net is not None
    assert frame.scope is not None
    label = labels.label_of(frame, node)
    raw = raw_name(
        node.callee.name,
        has_parameters,
        None if label is None else label[0],
        scope=frame.scope,
        base=frame.base,
        alone=frame.alone,
    )
    # Of a template the text as written: with its values, it would be another in each use of a block.
    key = frame.scope.key(raw if label is None or node.label is None else labels.key_of(node.label))
    absolute = label is not None and label[1]
    wanted = raw if absolute else join(frame.scope.name, raw)
    scopes, name = frame.net.scopes, canonical(wanted if raw else frame.scope.name)
    free = absolute and name in scopes  # what a use of a block is called says nothing of a layer in it
    scopes.discard(name)
    if free:
        return wanted, key
    full = frame.net.taken.take(wanted) if raw else frame.scope.name
    if label is not None and node.label is not None and full != wanted:
        if absolute:
            message, hint = f"`{wanted}` is the name of another layer", "weights are read by these names: change one"
            frame.report(SourceError("E209", message, node.label.span, hint))
        else:
            message = f"`{label[0]}` is the name of another call; this one is `{full}`"
            hint = "weights are read by these names: give it another one"
            frame.report(SourceError("W607", message, node.label.span, hint))
    return full, key


def unknown_layer(frame: Frame, name: str, span: Span, table: Iterable[str], what: str = "layer") -> None:
    """E211 for a name that no layer (or use of a block) has, with those seen from here."""
    assert frame.scope is not None
    prefix = frame.scope.name.replace("/", ".") + "." if frame.scope.name else ""
    names = [key.removeprefix(prefix) for key in table if key.startswith(prefix)]
    hint = suggest(name, names) or (f"there are {', '.join(names[:6])}" if names else "")
    frame.report(SourceError("E211", f"there is no {what} `{name}` above", span, hint))


def shared(frame: Frame, argument: Argument, block: bool) -> LayerEntry | Scope | None:
    """The layer, or the use of a block, that `share:` names; None (reported) where there is none."""
    assert frame.net is not None
    expr = argument.expr
    if isinstance(expr, tree.Name):
        name = expr.name
    elif isinstance(expr, tree.Path):
        name = str(expr)
    elif isinstance(expr, tree.String):
        text = labels.filled(frame, expr) if not frame.module.foreign else expr.value
        if text is None:
            return None
        name = text
    else:
        frame.report(SourceError("E219", "`share` takes the name of a layer", argument.span, "such as `share: ip1`"))
        return None
    use, layer = frame.net.find_use(frame.scope, name), frame.net.find_layer(frame.scope, name)
    if block and use is not None:
        return use
    if not block and layer is not None:
        return layer
    if use is not None or layer is not None:
        is_what = "a use of a block" if use is not None else "a layer"
        wants = "a use of this block" if block else "a layer"
        frame.report(SourceError("E219", f"`{name}` is {is_what}, `share` wants {wants} here", argument.span))
        return None
    seen = frame.net.uses if block else [key for key, entry in frame.net.layers.items() if entry.params]
    unknown_layer(frame, name, argument.span, seen)
    return None


def take(arguments: Sequence[Argument], names: Iterable[str]) -> tuple[dict[str, list[Argument]], list[Argument]]:
    """The named arguments of some names (each with all that have it), and the rest."""
    wanted = set(names)
    taken: dict[str, list[Argument]] = {}
    rest: list[Argument] = []
    for argument in arguments:
        if argument.name is not None and argument.name.name in wanted:
            taken.setdefault(argument.name.name, []).append(argument)
        else:
            rest.append(argument)
    return taken, rest


def once(frame: Frame, title: str, taken: dict[str, list[Argument]]) -> dict[str, Argument]:
    """One argument for each name; E206 for a second."""
    for found in taken.values():
        for extra in found[1:]:
            assert extra.name is not None
            message = f"{title}: `{extra.name.name}` is given twice"
            frame.report(SourceError("E206", message, extra.name.span, "leave one of them out"))
    return {name: found[0] for name, found in taken.items()}
