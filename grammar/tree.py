"""The syntax tree: what a `.net` file says, without what it means.

Every node is a frozen dataclass whose `span` is the text that it was read from. Two nodes are equal when they say the
same, wherever they stand: `span` is left out of comparisons. Names are not resolved: a word such as `train`, `floor`,
`xavier` or `none` is a `Name`; only `true` and `false` are `Boolean`s. Parentheses leave no node. The parser limits the
depth of a tree (`MAX_DEPTH`), so a reader may recurse.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from .source import Span

MAX_DEPTH = 100  # nested expressions plus nested bodies

Sign: TypeAlias = Literal["+", "-", "*", "/", "**"]
Relation: TypeAlias = Literal["<", ">", "<=", ">=", "==", "!="]
RoleKind: TypeAlias = Literal["loss", "metric", "output"]


@dataclass(frozen=True, slots=True)
class Node:
    """Anything with a place."""

    span: Span = field(compare=False, repr=False)


# Expressions


@dataclass(frozen=True, slots=True)
class Number(Node):
    """`64`, `.5`, `1e-3`: an int where the text has neither point nor exponent, else a float."""

    value: int | float
    text: str


@dataclass(frozen=True, slots=True)
class String(Node):
    """`"conv1/7x7_s2"`: what stands between the quotes."""

    value: str


@dataclass(frozen=True, slots=True)
class Boolean(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Node):
    """One word: a value, a layer, a symbolic dimension, or a bare word such as `floor`, `train`, `none`."""

    name: str


@dataclass(frozen=True, slots=True)
class Path(Node):
    """`enc.weight`, `layer1.2.conv1.weight`: two parts or more; one after the first may be digits, as loops count.

    permissive: a parameter tied to it may have another shape of as many elements; only Caffe's nets say so.
    """

    parts: tuple[Name, ...]
    permissive: bool = False

    def __str__(self) -> str:
        return ".".join(part.name for part in self.parts)


@dataclass(frozen=True, slots=True)
class List(Node):
    """`[3, 1]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-x`, the only prefix operator."""

    sign: Literal["-"]
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left + right`; chains of one precedence lean to the left, `**` to the right."""

    sign: Sign
    left: Expr
    right: Expr
    sign_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`left < right`; never a chain."""

    relation: Relation
    left: Expr
    right: Expr
    relation_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Arg(Node):
    """One argument: positional where `name` is None."""

    name: Name | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`conv(x, 20, kernel: 5) as conv1`; in a `Pipe` also without parentheses. `label` is what `as` gives this call.

    `span` covers the callee and its arguments, not the label.
    """

    callee: Name
    args: tuple[Arg, ...]
    label: Name | String | None = None


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    """`value |> f(…) |> g as name`: the first argument of each call is what stands before it.

    At least one call; flat, however long the chain.
    """

    value: Expr
    calls: tuple[Call, ...]


Expr: TypeAlias = Number | String | Boolean | Name | Path | List | Unary | Binary | Compare | Call | Pipe


# Statements: in the bodies of nets, blocks, loops and choices


@dataclass(frozen=True, slots=True)
class TypeExpr(Node):
    """`f32[N, 1, 28, 28]`; `f32[]` is one number."""

    dtype: Name
    dims: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Directive(Node):
    """`@nofuse`, `@dtype(bf16)`."""

    name: Name
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Statement(Node):
    """A statement with the directives before it; `span` begins after these."""

    directives: tuple[Directive, ...]


@dataclass(frozen=True, slots=True)
class Input(Statement):
    """`input image: f32[N, 1, 28, 28]`."""

    name: Name
    type: TypeExpr


