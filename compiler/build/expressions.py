"""Expressions to values: constants are folded, tensors become nodes.

A value is a constant (number, text, boolean, list, none), a node, several `Results` of one call, or `UNKNOWN`, which
stands for what was wrong and has been reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...grammar import tree
from ...grammar.source import SourceError, Span
from .. import expr as arithmetic
from ..graph import Node, at
from ..net import LayerInfo
from ..ops.base import TypeRuleError
from ..schema.schema import Argument
from ..schema.settings import UNKNOWN, describe
from . import calls, constants
from .frame import Frame
from .limits import MAX_LIST, MAX_TEXT, OPERATION_WORK, limit
from .names import join
from .state import Applied

KINDS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "pow"}
RELATIONS = {"<": "less", ">": "greater", "<=": "less_equal", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}


@dataclass(frozen=True)
class Results:
    """What a call with several results gives."""

    values: tuple[Any, ...]


def evaluate(frame: Frame, expr: tree.Expr) -> Any:
    """The one value of an expression; several results of a call are an error here."""
    value = evaluate_all(frame, expr)
    if isinstance(value, Results):
        if len(value.values) == 1:
            return value.values[0]
        hint = f"bind them: {', '.join('abcdefgh'[: len(value.values)])} = …"
        frame.report(SourceError("E208", f"this gives {len(value.values)} results, one is wanted", expr.span, hint))
        return UNKNOWN
    return value


def evaluate_all(frame: Frame, expr: tree.Expr) -> Any:
    """The value of an expression, or the `Results` of a call."""
    if frame.net is not None:
        frame.net.spend(expr.span)
    match expr:
        case tree.Number() | tree.Boolean():
            return expr.value
        case tree.String():
            if len(expr.value) > MAX_TEXT:
                frame.report(limit("E515", f"a text may have {MAX_TEXT:,} characters", expr.span))
                return UNKNOWN
            return expr.value
        case tree.Name():
            return name(frame, expr)
        case tree.Path():
            return path(frame, expr)
        case tree.List():
            return constant_list(frame, expr)
        case tree.Unary():
            return unary(frame, expr)
        case tree.Binary():
            return binary(frame, expr)
        case tree.Compare():
            return compare(frame, expr)
        case tree.Call():
            return calls.call(frame, expr, None)
        case tree.Pipe():
            return pipe(frame, expr)


def name(frame: Frame, expr: tree.Name) -> Any:
    """The value of a name; `none` is None."""
    if expr.name == "none" and not frame.knows("none"):  # a blob of Caffe's may be called so
        return None
    try:
        return frame.value(expr.name)
    except KeyError:
        frame.unknown_value(expr)
        return UNKNOWN


def path(frame: Frame, expr: tree.Path) -> Any:
    """`enc.weight`: a parameter of a layer of this net or block."""
    if frame.net is None or frame.scope is None:
        frame.report(SourceError("E211", "parameters of layers are known in nets and blocks only", expr.span))
        return UNKNOWN
    layer_name, parameter = ".".join(part.name for part in expr.parts[:-1]), expr.parts[-1].name
    entry = frame.net.find_layer(frame.scope, layer_name)
    if entry is None:
        seen = [key for key, layer in frame.net.layers.items() if layer.params and not key[0].isdigit()]
        calls.unknown_layer(frame, layer_name, expr.span, seen)
        return UNKNOWN
    if entry.broken:
        return UNKNOWN
    node = entry.params.get(parameter)
    if node is None:
        has = f"it has {', '.join(entry.params)}" if entry.params else f"{entry.kind} has no parameters"
        message = f"layer `{entry.name}` has no parameter `{parameter}`"
        frame.report(SourceError("E211", message, expr.parts[-1].span, has))
        return UNKNOWN
    return node


def constant_list(frame: Frame, expr: tree.List) -> Any:
    """A list of constants."""
    if len(expr.items) > MAX_LIST:
        frame.report(limit("E515", f"a list may have {MAX_LIST:,} items", expr.span))
        return UNKNOWN
    values = [evaluate(frame, item) for item in expr.items]
    for value, item in zip(values, expr.items, strict=True):
        if isinstance(value, Node):
            hint = "give tensors one by one, without brackets"
            frame.report(SourceError("E315", f"a list holds constants, not {describe(value)}", item.span, hint))
            return UNKNOWN
    return UNKNOWN if any(value is UNKNOWN for value in values) else tuple(values)


def pipe(frame: Frame, expr: tree.Pipe) -> Any:
    """A value through calls: the first argument of each is what stands before it."""
    value: Any = evaluate(frame, expr.value)
    place = expr.value.span
    written = expr.value
    for i, step in enumerate(expr.calls):
        value = calls.call(frame, step, Argument(place, None, None, value), written if i == 0 else None)
        place = step.span
        if i + 1 < len(expr.calls) and isinstance(value, Results):
            message = f"`{step.callee.name}` gives {len(value.values)} results, a pipe takes one"
            frame.report(SourceError("E208", message, step.callee.span, "bind them to names first"))
            value = UNKNOWN
    return value


def unary(frame: Frame, expr: tree.Unary) -> Any:
    """-x."""
    value = evaluate(frame, expr.operand)
    if value is UNKNOWN:
        return UNKNOWN
    if isinstance(value, Node):
        return operation(frame, expr.span, "neg", lambda: arithmetic.neg(value), (value,), (expr.operand,))
    return _folded(frame, expr.span, lambda: constants.negate(value))


def binary(frame: Frame, expr: tree.Binary) -> Any:
    """left + right and its like."""
    left, right = evaluate(frame, expr.left), evaluate(frame, expr.right)
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if not isinstance(left, Node) and not isinstance(right, Node):
        return _folded(frame, expr.sign_span, lambda: constants.arithmetic(expr.sign, left, right))
    if not _operands(frame, expr, left, right):
        return UNKNOWN
    if expr.sign == "/" and right == 0:
        frame.report(SourceError("E302", "division by zero", expr.sign_span))
        return UNKNOWN
    function = getattr(arithmetic, KINDS[expr.sign])
    return operation(
        frame, expr.sign_span, KINDS[expr.sign], lambda: function(left, right), (left, right), (expr.left, expr.right)
    )


def compare(frame: Frame, expr: tree.Compare) -> Any:
    """left < right and its like; between tensors a tensor of booleans."""
    left, right = evaluate(frame, expr.left), evaluate(frame, expr.right)
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if not isinstance(left, Node) and not isinstance(right, Node):
        return _folded(frame, expr.relation_span, lambda: constants.compare(expr.relation, left, right))
    if not _operands(frame, expr, left, right):
        return UNKNOWN

    def made() -> Node:
        less, no = arithmetic.less, arithmetic.logical_not
        return {
            "<": lambda: less(left, right),
            ">": lambda: less(right, left),
            "<=": lambda: no(less(right, left)),
            ">=": lambda: no(less(left, right)),
            "==": lambda: arithmetic.equal(left, right),
            "!=": lambda: no(arithmetic.equal(left, right)),
        }[expr.relation]()

    kind = RELATIONS[expr.relation]
    return operation(frame, expr.relation_span, kind, made, (left, right), (expr.left, expr.right))


def _operands(frame: Frame, expr: tree.Binary | tree.Compare, left: Any, right: Any) -> bool:
    """Whether both are tensors or numbers; reports E315."""
    sign = expr.sign if isinstance(expr, tree.Binary) else expr.relation
    fine = True
    for value, part in ((left, expr.left), (right, expr.right)):
        if not isinstance(value, Node) and not constants.is_number(value):
            message = f"`{sign}` between a tensor and {describe(value)}"
            frame.report(SourceError("E315", message, part.span, "a tensor or a number is wanted here"))
            fine = False
    return fine


def _folded(frame: Frame, span: Span, compute: Any) -> Any:
    try:
        return compute()
    except constants.FoldError as error:
        frame.report(SourceError(error.code, error.message, span, error.hint))
        return UNKNOWN


def operation(
    frame: Frame, span: Span, kind: str, make: Any, operands: tuple[Any, ...], written: tuple[tree.Expr, ...]
) -> Any:
    """An operation between tensors: its node under a name of its own, a row of the layer table, its size checked."""
    net = frame.net
    assert net is not None
    assert frame.scope is not None
    net.spend(span, OPERATION_WORK)
    nodes = [x for x in operands if isinstance(x, Node)]
    if kind not in RELATIONS.values() and any(x.dtype == "bool" for x in nodes):
        message = f"`{kind}` of true and false"
        frame.report(SourceError("E311", message, span, "choose numbers with where(condition, 1, 0), or cast(…, f32)"))
        return UNKNOWN
    scope = frame.layer
    if scope is None:
        scope = net.taken.take(join(frame.scope.name, join(frame.base or "", kind)))
    try:
        with at(span, scope):
            result: Node = make()
    except TypeRuleError as error:
        parts = zip(operands, written, strict=True)
        notes = [net.history.note(x, shown(part)) for x, part in parts if isinstance(x, Node)]
        frame.report(SourceError("E311", error.message, span, _hint(nodes), dict.fromkeys(notes)))
        return UNKNOWN
    if not net.check_size(result.type, span, f"the result of `{kind}`"):
        return UNKNOWN
    net.history.extend(nodes, (result,), kind)
    if frame.layer is None:
        net.history.name(result, scope)
        bottoms = tuple((net.history.name_of(x), x.type) for x in nodes)
        info = LayerInfo(scope, kind, bottoms, ((scope, result.type),), (), (), span)
        applied = Applied((*zip("ab", operands, strict=False),), scope=frame.scope.name)
        net.add_row(info, (result,), frame.directives, applied)
    return result


def _hint(nodes: list[Node]) -> str:
    kinds = sorted({x.dtype for x in nodes})
    return f"{' and '.join(kinds)} do not mix: cast one of them" if len(kinds) > 1 else ""


def shown(expr: tree.Expr | None) -> str:
    """An operand as notes name it: a name stands for itself, anything else has none."""
    return expr.name if isinstance(expr, tree.Name) else str(expr) if isinstance(expr, tree.Path) else ""
