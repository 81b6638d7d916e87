"""The parser of the text form of graphs (`compiler.text`): recursive descent over a line at a time.

Nothing that a text says is evaluated: values are numbers, strings, tuples, and records of the kinds in `_RECORDS`. A
mistake has its place, as in a `.net` file. Work and memory grow with the length of the text, which has a limit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ..grammar.source import Source, SourceError, Span, suggest
from . import ops
from .graph import Graph, GraphError, Node
from .kernel import Blocks, Schedule
from .ops import OPS
from .ops.base import TypeRuleError
from .ops.partial import Parts
from .types import SIZES, Dim, Literal, TensorType, TupleType

MAX_SIZE = 32_000_000  # characters: the kernels of a training step of a thousand layers are a few millions
MAX_DEPTH = 20  # of values in values
MAX_WORDS = 100_000  # of a line
MAX_AXES, MAX_ELEMENTS = 64, 1 << 40  # of a value: windows have more axes than tensors, flat buffers more elements
UNREADABLE, ILL_TYPED, TOO_LARGE = "E121", "E317", "E516"

_TOKEN = re.compile(
    r"""[ \t]*(?:(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"""
    r"""|(?P<node>%[0-9]+)|(?P<word>[A-Za-z_.][\w.]*)|(?P<sign>[-(),=:{}])|(?P<end>\#|$))""",
    re.ASCII,
)
_WORDS = {"True": True, "False": False, "None": None, "inf": float("inf"), "nan": float("nan")}


def read_graph(text: str, name: str = "graph") -> Graph:
    """The graph that a text says. name: of the text, in errors. Raises SourceError."""
    source = Source(name, text)
    if len(text) > MAX_SIZE:
        message = f"the text has {len(text):,} characters; a graph's may have {MAX_SIZE:,}"
        raise SourceError(TOO_LARGE, message, source.span())
    bodies: dict[str, Graph] = {}
    block: _Block | None = None
    graph: Graph | None = None
    for number, start in enumerate(source.line_starts, 1):
        line = _Line(source, start, source.line(number))
        if line.at("end"):
            continue
        if graph is not None:
            raise line.wrong("the text ends with its graph; kernels come before")
        if block is None:
            block = _Block(_opened(line), bodies)
        elif line.at("}"):
            made = block.closed(line)
            if block.name is None:
                graph = made
            else:
                bodies[block.name] = made
            block = None
        else:
            block.read(line)
        line.take("end", "nothing follows here but a comment")
    if graph is None:
        at = max(0, len(text.rstrip()) - 1)
        raise SourceError(UNREADABLE, "the text ends before a graph does", source.span(at))
    return graph


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Line:
    """The tokens of a line, the next one ahead."""

    def __init__(self, source: Source, start: int, text: str) -> None:
        self.source, self.start, self.text = source, start, text
        self.read = 0
        self.token = self._next(0)

    def _next(self, at: int) -> _Token:
        self.read += 1
        found = _TOKEN.match(self.text, at)
        if found is None or self.read > MAX_WORDS:
            at += len(self.text[at:]) - len(self.text[at:].lstrip())
            token = _Token("", self.text[at : at + 1], at, at + 1)
            if found is None:
                raise self.wrong("this is no number, string, name or sign", token)
            raise self.wrong(f"a line has at most {MAX_WORDS:,} words", token, code=TOO_LARGE)
        kind = str(found.lastgroup)
        return _Token(kind, found[kind], found.start(kind), found.end(kind))

    def span(self, token: _Token) -> Span:
        end = self.start + max(token.end, token.start + 1)
        return self.source.span(self.start + token.start, min(end, len(self.source.text)))

    def wrong(self, message: str, token: _Token | None = None, hint: str = "", code: str = UNREADABLE) -> SourceError:
        return SourceError(code, message, self.span(token or self.token), hint)

    def at(self, kind: str) -> bool:
        """Whether the next token is of a kind, or is this sign."""
        return self.token.kind == kind or (self.token.kind == "sign" and self.token.text == kind)

    def take(self, kind: str, wanted: str = "") -> _Token:
        """The next token, which must be of a kind. wanted: what an error says; else that the sign is missing."""
        token = self.token
        if not self.at(kind):
            raise self.wrong(wanted or f"`{kind}` is missing")
        if kind != "end":
            self.token = self._next(token.end)
        return token

    def skip(self, kind: str) -> bool:
        return self.at(kind) and bool(self.take(kind))

    def before(self, sign: str) -> _Token:
        """All up to a sign between blanks, which is skipped."""
        start = self.token.start
        stop = self.text.find(f" {sign} ", start)
        if stop < 0:
            raise self.wrong(f"`{sign}` is missing", _Token("", "", len(self.text), len(self.text)))
        self.token = self._next(stop + len(sign) + 2)
        return _Token("type", self.text[start:stop], start, stop)

    def several(self, one: Callable[[], None]) -> None:
        """What stands in brackets, with commas between."""
        self.take("(")
        while not self.skip(")"):
            one()
            if not self.at(")"):
                self.take(",")


def _opened(line: _Line) -> str | None:
    """The name of the kernel that a line begins; None where it begins the graph."""
    wanted = "a block begins with `graph {` or `kernel NAME {`"
    token = line.take("word", wanted)
    if token.text not in ("graph", "kernel"):
        raise line.wrong(wanted, token)
    name = line.take("word", wanted).text if token.text == "kernel" else None
    line.take("{", wanted)
    return name


class _Block:
    """The nodes and roots of a graph, or of a kernel's body."""

    def __init__(self, name: str | None, bodies: dict[str, Graph]) -> None:
        self.name = name
        self.bodies = bodies
        self.nodes: dict[str, Node] = {}
        self.roots: dict[str, dict[str, Node]] = {"return": {}, "update": {}}

    def closed(self, line: _Line) -> Graph:
        token = line.take("}")
        try:
            return Graph(self.roots["return"], self.roots["update"]).verify()
        except GraphError as error:
            raise line.wrong(str(error), token, code=ILL_TYPED) from None

    def read(self, line: _Line) -> None:
        """A node, or a root."""
        if line.at("word") and line.token.text in self.roots:
            found = self.roots[line.take("word").text]
            key = line.take("string" if line.at("string") else "word", "a name is missing")
            line.take("=")
            found[str(_string(line, key)) if key.kind == "string" else key.text] = self._node(line)
            return
        number = line.take("node", "a line is a node, `%0: type = op(operands, attributes)`, a `return` or an `update`")
        if number.text in self.nodes:
            raise line.wrong(f"{number.text} is there already", number)
        line.take(":")
        type_ = line.before("=")
        name = line.take("word", "an op's name is missing")
        if name.text not in OPS:
            raise line.wrong(f"{name.text} is no op", name, suggest(name.text, OPS))
        if OPS[name.text] is ops.host:
            raise line.wrong("a text cannot say which Python function `host` calls", name)
        operands: list[Node] = []
        attrs: dict[str, Any] = {}

        def argument() -> None:
            if line.at("node"):
                operands.append(self._node(line))
                return
            key = line.take("word", "an operand (`%0`) or an attribute (`name=value`) is missing")
            line.take("=")
            attrs[key.text] = self._value(line)

        line.several(argument)
        try:
            node = OPS[name.text](*operands, **attrs)
            _check(node.result)
        except TypeRuleError as error:
            raise line.wrong(error.message, name, code=ILL_TYPED) from None
        except Exception as error:  # type rules take it on trust that attributes are of the right kind
            raise line.wrong(f"{name.text} cannot take these: {error}", name, code=ILL_TYPED) from None
        if str(node.result) != type_.text:
            raise line.wrong(f"the type is {node.result}, the text says {type_.text}", type_, code=ILL_TYPED)
        self.nodes[number.text] = node

    def _node(self, line: _Line) -> Node:
        token = line.take("node", "a node (`%0`) is missing")
        if token.text not in self.nodes:
            raise line.wrong(f"{token.text} is not there yet: a node comes before its users", token)
        return self.nodes[token.text]

    def _value(self, line: _Line, depth: int = 0) -> Any:
        """The value of an attribute."""
        token = line.token
        if depth > MAX_DEPTH:
            raise line.wrong(f"values are nested more than {MAX_DEPTH} deep", code=TOO_LARGE)
        if line.skip("-"):
            number = line.take("number" if line.at("number") else "word", "a number is missing")
            return -_number(line, number)
        if line.at("string"):
            return _string(line, line.take("string"))
        if line.at("number"):
            return _number(line, line.take("number"))
        if line.at("("):
            found: list[Any] = []
            line.several(lambda: found.append(self._value(line, depth + 1)))
            return tuple(found)
        word = line.take("word", "a value is missing").text
        if line.at("("):
            return self._record(line, token, depth)
        if word not in self.bodies and word not in _WORDS:
            raise line.wrong(f"`{word}` is no value, and no kernel above", token, suggest(word, self.bodies))
        return self.bodies[word] if word in self.bodies else _WORDS[word]

    def _record(self, line: _Line, name: _Token, depth: int) -> Any:
        positional: list[Any] = []
        named: dict[str, Any] = {}

        def argument() -> None:
            token = line.token
            if not (line.at("word") and line.text[token.end : token.end + 1] == "="):
                positional.append(self._value(line, depth + 1))
                return
            line.take("word")
            line.take("=")
            named[token.text] = self._value(line, depth + 1)

        line.several(argument)
        if name.text not in _RECORDS:
            raise line.wrong(f"there is no value `{name.text}(…)`", name, suggest(name.text, _RECORDS))
        try:
            return _RECORDS[name.text](*positional, **named)
        except (TypeError, ValueError) as error:
            raise line.wrong(f"this is no {name.text}: {error}", name) from None


def _string(line: _Line, token: _Token) -> Any:
    try:
        return ast.literal_eval(token.text)
    except (SyntaxError, ValueError) as error:  # an escape that is none
        raise line.wrong(f"this is no string: {error}", token) from None


def _number(line: _Line, token: _Token) -> Any:
    if token.kind == "word" and token.text not in ("inf", "nan"):
        raise line.wrong("a number is missing", token)
    try:
        return int(token.text) if token.text.isdigit() else float(token.text)
    except ValueError as error:  # thousands of digits
        raise line.wrong(f"this is no number: {error}", token) from None


def _dim(size: int, name: str) -> Dim:
    if type(size) is not int or size < 0 or not isinstance(name, str) or not name.isidentifier():
        raise ValueError("a size is a number and a name")
    return Dim(size, name)


def _dense(dtype: str, shape: tuple[int, ...], data: str) -> Literal:
    found = Literal(dtype, shape, bytes.fromhex(data))
    if dtype not in SIZES or found.array().shape != shape:
        raise ValueError("the bytes are not those of the shape")
    return found


def _type(shape: tuple[int, ...], dtype: str) -> TensorType:
    found = TensorType(shape, dtype)
    _check(found)
    return found


def _check(type_: TensorType | TupleType) -> None:
    """ValueError for what an op made of attributes that are no sizes, or no element type."""
    for one in type_.items if isinstance(type_, TupleType) else (type_,):
        if one.dtype not in SIZES or not isinstance(one.shape, tuple) or len(one.shape) > MAX_AXES:
            raise ValueError("a type is a shape and an element type")
        if not all(isinstance(n, int) and 0 <= n <= MAX_ELEMENTS for n in (*one.shape, one.count)):
            raise ValueError(f"a shape has sizes up to {MAX_ELEMENTS:,}")


def _schedule(cls: type[Any]) -> Callable[..., Any]:
    """What makes a schedule of values that are of the types of its fields."""

    def make(**values: Any) -> Any:
        for one in fields(cls):
            default = one.default
            if one.name in values and default is not MISSING and type(values[one.name]) is not type(default):
                raise ValueError(f"{one.name}={values[one.name]!r}")
        return cls(**values)

    return make


_RECORDS: dict[str, Callable[..., Any]] = {
    "Dim": _dim,
    "dense": _dense,
    "TensorType": _type,
    "Schedule": _schedule(Schedule),
    "Blocks": _schedule(Blocks),
    "Parts": Parts,
}
