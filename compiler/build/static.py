"""Names and settings in text that no net runs: blocks and ops nobody uses, choices not taken.

Nothing is evaluated. A name counts as known if its body binds it anywhere, so whatever is reported here is wrong
however the text is used; the same mistake found while a net is run has the same code and place, and is reported once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...grammar import tree
from ...grammar.source import SourceError
from ..layers import LAYERS, Layer
from ..schema.fillers import FILLERS
from ..schema.schema import means_filler, public, unknown_setting
from ..schema.settings import BareName, kind_of
from .calls import allowed_in_op
from .frame import Binding, Frame, assigned, ends_with_return
from .layers import COMMON
from .module import EVERYTHING, Module
from .problems import Problems


def check_names(module: Module, problems: Problems) -> None:
    """Checks all ops, blocks and nets that a file defines itself."""
    for position, item in enumerate(module.file.definitions):
        if isinstance(item, tree.OpDef):
            frame = _frame(module, problems, "op", position, item.formals, ())
            _expression(frame, item.value)
        elif isinstance(item, tree.BlockDef):
            frame = _frame(module, problems, "block", position, item.formals, item.body)
            ends_with_return(frame, item)
            _body(frame, item.body)
        elif isinstance(item, tree.NetDef):
            _body(_frame(module, problems, "net", EVERYTHING, item.formals, item.body), item.body)


def _frame(
    module: Module,
    problems: Problems,
    kind: str,
    position: int,
    formals: Sequence[tree.Formal],
    body: tuple[tree.AnyStatement, ...],
) -> Frame:
    """A frame that knows all names of a body; its values are of no matter."""
    known = [*(formal.name for formal in formals), *assigned(body).values(), *_loop_variables(body)]
    env = {name.name: Binding(None, name.span) for name in known}
    return Frame(problems, module, kind, position, env=env, body=body)  # type: ignore[arg-type]


def _loop_variables(body: Iterable[tree.AnyStatement]) -> list[tree.Name]:
    found: list[tree.Name] = []
    for statement in body:
        if isinstance(statement, tree.For):
            found += [statement.variable, *_loop_variables(statement.body)]
        elif isinstance(statement, tree.If):
            for part in [*(arm.body for arm in statement.arms), statement.otherwise or ()]:
                found += _loop_variables(part)
    return found


def _body(frame: Frame, body: Iterable[tree.AnyStatement]) -> None:
    for statement in body:
        if isinstance(statement, tree.Bind | tree.Role):
            _expression(frame, statement.value)
        elif isinstance(statement, tree.Return):
            for value in statement.values:
                _expression(frame, value)
        elif isinstance(statement, tree.For):
            ends = statement.items
            for end in (ends.first, ends.last) if isinstance(ends, tree.Range) else (ends,):
                _expression(frame, end)
            _body(frame, statement.body)
        elif isinstance(statement, tree.If):
            for arm in statement.arms:
                _expression(frame.with_(condition=True), arm.condition)
                _body(frame, arm.body)
            _body(frame, statement.otherwise or ())
        if frame.kind == "block" and isinstance(statement, tree.Input | tree.Role):
            what = "input" if isinstance(statement, tree.Input) else statement.kind
            hint = "return the value and say it in the net"
            frame.report(SourceError("E212", f"a block holds no `{what}`", statement.span, hint))


def _expression(frame: Frame, expr: tree.Node, words: bool = False) -> None:
    """The names and calls of an expression; `words`: a name in its place was perhaps meant as a word."""
    if isinstance(expr, tree.Name):
        # A capitalized word may be a dimension of the net that uses this, and `train` the mode.
        if not (frame.knows(expr.name) or expr.name == "none" or expr.name[0].isupper() or _is_mode(frame, expr)):
            frame.unknown_value(expr, words)
    elif isinstance(expr, tree.Call):
        _call(frame, expr)
    elif not isinstance(expr, tree.Path):
        for part in tree.children(expr):
            _expression(frame, part)


def _is_mode(frame: Frame, expr: tree.Name) -> bool:
    return frame.condition and expr.name == "train"


def _call(frame: Frame, node: tree.Call) -> None:
    """A callee that there is, settings that it takes."""
    callee = node.callee.name
    function = frame.function(callee)
    layer = LAYERS.get(callee) if function is None else None
    if function is None and layer is None:
        frame.unknown_function(node.callee)
    elif frame.kind == "op" and not allowed_in_op(frame, node):
        return
    for arg in node.args:
        if layer is not None:
            if (arg.name is None or _takes(frame, layer, arg)) and not _is_word(frame, layer, arg):
                _expression(frame, arg.value)
        elif _is_value(arg, function is not None):
            _expression(frame, arg.value, words=arg.name is not None)


def _is_value(arg: tree.Arg, known: bool) -> bool:
    """Whether an argument of a block or op, or of a callee that is not known, is sure to be a value."""
    if known:
        return arg.name is None or arg.name.name != "share"
    filler = isinstance(arg.value, tree.Call) and arg.value.callee.name in FILLERS
    return not filler and not isinstance(arg.value, tree.Name)


def _callable(frame: Frame, call: tree.Call) -> bool:
    return frame.function(call.callee.name) is not None or call.callee.name in LAYERS


def _takes(frame: Frame, layer: Layer, arg: tree.Arg) -> bool:
    """Whether a layer has the setting that an argument names; reports E201."""
    assert arg.name is not None
    own = [public(name) for name, p in layer.signature.parameters.items() if p.kind is p.KEYWORD_ONLY]
    tensors = [public(name) for name, p in layer.signature.parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    common = [*layer.params, *COMMON] if layer.params else []
    if arg.name.name in (*own, *tensors, *common):
        return True
    optional = [n for n in tensors if layer.signature.parameters[n].default is not layer.signature.empty]
    takes = [*own, *(name for name in common if name not in own), *optional]
    frame.report(unknown_setting(layer.name, arg.name, takes))
    return False


def _is_word(frame: Frame, layer: Layer, arg: tree.Arg) -> bool:
    """Whether an argument may be read off the text: a bare word, a filler, the name of a layer."""
    name = arg.name.name if arg.name is not None else ""
    if name == "share":
        return True
    if isinstance(arg.value, tree.Call):
        return arg.value.callee.name in FILLERS or (name in layer.params and not _callable(frame, arg.value))
    if not isinstance(arg.value, tree.Name):
        return False
    if arg.name is None:
        kinds = [kind_of(p.annotation) for p in layer.signature.parameters.values()]
        return any(arg.value.name in kind.words for kind in kinds)
    if name in layer.params and means_filler(arg.value.name, frame):
        return True
    parameter = layer.signature.parameters.get(name) or layer.signature.parameters.get(f"{name}_")
    kind = kind_of(parameter.annotation) if parameter is not None else None
    return kind is not None and (bool(kind.words) or isinstance(kind, BareName) or kind.filler)
