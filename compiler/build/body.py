"""Statements: binds, loops, choices, roles, inputs, free parameters and the directives before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...grammar import tree
from ...grammar.source import SourceError, Span, suggest
from .. import ops
from ..expr import reshape
from ..graph import Node, at
from ..program import StateInfo
from ..schema.schema import read_filler
from ..schema.settings import UNKNOWN, describe, show_type
from ..spec import Filler
from ..types import TensorType, holds, wide
from . import calls, constants
from .dims import read_type
from .expressions import Results, evaluate, evaluate_all
from .frame import Binding, Frame, assigned, ends_with_return
from .limits import MAX_LOOP, TURN_WORK, limit
from .names import LayerEntry, Scope, join

DIRECTIVES = ("nofuse", "recompute", "dtype")
DTYPE = "dtype:"  # before the type, in the table of directives
RECOMPUTE = "recompute:"  # before the number of the statement
ZERO = Filler("constant", (("value", 0.0),))


def run(frame: Frame, statements: Sequence[tree.AnyStatement]) -> None:
    """Runs the statements of a net, a loop or a choice; `return` is an error here."""
    for statement in statements:
        assert frame.net is not None
        frame.net.spend(statement.span)
        inside = directed(frame, statement)
        match statement:
            case tree.Bind():
                bind(inside, statement)
            case tree.For():
                loop(inside, statement)
            case tree.If():
                choice(inside, statement)
            case tree.Role():
                role(inside, statement)
            case tree.Input():
                input_(inside, statement)
            case tree.Param():
                param(inside, statement)
            case tree.Return():
                hint = "it is the last statement of a block" if frame.uses else "a net has none: name its `output`s"
                frame.report(SourceError("E212", "`return` cannot stand here", statement.span, hint))


def run_block(frame: Frame, definition: tree.BlockDef) -> tuple[Any, ...]:
    """The values that a block returns."""
    if not ends_with_return(frame, definition):
        run(frame, definition.body)
        return (UNKNOWN,)
    run(frame, definition.body[:-1])
    last = definition.body[-1]
    assert isinstance(last, tree.Return)
    assert frame.net is not None
    inside = directed(frame, last)
    count = sum(frame.net.counts.expression(value, frame.module, frame.position) for value in last.values)
    inside = inside.with_(base=None, alone=count == 1)
    return tuple(evaluate(inside, value) for value in last.values)


def directed(frame: Frame, statement: tree.AnyStatement) -> Frame:
    """The frame of a statement, with its directives."""
    found = set(frame.directives)
    for directive in statement.directives:
        name = directive.name.name
        if name not in DIRECTIVES:
            hint = suggest(name, DIRECTIVES) or f"there are {', '.join('@' + d for d in DIRECTIVES)}"
            frame.report(SourceError("E213", f"`@{name}` is no directive", directive.name.span, hint))
        elif isinstance(statement, (tree.Input, tree.Param)):
            hint = "put it before a statement that computes something"
            frame.report(SourceError("E213", f"`@{name}` has nothing to act on here", directive.span, hint))
        elif name == "dtype":
            if word := _dtype_directive(frame, directive):
                # The innermost one holds.
                found = {*(other for other in found if not other.startswith(DTYPE)), DTYPE + word}
        elif directive.args:
            frame.report(SourceError("E213", f"`@{name}` takes no settings", directive.span))
        elif name == "recompute":
            # What stands inside of a statement that is recomputed is a part of it.
            if frame.net is not None and not any(other.startswith(RECOMPUTE) for other in found):
                frame.net.regions += 1
                found.add(f"{RECOMPUTE}{frame.net.regions}")
        else:
            found.add(name)
    return frame if found == frame.directives else frame.with_(directives=frozenset(found))


def _dtype_directive(frame: Frame, directive: tree.Directive) -> str:
    """The type of `@dtype(bf16)`; nothing, after a message, where it is wrong or refused."""
    values = [arg.value for arg in directive.args]
    word = values[0] if len(values) == 1 and directive.args[0].name is None else None
    if not isinstance(word, tree.Name) or word.name not in ("f16", "bf16", "f32", "f64"):
        hint = "such as @dtype(bf16); there are f16, bf16, f32, f64"
        frame.report(SourceError("E213", "`@dtype` takes one type of floating-point numbers", directive.span, hint))
        return ""
    if word.name == "f64":
        message = "`@dtype(f64)` is not obeyed: layers compute in f32, bf16 or f16, and sum in f32"
        frame.report(SourceError("W603", message, directive.span, "cast the operands to compute in f64"))
        return ""
    return word.name


def named(frame: Frame, base: str, *values: tree.Expr) -> Frame:
    """The frame in which a statement that binds `base` is evaluated."""
    assert frame.net is not None
    count = sum(frame.net.counts.expression(value, frame.module, frame.position) for value in values)
    return frame.with_(base=base, alone=count == 1)


def bind(frame: Frame, statement: tree.Bind) -> None:
    """`a, b = …`."""
    inside = named(frame, statement.targets[0].name, statement.value)
    value = evaluate_all(inside, statement.value)
    targets = statement.targets
    values = value.values if isinstance(value, Results) else (value,)
    if value is UNKNOWN:
        values = (UNKNOWN,) * len(targets)
    elif len(values) != len(targets):
        message = f"{_counted(len(targets), 'name')} for {_counted(len(values), 'result')}"
        place = targets[0].span.to(targets[-1].span)
        frame.report(SourceError("E208", message, place, f"give {_counted(len(values), 'name')}"))
        values = (UNKNOWN,) * len(targets)
    for target, one in zip(targets, values, strict=True):
        frame.bind(target, one)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def loop(frame: Frame, statement: tree.For) -> None:
    """`for i in 1..3 { … }`, unrolled; each turn is a scope for the names of layers."""
    net, scope = frame.net, frame.scope
    assert net is not None
    assert scope is not None
    items = _items(frame, statement)
    variable = statement.variable.name
    if items is None:
        frame.unbind_all(assigned(statement.body).values())
        return
    before = frame.env.get(variable)
    single = net.counts.body(statement.body, frame.module, frame.position) == 1
    for number, item in enumerate(items, 1):
        net.spend(statement.variable.span, TURN_WORK)
        raw = str(number)
        key = scope.key(raw)
        turn = Scope(net.taken.take(join(scope.name, raw)), single, scope, scope.function)
        if scope.twin is not None:
            twin = scope.twin.entries.get(key)
            turn.twin = twin if isinstance(twin, Scope) else None
        scope.entries[key] = turn
        frame.env[variable] = Binding(item, statement.variable.span)
        run(frame.with_(scope=turn), statement.body)
    if before is None:
        frame.env.pop(variable, None)
    else:
        frame.env[variable] = before


def _items(frame: Frame, statement: tree.For) -> Sequence[Any] | None:
    """What a loop runs over; None (reported) where that is wrong."""
    items = statement.items
    if isinstance(items, tree.Range):
        ends = [_whole(frame, end) for end in (items.first, items.last)]
        first, last = ends
        if first is None or last is None:
            return None
        if last - first + 1 > MAX_LOOP:
            frame.report(limit("E510", f"{last - first + 1:,} turns; a loop may have {MAX_LOOP:,}", items.span))
            return None
        return range(first, last + 1)
    value = evaluate(frame, items)
    if value is UNKNOWN:
        return None
    if not isinstance(value, tuple):
        message = f"a loop runs over a range or a list, not {describe(value)}"
        frame.report(SourceError("E304", message, items.span, "such as 1..3 or [16, 32]"))
        return None
    return value


def _whole(frame: Frame, expr: tree.Expr) -> int | None:
    value = evaluate(frame, expr)
    if value is UNKNOWN:
        return None
    if constants.is_number(value) and float(value).is_integer():
        return int(value)
    frame.report(SourceError("E304", f"the end of a range is a whole number, not {describe(value)}", expr.span))
    return None


def choice(frame: Frame, statement: tree.If) -> None:
    """`if … { } else if … { } else { }` on constants and the mode."""
    for arm in statement.arms:
        value = evaluate(frame.with_(condition=True), arm.condition)
        if value is not UNKNOWN and not isinstance(value, bool):
            hint = "a comparison, true or false, or `train`"
            if isinstance(value, Node):
                hint = "to choose by element, write where(condition, a, b)"
            message = f"a condition is a constant that is true or false, not {describe(value)}"
            frame.report(SourceError("E303", message, arm.condition.span, hint))
            value = UNKNOWN
        if value is UNKNOWN:
            for body in [*(arm.body for arm in statement.arms), statement.otherwise or ()]:
                frame.unbind_all(assigned(body).values())
            return
        if value:
            run(frame, arm.body)
            return
    run(frame, statement.otherwise or ())


def _only_in_net(frame: Frame, what: str, span: Span) -> bool:
    if not frame.uses:
        return True
    hint = "return the value and say it in the net"
    frame.report(SourceError("E212", f"a block holds no `{what}`", span, hint))
    return False


def input_(frame: Frame, statement: tree.Input) -> None:
    """`input image: f32[N, 1, 28, 28]`."""
    net, name = frame.net, statement.name
    assert net is not None
    allowed = _only_in_net(frame, "input", statement.span)
    type_ = read_type(frame, statement.type)
    if name.name in net.inputs or name.name in net.roles:
        frame.report(SourceError("E209", f"`{name.name}` is an input or a role already", name.span))
        return
    if not allowed or type_ is None or not net.check_size(type_, statement.type.span, f"`{name.name}`"):
        frame.bind(name, UNKNOWN, counts=False)
        return
    with at(statement.span, name.name):
        node = ops.input_(name=name.name, shape=type_.shape, dtype=type_.dtype)
    net.inputs[name.name] = node
    net.history.name(node, name.name)
    net.history.begin(node)
    frame.bind(name, node)


def param(frame: Frame, statement: tree.Param) -> None:
    """`param(lr: 0) scale: f32[1, 8, 1, 1] = constant(1)`."""
    net, scope = frame.net, frame.scope
    assert net is not None
    assert scope is not None
    multipliers = {"lr": 1.0, "decay": 1.0}
    settings(frame, "param", statement.args, multipliers)
    type_ = read_type(frame, statement.type)
    filler: Any = ZERO
    if isinstance(statement.value, (tree.Name, tree.Call)):
        filler = read_filler(statement.value, calls.FrameReader(frame))
    elif statement.value is not None:
        value = evaluate(frame, statement.value)
        hint = f"write constant({describe(value)})" if constants.is_number(value) else "such as constant(1)"
        if value is not UNKNOWN:
            frame.report(SourceError("E207", "a parameter is given a filler", statement.value.span, hint))
        filler = UNKNOWN
    if type_ is not None and not type_.is_float:
        message = f"a parameter is learned, so it is no {type_.dtype}"
        frame.report(SourceError("E306", message, statement.type.dtype.span, "f32, f64, f16 or bf16"))
        type_ = None
    full = net.taken.take(join(scope.name, statement.name.name))
    if type_ is None or filler is UNKNOWN or not net.check_size(type_, statement.span, f"`{full}`"):
        frame.bind(statement.name, UNKNOWN, counts=False)
        return
    key = scope.key(statement.name.name)
    place = f"{statement.span.file}:{statement.span.line}"
    info = StateInfo(
        full, type_, "parameter", filler, lr=multipliers["lr"], decay=multipliers["decay"], layer=full, place=place
    )
    node = _shared_param(frame, key, type_)
    if node is None:
        with at(statement.span, full):
            node = net.parameter(info, statement.name.span)
    scope.entries[key] = LayerEntry(full, "param", statement.span, {"": node})
    net.history.begin(node)
    frame.bind(statement.name, node)


def _shared_param(frame: Frame, key: tuple[str, int], type_: TensorType) -> Node | None:
    """The free parameter of the block that this one shares."""
    twin = frame.scope.twin.entries.get(key) if frame.scope is not None and frame.scope.twin is not None else None
    node = getattr(twin, "params", {}).get("")
    return node if isinstance(node, Node) and node.type == type_ else None


def settings(frame: Frame, title: str, args: Sequence[tree.Arg], found: dict[str, float], dtype: str = "f32") -> None:
    """Numbers in brackets after `param` and `loss`, written into `found`; they must be numbers of `dtype`."""
    for arg in args:
        if arg.name is None:
            frame.report(
                SourceError("E205", f"{title}: settings are named", arg.span, f"such as {next(iter(found))}: 1")
            )
        elif arg.name.name not in found:
            hint = f"{suggest(arg.name.name, found)} {title} takes: {', '.join(found)}".strip()
            frame.report(SourceError("E201", f"{title}: `{arg.name.name}` is not a setting", arg.name.span, hint))
        else:
            value = evaluate(frame, arg.value)
            number = constants.is_number(value)
            if number and holds(dtype, float(value)):
                found[arg.name.name] = float(value)
            elif value is not UNKNOWN:
                what = f", and {describe(value)} is too large for {dtype}" if number else f", not {describe(value)}"
                message = f"{title}: `{arg.name.name}` takes a number{what}"
                frame.report(SourceError("E207", message, arg.value.span))


def role(frame: Frame, statement: tree.Role) -> None:
    """`loss nll = …`, `metric …`, `output …`."""
    net, name, kind = frame.net, statement.name, statement.kind
    assert net is not None
    allowed = _only_in_net(frame, kind, statement.span)
    value = evaluate(named(frame, name.name, statement.value), statement.value)
    weight = {"weight": 1.0}
    if kind == "loss":
        weighed = isinstance(value, Node) and value.type.is_float
        settings(frame, "loss", statement.args, weight, wide(value.dtype) if weighed else "f32")
    elif statement.args:
        message = f"`{kind}` takes no settings"
        frame.report(SourceError("E201", message, statement.args[0].span, "only a loss has a weight"))
    if name.name in net.roles:
        message = f"there is {_with_article(net.roles[name.name][0])} `{name.name}` already"
        notes = [f"the first is at {net.role_places[name.name]}"]
        frame.report(SourceError("E215", message, name.span, "each role has a name of its own", notes))
        return
    if value is not UNKNOWN and not isinstance(value, Node):
        message = f"{_with_article(kind)} is a tensor, not {describe(value)}"
        frame.report(SourceError("E315", message, statement.value.span))
        value = UNKNOWN
    if kind == "loss" and isinstance(value, Node):
        value = _one_number(frame, statement, value)
    frame.bind(name, value, counts=False)
    if not allowed:
        return
    net.role_places[name.name] = name.span
    net.roles[name.name] = kind, value if isinstance(value, Node) else None, weight["weight"]


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _one_number(frame: Frame, statement: tree.Role, value: Node) -> Any:
    """A loss as f32[]; E312 where it is no single floating-point number."""
    net = frame.net
    assert net is not None
    if value.type.count == 1 and value.type.is_float:
        with at(statement.span, value.scope):
            return reshape(value, ())
    what = "a floating-point number" if value.type.count == 1 else "one number"
    message = f"a loss is {what}, `{statement.name.name}` is {show_type(value)}"
    hint = "write sum(…) or mean(…) around it" if value.type.is_float else "cast it to f32 first"
    frame.report(SourceError("E312", message, statement.value.span, hint, [net.history.note(value)]))
    return UNKNOWN
