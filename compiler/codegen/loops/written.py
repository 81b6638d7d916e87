"""A kernel as the text of a function, and what is to be known to launch it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ...program import Argument
from ...types import Literal
from .body import Body
from .place import MemRef


@dataclass(frozen=True)
class Written:
    """A function: its text with NAME for its name, the functions that it calls, and how it is launched.

    places: what its pointers point to, in order. literals: the arrays behind those places that are constants.
    constants, grid, warps, stages: of a GPU's kernel. loads, stores: how many were proved. traffic: the bytes
    that they touch. shared: whether threads share out a loop of it, as was proved. waits: whether what follows
    begins when all threads have done their part.
    """

    kind: str
    text: str
    helpers: tuple[tuple[str, str], ...]
    places: tuple[MemRef, ...]
    arguments: tuple[Argument, ...]
    literals: tuple[tuple[str, Literal], ...]
    constants: tuple[tuple[str, int], ...] = ()
    grid: tuple[int, ...] = ()
    warps: int = 0
    stages: int = 0
    loads: int = 0
    stores: int = 0
    traffic: int = 0
    shared: bool = False
    waits: bool = True

    @property
    def key(self) -> str:
        """Names the function by what it does."""
        told = (self.text, self.helpers, self.arguments, self.constants, self.warps, self.stages)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def pointers(body: Body) -> tuple[MemRef, ...]:
    """The places that a body's statements use, in the order of its function's arguments."""
    order = [*body.operands, *body.constants.values(), *body.results]
    return tuple(place for place in dict.fromkeys(order) if place in body.used)


def written(body: Body, kind: str, text: str, *, waits: bool = True) -> Written:
    """The function whose statements a body has; its text takes `pointers` as arguments. waits: see `Written`."""
    literals = {place: literal for literal, place in body.constants.items()}
    body.proof.finish()
    places = pointers(body)
    return Written(
        kind,
        text,
        tuple(sorted(body.helpers.items())),
        places,
        tuple(Argument(p.name, p.dtype, p.aligned, body.used[p]) for p in places),
        tuple((place.name, literals[place]) for place in places if place in literals),
        loads=body.proof.loads,
        stores=body.proof.stores,
        traffic=body.proof.traffic,
        shared=body.proof.is_shared,
        waits=waits,
    )