@dataclass(frozen=True, slots=True)
class Param(Statement):
    """`param(lr: 0) scale: f32[1, 8, 1, 1] = constant(1)`; `value` is the filler."""

    args: tuple[Arg, ...]
    name: Name
    type: TypeExpr
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Role(Statement):
    """`loss(weight: 0.3) aux = …`, `metric top1 = …`, `output prob = …`."""

    kind: RoleKind
    args: tuple[Arg, ...]
    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Bind(Statement):
    """`a, b = split(x, 2)`: one target or more."""

    targets: tuple[Name, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`1..3` after `in`: both ends count."""

    first: Expr
    last: Expr


@dataclass(frozen=True, slots=True)
class For(Statement):
    """`for i in 1..3 { … }`, or over the items of a list."""

    variable: Name
    items: Range | Expr
    body: tuple[AnyStatement, ...]


@dataclass(frozen=True, slots=True)
class Arm(Node):
    """`if condition { … }` or `else if condition { … }`."""

    condition: Expr
    body: tuple[AnyStatement, ...]


@dataclass(frozen=True, slots=True)
class If(Statement):
    """`if … { } else if … { } else { }`: the conditions in order, then what holds otherwise (None: no `else`)."""

    arms: tuple[Arm, ...]
    otherwise: tuple[AnyStatement, ...] | None


@dataclass(frozen=True, slots=True)
class Return(Statement):
    """`return y` or `return y, z`; that it stands last, and only in a block, is checked by who reads the tree."""

    values: tuple[Expr, ...]


AnyStatement: TypeAlias = Input | Param | Role | Bind | For | If | Return


# Definitions: at the top of a file


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import "blocks.net"`."""

    path: String


@dataclass(frozen=True, slots=True)
class Const(Node):
    """`const width = 64`."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Formal(Node):
    """A parameter of an op, a block or a net: `kernel = 5`, or `x` without a default."""

    name: Name
    default: Expr | None


@dataclass(frozen=True, slots=True)
class OpDef(Node):
    """`op f(x, a = 1) = expr`."""

    name: Name
    formals: tuple[Formal, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class BlockDef(Node):
    """`block f(x, c = 8) { … return y }`."""

    name: Name
    formals: tuple[Formal, ...]
    body: tuple[AnyStatement, ...]


@dataclass(frozen=True, slots=True)
class NetDef(Node):
    """`net lenet(classes = 10) { … }`."""

    name: Name
    formals: tuple[Formal, ...]
    body: tuple[AnyStatement, ...]


@dataclass(frozen=True, slots=True)
class DataDef(Node):
    """`data digits = mnist(…)`."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class Every(Node):
    """`heldout with lenet_test every 500 from 0`, `every 5000` (then `value` is None): only as the value of a setting.

    net: what stands after `with`; start: what stands after `from`.
    """

    value: Expr | None
    count: Expr
    net: Name | None = None
    start: Expr | None = None


@dataclass(frozen=True, slots=True)
class Patience(Node):
    """`no better top1 for 5 tests`: only as the value of a setting. words: the three that are always such."""

    words: tuple[Name, ...]
    value: Expr
    count: Expr


@dataclass(frozen=True, slots=True)
class Setting(Node):
    """`steps: 10000`."""

    key: Name
    value: Expr | Every | Patience


@dataclass(frozen=True, slots=True)
class TrainDef(Node):
    """`train NET(classes: 20) { … }`."""

    net: Name
    args: tuple[Arg, ...]
    settings: tuple[Setting, ...]


Definition: TypeAlias = Import | Const | OpDef | BlockDef | NetDef | DataDef | TrainDef


@dataclass(frozen=True, slots=True)
class File(Node):
    """A whole file: its definitions in order."""

    definitions: tuple[Definition, ...]

    @property
    def imports(self) -> tuple[Import, ...]:
        """The imports, in order."""
        return tuple(item for item in self.definitions if isinstance(item, Import))


def children(node: Node) -> list[Node]:
    """The nodes directly below a node, in the order of its fields."""
    found: list[Node] = []
    for part in fields(node)[1:]:  # the first is the span
        value = getattr(node, part.name)
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(value)
    return found
