"""Affine accesses of a product's factors: where an element lies, as a pointer and a stride for each loop variable."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ... import ops
from ...kernel import operand_number
from ...loops.contraction import guards_that_tell
from ...loops.view import Expr, Guard, Index, Pulled, Var, behind
from ..loops.body import Body
from ..loops.place import MemRef


@dataclass(frozen=True)
class Operand:
    """A factor that is read where it lies: the element of `place` at `index`, or 0 where a guard fails."""

    place: MemRef
    index: Index
    guards: tuple[Guard, ...]

    @property
    def address(self) -> Expr:
        return self.place.address(self.index)

    def stride(self, var: Var) -> int:
        """Elements from one value of a variable to the next; 0 where it does not depend on it."""
        return next((factor for factor, term in self.address.terms if term == var), 0)

    def guarded(self, var: Var) -> bool:
        """Whether it depends on a variable whether there is an element."""
        return any(var in guard.expr.vars for guard in self.guards)


def operand_of(body: Body, side: Pulled) -> Operand | None:
    """A factor as an operand of the kernel in f32, behind movement alone; None for anything else."""
    found = behind(side.node, side.index, 0)
    place = body.operands[operand_number(found.node)] if found.node.op is ops.input_ else None
    if place is None or place.dtype != "f32":
        return None
    return Operand(place, found.index, guards_that_tell((*side.guards, *found.guards)))


def affine(e: Expr, variables: Collection[Var]) -> bool:
    """Whether an expression is a sum of multiples of these variables, and of what depends on others alone."""
    return all(
        term in variables or _apart(term.vars if not isinstance(term, Var) else {term}, variables)
        for _, term in e.terms
    )


def _apart(used: Collection[Var], variables: Collection[Var]) -> bool:
    return not any(var in variables for var in used)


def limits(guards: Sequence[Guard], variables: Collection[Var]) -> bool:
    """Whether each guard bounds one of these variables alone, so that a loop can begin and end there."""
    return all(guard.step == 1 and affine(guard.expr, variables) and _inner(guard, variables) <= 1 for guard in guards)


def _inner(guard: Guard, variables: Collection[Var]) -> int:
    return sum(var in variables for var in guard.expr.vars)


def bounds(body: Body, var: Var, guards: Sequence[Guard]) -> tuple[str, str]:
    """The first value of a variable for which guards that it alone decides hold, and the one behind the last."""
    first, end = "0", str(var.size)
    for guard in guards:
        inside, rest = guard.expr.parts((var,))
        if not inside.terms:
            continue
        factor = inside.terms[0][0]
        # low <= factor * var + rest < high, for a factor of either sign.
        low, high = (
            (rest * -1 + guard.low, rest * -1 + (guard.high - 1))
            if factor > 0
            else (rest - (guard.high - 1), rest - guard.low)
        )
        body.proof.span(guard, var, low, abs(factor), high)
        below, above = (body.expr(e).text for e in (low, high))
        first = f"first_from({below}, {abs(factor)}, {first})"
        end = f"end_at({above}, {abs(factor)}, {end})"
    return first, end
