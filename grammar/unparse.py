"""Pretty printing of syntax trees: a tree as the text that would be parsed to it.

ValueError for what no text says: names that are no words, numbers that are not finite, texts with quotes in them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from . import tree

WIDTH = 110
WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def unparse(file: tree.File) -> str:
    """A whole file; definitions stand apart by a blank line, data together."""
    parts: list[str] = []
    for before, item in zip((None, *file.definitions), file.definitions, strict=False):
        together = isinstance(item, tree.DataDef) and isinstance(before, tree.DataDef)
        parts += ["" if together or before is None else "\n", _definition(item)]
    return "".join(parts)


def _definition(item: tree.Definition) -> str:
    match item:
        case tree.NetDef() | tree.BlockDef():
            kind = "net" if isinstance(item, tree.NetDef) else "block"
            head = f"{kind} {word(item.name.name)}{_formals(item.formals, always=kind == 'block')} {{\n"
            return head + "".join(_statement(one, 1) for one in item.body) + "}\n"
        case tree.OpDef():
            return f"op {word(item.name.name)}{_formals(item.formals, always=True)} = {expression(item.value)}\n"
        case tree.Const():
            return f"const {word(item.name.name)} = {expression(item.value)}\n"
        case tree.Import():
            return f"import {expression(item.path)}\n"
        case tree.DataDef():
            return f"data {word(item.name.name)} = {expression(item.value)}\n"
        case tree.TrainDef():
            lines = [f"    {word(one.key.name)}: {_setting(one.value)}\n" for one in item.settings]
            return f"train {word(item.net.name)}{_args(item.args)} {{\n{''.join(lines)}}}\n"


def _formals(formals: Sequence[tree.Formal], *, always: bool) -> str:
    parts = [
        word(one.name.name) + (f" = {expression(one.default)}" if one.default is not None else "") for one in formals
    ]
    return f"({', '.join(parts)})" if parts or always else ""


def _setting(value: tree.Expr | tree.Every | tree.Patience) -> str:
    if isinstance(value, tree.Patience):
        no, better, tests = (word(one.name) for one in value.words)
        return f"{no} {better} {expression(value.value)} for {expression(value.count)} {tests}"
    if not isinstance(value, tree.Every):
        return expression(value)
    first = f"{expression(value.value)} " if value.value is not None else ""
    net = f"with {word(value.net.name)} " if value.net is not None else ""
    start = f" from {expression(value.start)}" if value.start is not None else ""
    return f"{first}{net}every {expression(value.count)}{start}"


def _statement(item: tree.AnyStatement, depth: int) -> str:
    pad = "    " * depth
    before = "".join(f"{pad}@{word(one.name.name)}{_args(one.args)}\n" for one in item.directives)
    return before + _undirected(item, pad, depth)


def _undirected(item: tree.AnyStatement, pad: str, depth: int) -> str:
    match item:
        case tree.Input():
            return f"{pad}input {word(item.name.name)}: {_type(item.type)}\n"
        case tree.Param():
            value = f" = {expression(item.value)}" if item.value is not None else ""
            return f"{pad}param{_args(item.args)} {word(item.name.name)}: {_type(item.type)}{value}\n"
        case tree.Role():
            return _bound(pad, f"{item.kind}{_args(item.args)} {word(item.name.name)}", item.value)
        case tree.Bind():
            return _bound(pad, ", ".join(word(target.name) for target in item.targets), item.value)
        case tree.Return():
            return f"{pad}return {', '.join(map(expression, item.values))}\n"
        case tree.For():
            over = item.items
            ends = (over.first, over.last) if isinstance(over, tree.Range) else (over,)
            body = "".join(_statement(one, depth + 1) for one in item.body)
            return f"{pad}for {word(item.variable.name)} in {'..'.join(map(_operand, ends))} {{\n{body}{pad}}}\n"
        case tree.If():
            return _choice(item, depth)


def _choice(item: tree.If, depth: int) -> str:
    pad, text = "    " * depth, ""
    for i, arm in enumerate(item.arms):
        body = "".join(_statement(one, depth + 1) for one in arm.body)
        text += f"{' else ' if i else pad}if {expression(arm.condition)} {{\n{body}{pad}}}"
    if item.otherwise is not None:
        text += f" else {{\n{''.join(_statement(one, depth + 1) for one in item.otherwise)}{pad}}}"
    return f"{text}\n"


def _bound(pad: str, head: str, value: tree.Expr) -> str:
    """`head = value`, a long chain over several lines."""
    if not isinstance(value, tree.Pipe):
        return f"{pad}{head} = {expression(value)}\n"
    lines = [f"{pad}{head} = {_operand(value.value)}"]
    for step in value.calls:
        text = f" |> {_call(step, piped=True)}"
        if len(lines[-1]) + len(text) > WIDTH:
            lines.append(f"{pad}   ")
        lines[-1] += text
    return "\n".join(lines) + "\n"


def _type(item: tree.TypeExpr) -> str:
    return f"{item.dtype.name}[{', '.join(map(expression, item.dims))}]"


def _args(args: Sequence[tree.Arg]) -> str:
    parts = [(f"{word(arg.name.name)}: " if arg.name is not None else "") + expression(arg.value) for arg in args]
    return f"({', '.join(parts)})" if parts else ""


def _call(item: tree.Call, *, piped: bool = False) -> str:
    args = _args(item.args) or ("" if piped else "()")
    if item.label is None:
        label = ""
    else:
        label = f" as {expression(item.label)}"
    return f"{word(item.callee.name)}{args}{label}"


def _operand(item: tree.Expr) -> str:
    text = expression(item)
    return f"({text})" if isinstance(item, tree.Pipe | tree.Binary | tree.Compare) else text


def expression(item: tree.Expr) -> str:
    """An expression; what binds looser than its surroundings stands in parentheses."""
    match item:
        case tree.Number():
            if not math.isfinite(item.value):
                raise ValueError(f"{item.value} is no number of the language")
            return item.text
        case tree.String():
            if '"' in item.value or not item.value.isprintable():
                raise ValueError(f"the text {item.value!r} cannot be written")
            return f'"{item.value}"'
        case tree.Boolean():
            return "true" if item.value else "false"
        case tree.Name():
            return word(item.name)
        case tree.Path():
            first, *others = (part.name for part in item.parts)
            if item.permissive or not all(part.isdigit() or WORD.fullmatch(part) for part in others):
                raise ValueError(f"the parameter `{item}` cannot be named")
            return ".".join([word(first), *others])
        case tree.List():
            return f"[{', '.join(map(expression, item.items))}]"
        case tree.Unary():
            return f"-{_operand(item.operand)}"
        case tree.Binary():
            left = _operand(item.left)
            left = f"({left})" if item.sign == "**" and isinstance(item.left, tree.Unary) else left
            return f"{left} {item.sign} {_operand(item.right)}"
        case tree.Compare():
            return f"{_operand(item.left)} {item.relation} {_operand(item.right)}"
        case tree.Call():
            return _call(item)
        case tree.Pipe():
            return _operand(item.value) + "".join(f" |> {_call(step, piped=True)}" for step in item.calls)


def word(name: str) -> str:
    """A name, which is a word."""
    if not WORD.fullmatch(name):
        raise ValueError(f"`{name}` is no word")
    return name
