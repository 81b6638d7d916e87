"""What a parameter takes, read off its annotation, and how constants of the language become Python values.

Numbers, texts, words, lists, fillers and tensors: each `Kind` says in words what it takes (`text`), converts a value
or raises `Mismatch`, and knows the bare words that it reads. A setting that wants a whole number takes any constant
that is one.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from ..graph import Node
from ..spec import ColumnTransform, Filler
from ..types import single
from .ranges import Range
from .sources import Name

WHOLE_LIMIT = 2**63 - 1


class Unknown:
    """The value of what was wrong: swallows the errors that would follow from it."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = Unknown()


class Mismatch(Exception):
    """A value of another kind; `text` ("not 7.5") and `hint` where there is something better to say than its kind."""

    def __init__(self, text: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def describe(value: Any) -> str:
    """A value in an error message."""
    if isinstance(value, Node):
        return f"a tensor {show_type(value)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 40 else f'"{value[:37]}…"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(describe, value))}]" if len(value) <= 6 else f"a list of {len(value)}"
    if value is None:
        return "none"
    if isinstance(value, Filler):
        return f"the filler {value.name}"
    return f"{int(value)}" if isinstance(value, int) else f"{value:.10g}"


def in_single(value: float) -> str:
    """For an error message: what a number becomes in f32."""
    return f"and {value!r} is {single(value):g} in f32"


def show_type(node: Node) -> str:
    """A tensor's type as the language writes it: `f32[N, 50, 4, 4]`."""
    return f"{node.dtype}[{', '.join(map(str, node.shape))}]"


class Kind:
    """Base of all kinds: takes anything."""

    @property
    def text(self) -> str:
        """What is taken, in words."""
        return "a value"

    @property
    def words(self) -> tuple[str, ...]:
        """The bare words that it reads."""
        return ()

    @property
    def tensor(self) -> bool:
        """Whether tensors are taken."""
        return False

    @property
    def filler(self) -> bool:
        """Whether fillers are taken."""
        return False

    @property
    def columns(self) -> bool:
        """Whether names of columns are taken, each with what happens to it."""
        return False

    @property
    def list_of_words(self) -> Kind | None:
        """The kind of the items, where a list may hold bare words."""
        return None

    def word(self, name: str) -> tuple[Any] | None:
        """The value of a bare word, or None where it is not one of its words."""
        return (name,) if name in self.words else None

    def convert(self, value: Any) -> Any:
        """The Python value, or Mismatch."""
        return value


ANY: Final = Kind()


class Whole(Kind):
    @property
    def text(self) -> str:
        return "a whole number"

    def convert(self, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            whole = value
        elif isinstance(value, float) and value.is_integer():
            whole = int(value)
        else:
            raise Mismatch
        if abs(whole) > WHOLE_LIMIT:
            raise Mismatch(f"and {describe(value)} is too large")
        return whole


class Real(Kind):
    @property
    def text(self) -> str:
        return "a number"

    def convert(self, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Mismatch
        return float(value)


class Ranged(Kind):
    """A number that lies in a range."""

    def __init__(self, number: Kind, range_: Range) -> None:
        self.number = number
        self.range = range_

    @property
    def text(self) -> str:
        return f"{self.number.text} {self.range}"

    def convert(self, value: Any) -> Any:
        number = self.number.convert(value)
        if not self.range.holds(number):
            raise Mismatch
        return number


class Truth(Kind):
    @property
    def text(self) -> str:
        return "true or false"

    def convert(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise Mismatch
        return value


class Text(Kind):
    @property
    def text(self) -> str:
        return 'a text in "quotes"'

    def convert(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise Mismatch
        return value


class BareName(Kind):
    """A name that may stand bare: any word is one."""

    @property
    def text(self) -> str:
        return "a name"

    def word(self, name: str) -> tuple[Any] | None:
        return (Name(name),)

    def convert(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise Mismatch
        return Name(value)


class Words(Kind):
    def __init__(self, options: tuple[str, ...]) -> None:
        self.options = options

    @property
    def text(self) -> str:
        return f"{', '.join(self.options[:-1])} or {self.options[-1]}" if len(self.options) > 1 else self.options[0]

    @property
    def words(self) -> tuple[str, ...]:
        return self.options

    def convert(self, value: Any) -> Any:
        if value not in self.options:
            raise Mismatch
        return value


class Nothing(Kind):
    @property
    def text(self) -> str:
        return "none"

    def word(self, name: str) -> tuple[Any] | None:
        return (None,) if name == "none" else None

    def convert(self, value: Any) -> Any:
        if value is not None:
            raise Mismatch
        return None


class Tensor(Kind):
    @property
    def text(self) -> str:
        return "a tensor"

    @property
    def tensor(self) -> bool:
        return True

    def convert(self, value: Any) -> Any:
        if not isinstance(value, Node):
            raise Mismatch
        return value


class FillerKind(Kind):
    @property
    def text(self) -> str:
        return "a filler such as gaussian(std: 0.01)"

    @property
    def filler(self) -> bool:
        return True

    def convert(self, value: Any) -> Any:
        if not isinstance(value, Filler):
            raise Mismatch
        return value


class ColumnKind(Kind):
    @property
    def text(self) -> str:
        return "a transform such as image(scale: 0.5)"

    @property
    def columns(self) -> bool:
        return True

    def convert(self, value: Any) -> Any:
        if not isinstance(value, ColumnTransform):
            raise Mismatch
        return value


class ListOf(Kind):
    """A list; one value stands for a list of one. `length` None: any."""

    def __init__(self, item: Kind, length: int | None = None) -> None:
        self.item = item
        self.length = length

    @property
    def text(self) -> str:
        many = self.item.text.removeprefix("a ")
        for one in ("number", "text", "name", "transform"):
            many = many.replace(one, f"{one}s")
        return f"a list of {f'{self.length} ' if self.length else ''}{many}"

    @property
    def columns(self) -> bool:
        return self.item.columns

    @property
    def list_of_words(self) -> Kind | None:
        return self.item if self.item.words or self.item.columns or isinstance(self.item, BareName) else None

    def word(self, name: str) -> tuple[Any] | None:
        found = self.item.word(name)
        return None if found is None else (found,)

    def convert(self, value: Any) -> Any:
        items = tuple(map(self.item.convert, value if isinstance(value, tuple) else (value,)))
        if self.length is not None and len(items) != self.length:
            raise Mismatch(f"not {len(items)}")
        return items


class Either(Kind):
    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self.kinds = kinds

    @property
    def text(self) -> str:
        texts = [kind.text for kind in self.kinds]
        last = self.kinds[-1]
        if len(texts) == 2 and isinstance(last, ListOf) and last.length is None and last.item.text == texts[0]:
            return f"{texts[0]} or a list of them"
        return " or ".join(texts)

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(word for kind in self.kinds for word in kind.words)

    @property
    def tensor(self) -> bool:
        return any(kind.tensor for kind in self.kinds)

    @property
    def filler(self) -> bool:
        return any(kind.filler for kind in self.kinds)

    @property
    def list_of_words(self) -> Kind | None:
        return next((kind.list_of_words for kind in self.kinds if kind.list_of_words is not None), None)

    def word(self, name: str) -> tuple[Any] | None:
        return next((found for kind in self.kinds if (found := kind.word(name)) is not None), None)

    def convert(self, value: Any) -> Any:
        said = Mismatch()
        for kind in self.kinds:
            try:
                return kind.convert(value)
            except Mismatch as mismatch:
                said = mismatch if mismatch.text else said
        raise said


SIMPLE: dict[Any, Kind] = {
    int: Whole(),
    float: Real(),
    bool: Truth(),
    str: Text(),
    Name: BareName(),
    Node: Tensor(),
    Filler: FillerKind(),
    ColumnTransform: ColumnKind(),
    None: Nothing(),
    type(None): Nothing(),
}


def kind_of(annotation: Any) -> Kind:
    """The kind that an annotation stands for: `int | tuple[int, ...]` is a whole number or a list of them."""
    # Not cached: annotations with the same words in another order are equal, and the order is shown.
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return Ranged(kind_of(args[0]), args[1])
    if origin is Literal:
        return Words(tuple(args))
    if origin in (types.UnionType, typing.Union):
        return Either(_ordered([kind_of(arg) for arg in args]))
    if origin in (tuple, list, Sequence):
        if origin is not tuple or args[-1] is Ellipsis:
            return ListOf(kind_of(args[0]))
        return ListOf(kind_of(args[0]), len(args))
    return ANY


def _ordered(kinds: list[Kind]) -> tuple[Kind, ...]:
    """Lists last, since they take one value too; `none` at the very end, where it reads best."""
    return tuple(sorted(kinds, key=lambda kind: (isinstance(kind, Nothing), isinstance(kind, ListOf))))


__all__ = ["ANY", "UNKNOWN", "Kind", "Mismatch", "Unknown", "describe", "in_single", "kind_of", "show_type"]
