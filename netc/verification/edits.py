"""Reduction steps on a `.net` file: the ways in which it can lose something, each a piece of text to cut or replace.

Found on the syntax tree, whose spans say where a thing stands; whether what is left still means anything is found out
by trying. Coarse ways come first: definitions, runs of statements, layers of a chain, then settings and sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..grammar import tree
from ..grammar.parse import parse
from ..grammar.source import Source


@dataclass(frozen=True)
class Edit:
    """The text from `start` to `stop` becomes `text`."""

    start: int
    stop: int
    text: str = ""

    def applied(self, to: str) -> str:
        return to[: self.start] + self.text + to[self.stop :]


Level = Callable[[tree.File, str], Iterator[Edit]]
MOST_RUNS = 8  # into how many runs a body is cut before its statements are tried one by one


def edits(text: str, level: Level) -> list[Edit]:
    """The ways of a level to make a text smaller; it must be free of syntax errors."""
    return list(dict.fromkeys(level(parse(Source("", text)), text)))


def _walk(node: tree.Node) -> Iterator[tree.Node]:
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += reversed(tree.children(found))


def _definitions(file: tree.File, text: str) -> Iterator[Edit]:
    for item in reversed(file.definitions):
        yield Edit(item.span.start, item.span.end)


def _bodies(file: tree.File) -> Iterator[Sequence[tree.AnyStatement]]:
    for node in _walk(file):
        if isinstance(node, (tree.NetDef, tree.BlockDef, tree.For, tree.Arm)):
            yield node.body
        elif isinstance(node, tree.If) and node.otherwise:
            yield node.otherwise


def _begin(statement: tree.AnyStatement) -> int:
    return statement.directives[0].span.start if statement.directives else statement.span.start


def _statements(file: tree.File, text: str) -> Iterator[Edit]:
    """Runs of statements, halves first, the last ones of a body before the first."""
    for body in _bodies(file):
        parts = 2
        while parts <= min(MOST_RUNS, len(body)):
            size = -(-len(body) // parts)
            for start in range((len(body) - 1) // size * size, -1, -size):
                run = body[start : start + size]
                yield Edit(_begin(run[0]), run[-1].span.end)
            parts *= 2
        for statement in reversed(body):
            yield Edit(_begin(statement), statement.span.end)


def _choices(file: tree.File, text: str) -> Iterator[Edit]:
    """A choice becomes one of its arms; a loop one turn."""
    for node in _walk(file):
        if isinstance(node, tree.If):
            for body in [*(arm.body for arm in node.arms), node.otherwise or ()]:
                if body:
                    yield Edit(node.span.start, node.span.end, text[_begin(body[0]) : body[-1].span.end])
        elif isinstance(node, tree.For) and isinstance(node.items, tree.Range):
            yield Edit(node.items.last.span.start, node.items.last.span.end, node.items.first.span.text)


def _end(call: tree.Call) -> int:
    return max(call.span.end, call.label.span.end if call.label is not None else 0)


def _chains(file: tree.File, text: str) -> Iterator[Edit]:
    """Layers of a chain: runs of them, then each; and a chain that begins later."""
    for node in _walk(file):
        if not isinstance(node, tree.Pipe):
            continue
        ends = [node.value.span.end, *(_end(call) for call in node.calls)]
        count = len(node.calls)
        size = count
        while size:
            for start in range(count - size, -1, -size):
                yield Edit(ends[start], ends[start + size])
            size //= 2


def _operands(file: tree.File, text: str) -> Iterator[Edit]:
    """A call or an operation becomes one of its operands."""
    for node in _walk(file):
        if isinstance(node, tree.Call):
            for arg in node.args:
                if arg.name is None:
                    yield Edit(node.span.start, node.span.end, arg.value.span.text)
        elif isinstance(node, (tree.Binary, tree.Compare)):
            for side in (node.left, node.right):
                whole = side.span.text
                tight = not isinstance(side, (tree.Binary, tree.Compare, tree.Pipe, tree.Unary))
                yield Edit(node.span.start, node.span.end, whole if tight else f"({whole})")


def _aliases(file: tree.File, text: str) -> Iterator[Edit]:
    """A name for a name is left out, and the other name stands where it stood."""
    for body in _bodies(file):
        for i, statement in enumerate(body):
            if not isinstance(statement, tree.Bind) or len(statement.targets) != 1:
                continue
            if not isinstance(statement.value, (tree.Name, tree.Number)):
                continue
            name, other = statement.targets[0].name, statement.value.span.text
            uses = [n for later in body[i + 1 :] for n in _walk(later) if isinstance(n, tree.Name) and n.name == name]
            spans = sorted((n.span.start, n.span.end) for n in uses)
            at, rest = statement.span.end, ""
            for start, stop in spans:
                rest += text[at:start] + other
                at = stop
            yield Edit(_begin(statement), at, rest)


def _settings(file: tree.File, text: str) -> Iterator[Edit]:
    """Directives, settings of calls and of `train` blocks, weights of losses."""
    for node in _walk(file):
        if isinstance(node, tree.Statement):
            for directive in node.directives:
                yield Edit(directive.span.start, directive.span.end)
        args: Sequence[tree.Node] = ()
        if isinstance(node, (tree.Call, tree.Role, tree.Param, tree.TrainDef)):
            args = node.args
        elif isinstance(node, (tree.NetDef, tree.BlockDef)):
            args = node.formals
        for i, arg in enumerate(args):
            if i:
                yield Edit(args[i - 1].span.end, arg.span.end)
            elif len(args) > 1:
                yield Edit(arg.span.start, args[1].span.start)
            else:
                yield Edit(arg.span.start, arg.span.end)
        if isinstance(node, tree.TrainDef):
            for setting in node.settings:
                yield Edit(setting.span.start, setting.span.end)


def _sizes(file: tree.File, text: str) -> Iterator[Edit]:
    """Whole numbers above 1 outside of `data` and `train`: 1, 2, a quarter, half."""
    for item in file.definitions:
        if isinstance(item, (tree.DataDef, tree.TrainDef, tree.Import)):
            continue
        for node in _walk(item):
            if isinstance(node, tree.Number) and isinstance(node.value, int) and node.value > 1:
                for smaller in dict.fromkeys((1, 2, node.value // 4, node.value // 2)):
                    if 0 < smaller < node.value:
                        yield Edit(node.span.start, node.span.end, str(smaller))


LEVELS: tuple[Level, ...] = (_definitions, _statements, _choices, _chains, _operands, _aliases, _settings, _sizes)
