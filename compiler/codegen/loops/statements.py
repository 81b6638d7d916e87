"""The statements of a kernel as they are written: lines in loops, names, integer expressions, conditions, types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from ...loops.view import Expr, Floor, Index, Mod, Var
from ...types import wide
from .dialect import Dialect
from .place import ATOM, OTHER, PRODUCT, SUM, UNARY, Condition, LoopVariable, Number, Spread, Value


@dataclass
class Nesting:
    """Lines of one depth of loops, and what was computed there."""

    lines: list[str] = field(default_factory=list)
    memo: dict[object, Value] = field(default_factory=dict)


class Statements:
    """Statements in the loops that are open. sizes: the names of the dimensions of the kernel's block."""

    def __init__(self, dialect: Dialect, sizes: Sequence[str]) -> None:
        self.dialect = dialect
        self.sizes = tuple(sizes)
        self.scopes = [Nesting()]
        self.bounds: dict[Var, LoopVariable] = {}
        # The variables of the loops that are open, and the conditions of the branches.
        self.open: tuple[Var, ...] = ()
        self.asked: tuple[Condition, ...] = ()
        # What the loops iterate that stand in no other one: a target may share out the turns of the only one.
        self.outermost: list[Var] = []
        # The variable of the innermost loop, where its turns do not need each other.
        self.lane: Var | None = None
        self.helpers: dict[str, str] = {}
        # What numbers are called, where a nest knows more of them than that they are digits, or are compared.
        self.hints: dict[object, str] = {}
        self._names: dict[str, int] = {}
        self._digits = 0

    # Lines, names, loops.

    @property
    def lines(self) -> list[str]:
        """The lines of the innermost open loop."""
        return self.scopes[-1].lines

    @property
    def level(self) -> int:
        return len(self.scopes) - 1

    def put(self, line: str, level: int | None = None) -> None:
        """Write a line, in front of the loops that are deeper than `level`."""
        self.scopes[-1 if level is None else level].lines.append(line)

    @contextmanager
    def loop(self, head: str, end: str = "") -> Iterator[None]:
        """What is written inside stands in the loop; what does not depend on it, in front."""
        self.scopes.append(Nesting())
        yield
        inner = self.scopes.pop()
        self.lines.extend([*head.split("\n"), *(f"    {line}" for line in inner.lines), *([end] if end else [])])

    @contextmanager
    def loops(self, variables: Sequence[Var], *, unrolled: bool = False, apart: bool = False) -> Iterator[Index]:
        """Loops over variables, the outermost first, each as its number in them; one of size 1 is 0 and takes none.

        apart: the turns of the innermost do not need each other.
        """
        last = next((var for var in reversed(variables) if var.size != 1), None) if apart else None
        found, before = [], self.open
        with ExitStack() as stack:
            for var in variables:
                name = var.name if var.size == 1 else self.name(var.name)
                if var.size != 1:
                    self.outermost += [Var(name, var.size)] if self.level == 0 else []
                    spelled = self.dialect.lanes if var is last else partial(self.dialect.loop, unrolled=unrolled)
                    stack.enter_context(self.loop(*spelled(name, var.size)))
                    self.open += (Var(name, var.size),)
                    self.lane = Var(name, var.size) if var is last else self.lane
                found.append(self.bind(Var(name, var.size), name))
            yield tuple(found)
            self.open = before
            self.lane = None if last is not None else self.lane

    @contextmanager
    def branch(self, conditions: Sequence[Condition]) -> Iterator[None]:
        """What is written inside runs only where the conditions hold."""
        mask, before = self.mask(conditions), self.asked
        self.asked += tuple(conditions)
        with self.loop(*self.dialect.branch(mask)) if mask is not None else nullcontext():
            yield
        self.asked = before

    def name(self, wanted: str) -> str:
        """A name that nothing else has: `wanted`, `wanted_2`, …"""
        wanted = self.dialect.renamed.get(wanted, wanted)
        count = self._names.get(wanted, 0) + 1
        self._names[wanted] = count
        return wanted if count == 1 else f"{wanted}_{count}"

    def reserve(self, *words: str) -> None:
        """Keep names for what a template writes itself."""
        for word in words:
            self.name(word)

    def bind(
        self, var: Var, text: str, axis: int | None = None, inside: str = "", spread: Spread | None = None
    ) -> Expr:
        """A loop variable under its name in the text, set at the current depth.

        axis: the dimension of the block along which it runs, None if it is one number at a time. See `LoopVariable`.
        """
        self.bounds[var] = LoopVariable(text, frozenset(() if axis is None else (axis,)), inside, self.level, spread)
        return Expr.of(var)

    def settle(self, value: Value, hint: str = "") -> Value:
        """The value under a name of its own, computed as far outside as possible."""
        if value.number is not None or value.text.isidentifier():
            return value
        name = self.name(hint or value.hint)
        self.put(self.dialect.define(name, value), value.level)
        return value.but(text=name, tight=ATOM)

    def variable(self, wanted: str, start: Value, axes: frozenset[int] = frozenset()) -> str:
        """The name of a new running value, which varies along some dimensions of the block."""
        name = self.name(wanted)
        shape = [size if a in axes else "1" for a, size in enumerate(self.sizes)] if axes else ()
        self.put(self.dialect.variable(name, start, shape))
        return name

    def memo(self, key: object) -> Value | None:
        for scope in reversed(self.scopes):
            if key in scope.memo:
                return scope.memo[key]
        return None

    def remember(self, key: object, value: Value) -> Value:
        self.scopes[value.level].memo[key] = value
        return value

    # Numbers of elements, and conditions.

    def expr(self, e: Expr) -> Value:
        """An integer expression over bound variables; quotients and remainders get names."""
        return self._expr(e, named=True)

    def _expr(self, e: Expr, *, named: bool) -> Value:
        if e.constant is not None:
            return self.number(e.constant, "i32")
        # Terms that vary along the same dimensions of the block are added first, and what is outside of a loop before
        # what is inside: a sum over the whole block is made once, and the compiler finds what it can hoist.
        groups: dict[tuple[int, tuple[int, ...]], list[tuple[str, str]]] = {}
        for factor, term in e.terms:
            part = self._term(term, named=named)
            shown = part.text if abs(factor) == 1 else f"{part.within(PRODUCT)} * {abs(factor)}"
            groups.setdefault((part.level, tuple(sorted(part.axes))), []).append(("-" if factor < 0 else "+", shown))
        keys = sorted(groups)
        if e.offset:
            groups[keys[0]].append(("-" if e.offset < 0 else "+", str(abs(e.offset))))
        sums: list[str] = []
        for key in keys:
            # What is added first: in 0 - (b - k) nobody sees that neighbours along k lie side by side.
            (sign, first), *more = sorted(groups[key], key=lambda pair: pair[0])
            terms = [(other if sign == "+" else "+-"[other == "+"], shown) for other, shown in more]
            inner = first + "".join(f" {other} {shown}" for other, shown in terms)
            sums.append(f"{sign} {f'({inner})' if terms and (sums or sign == '-') else inner}")
        text = " ".join(sums)
        text = text[2:] if text[0] == "+" else f"-{text[2:]}"
        axes, level = frozenset(a for key in keys for a in key[1]), keys[-1][0]
        single = len(e.terms) == 1 and not e.offset and e.terms[0][0] > 0
        tight = ATOM if text.isidentifier() else PRODUCT if single else SUM
        return Value(text, "i32", axes, level, tight, hint="i")

    def _term(self, term: Var | Floor | Mod, *, named: bool) -> Value:
        if isinstance(term, Var):
            bound = self.bounds[term]
            return Value(bound.text, "i32", bound.axes, bound.level)
        found = self.memo(term)
        if found is None:
            of = self._expr(term.of, named=False)
            text = f"{of.within(PRODUCT)} {self.dialect.quotient if isinstance(term, Floor) else '%'} {term.divisor}"
            found = of.but(text=text, tight=PRODUCT)
            if named:
                hint = self.hints.get(term, "")
                if not hint:
                    self._digits += 1
                    hint = f"{next(iter(term.vars)).name if len(term.vars) == 1 else 'i'}{self._digits}"
                found = self.remember(term, self.settle(found, hint))
        return found

    def condition(self, condition: Condition) -> Value | None:
        """Whether a condition holds, as text; None for a variable that cannot pass its end."""
        if isinstance(condition, Var):
            bound = self.bounds[condition]
            tight = ATOM if bound.inside.isidentifier() else OTHER
            return Value(bound.inside, "bool", bound.axes, bound.level, tight) if bound.inside else None
        e = self.expr(condition.expr)
        low, high = condition.expr.bounds
        if e.tight < PRODUCT and not (condition.low <= low and high < condition.high):
            e = self._memoized(condition.expr, e)
        parts = []
        if low < condition.low:
            parts.append(f"({e.text} >= {condition.low})")
        if high >= condition.high:
            parts.append(f"({e.text} < {condition.high})")
        if condition.step > 1:
            start = e.within(SUM) if not condition.low else f"({e.text} - {condition.low})"
            start = start if start.isidentifier() or start.startswith("(") else f"({start})"
            parts.append(f"({start} % {condition.step} == 0)")
        if not parts:
            return None
        return Value(self.dialect.conjunction.join(parts), "bool", e.axes, e.level, OTHER)

    def _memoized(self, key: object, value: Value) -> Value:
        return self.memo(key) or self.remember(key, self.settle(value, self.hints.get(key, "")))

    def mask(self, conditions: Iterable[Condition]) -> Value | None:
        """All of the conditions, under a name; None if they always hold, or a branch or a loop has asked them."""
        wanted = tuple(c for c in dict.fromkeys(conditions) if c not in self.asked)
        key = ("mask", frozenset(wanted))
        found = self.memo(key)
        if found is not None:
            return found
        parts = [part for c in wanted if (part := self.condition(c)) is not None]
        if not parts:
            return None
        if len(parts) == 1:
            return self.remember(key, self.settle(parts[0], "inside"))
        texts = [p.text if p.text.startswith("(") or p.tight == ATOM else f"({p.text})" for p in parts]
        axes = frozenset(a for p in parts for a in p.axes)
        whole = Value(self.dialect.conjunction.join(texts), "bool", axes, max(p.level for p in parts), OTHER)
        return self.remember(key, self.settle(whole, "inside"))

    def overhang(self, e: Expr | Iterable[Var]) -> tuple[Var, ...]:
        """Those variables of an expression that may run over their ends."""
        variables = e.vars if isinstance(e, Expr) else e
        return tuple(sorted((v for v in variables if self.bounds[v].inside), key=lambda v: v.name))

    def reach(self, conditions: Iterable[Condition]) -> tuple[frozenset[int], int]:
        """The dimensions and the depth of the variables in some conditions."""
        bounds = [self.bounds[v] for c in conditions for v in ((c,) if isinstance(c, Var) else c.expr.vars)]
        return frozenset(a for b in bounds for a in b.axes), max((b.level for b in bounds), default=0)

    # Numbers and types.

    def number(self, value: Number, dtype: str) -> Value:
        """A number as a value."""
        text = self.dialect.number(value, dtype)
        return Value(text, wide(dtype), tight=UNARY if text.startswith("-") else ATOM, number=value)

    def outside(self, value: Value, level: int) -> Value:
        """A value to be written at some depth: under a name if it is computed further outside, the same each time."""
        if value.level >= level or value.number is not None or value.text.isidentifier():
            return value
        key = ("named", value.text)
        found = self.memo(key)
        return self.remember(key, self.settle(value)) if found is None else value.but(text=found.text, tight=ATOM)

    def floating(self, value: Value) -> Value:
        """A half-precision value in single precision; others as they are."""
        return self.cast(value, wide(value.dtype)) if value.dtype != wide(value.dtype) else value

    def narrow(self, value: Value, dtype: str) -> Value:
        """A value in the type of its node."""
        return value if value.dtype == dtype or value.number is not None else self.cast(value, dtype)

    def cast(self, value: Value, dtype: str) -> Value:
        """A value converted; a number stays one."""
        if value.number is not None:
            return self.number(value.number, dtype)
        if value.dtype == dtype:
            return value
        text, tight = self.dialect.cast(value, dtype)
        return value.but(text=text, dtype=dtype, tight=tight, filled=frozenset(), fill=None)

    def typed(self, value: Value) -> Value:
        """A number as a value like any other; anything else as it is."""
        return value if value.number is None else value.but(text=self.dialect.typed(value), number=None, tight=ATOM)
