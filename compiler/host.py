"""Foreign functions as layers: Python called between two programs, forward and backward, on arrays of numpy.

Calls of the functions, with a, b, … the operands, y the results and g the gradients by these:

    forward(a, b, …) -> y, or a tuple of them
    backward(g, …, a, b, …, y, …) -> the gradient by each operand (or None), or the one array where there is one operand
    shapes(shape of a, shape of b, …) -> the shape of y, or a list of them; without it y is like a

A class has these as methods, of which only `forward` must be there; it is made once for each layer, with its settings.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..grammar.source import UserError
from .types import TensorType

Function = Callable[..., Any]
Shape = tuple[int, ...]
Sizes = tuple[Shape, ...]  # of the results of a layer


class HostError(UserError):
    """A Python layer that cannot be had, or that gives something else than it should."""


@dataclass(frozen=True, eq=False)
class HostLayer:
    """Python functions as a layer; `netc.host_layer` makes one, `host("module:name", x)` uses it."""

    forward: Function
    backward: Function | None = None
    shapes: Function | None = None


def _absent(*arrays: Any) -> Any:
    raise HostError("this Python layer may not run")


ABSENT = HostLayer(_absent)  # in the place of one where no code may run


@dataclass(frozen=True)
class HostFunction:
    """One direction of a Python layer in a net, as an attribute of the op `host`. name: the layer's, and then `.grad`.

    operands, wanted: of backward, how many the layer has, and those of which a gradient is wanted.
    """

    name: str
    layer: HostLayer
    operands: int = 0
    wanted: tuple[int, ...] | None = None

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        function = self.layer.forward if self.wanted is None else self.layer.backward
        assert function is not None
        try:
            found = function(*arrays)
        except Exception as error:
            error.add_note(f"in the Python layer `{self.name}`")
            raise
        several = tuple(found) if isinstance(found, tuple | list) else (found,)
        return several if self.wanted is None else self._gradients(several, arrays)

    def _gradients(self, found: tuple[Any, ...], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those that are wanted; None is 0."""
        wanted = self.wanted or ()
        if len(found) != self.operands:
            many = f"{self.operands} gradients, one an operand" if self.operands > 1 else "one gradient"
            raise HostError(f"`backward` of the Python layer `{self.name}` gives {many}, not {len(found)}")
        first = (len(arrays) - self.operands) // 2  # behind as many gradients as there are results
        return tuple(np.zeros_like(arrays[first + i]) if found[i] is None else found[i] for i in wanted)

    def __repr__(self) -> str:
        back = f", {self.operands}, {self.wanted}" if self.wanted is not None else ""
        return f"HostFunction({self.name!r}{back})"

    def result(self, index: int) -> str:
        """The name of a result in the programs around the call; no name of the language begins with a point."""
        return f".{self.name}.{index}"

    def resized(self, results: Sequence[TensorType], sizes: Sizes | None) -> tuple[TensorType, ...]:
        """The types of results of other sizes. HostError where these are not as many."""
        if sizes is None:
            return tuple(results)
        if len(sizes) != len(results):
            raise HostError(f"`{self.name}` gave {len(sizes)} results, it has {len(results)}")
        return tuple(TensorType(size, type_.dtype) for size, type_ in zip(sizes, results, strict=True))

    def backwards(self, operands: int, wanted: Sequence[int]) -> HostFunction:
        """The way back. HostError where there is none."""
        if self.layer.backward is None:
            raise HostError(
                f"the Python layer `{self.name}` has no `backward`, and gradients go through it: "
                "write one, or put `detach` around its operands"
            )
        return replace(self, name=f"{self.name}.grad", operands=operands, wanted=tuple(wanted))


@dataclass(frozen=True)
class Across:
    """The processes of a run, as the nets that several of them train together see them.

    mean: of an array over all of them; the same of a gradient, on the way back. ranks: how many there are.
    """

    mean: Callable[[Any], Any]
    ranks: int

    def layer(self) -> HostLayer:
        """The mean as a layer."""
        return HostLayer(self.mean, lambda g, *_: self.mean(g))


def results_of(function: HostFunction, types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    """The types of what a layer makes of operands of these types: of the first float type, in the shapes it says."""
    dtype = next((type_.dtype for type_ in types if type_.is_float), "f32")
    if function.layer.shapes is None:
        return (TensorType(types[0].shape, dtype),)
    try:
        said = function.layer.shapes(*(tuple(map(int, type_.shape)) for type_ in types))
    except Exception as error:  # whatever it does
        raise HostError(f"`shapes` of `{function.name}`: {type(error).__name__}: {error}") from error
    several = isinstance(said, tuple | list) and bool(said) and all(isinstance(one, tuple | list) for one in said)
    shapes = list(said) if several else [said]
    for shape in shapes:
        if not isinstance(shape, tuple | list) or not all(isinstance(n, int) and n > 0 for n in shape):
            raise HostError(f"`shapes` of `{function.name}` gives a shape or a list of them, not {said!r}")
    return tuple(TensorType(tuple(shape), dtype) for shape in shapes)


def is_registered(text: str) -> bool:
    """Whether `module:name` is a `HostLayer` of a module that is imported already: nothing runs to find it."""
    module, _, name = text.partition(":")
    return isinstance(getattr(sys.modules.get(module), "__dict__", {}).get(name), HostLayer)


def find_layer(text: str, settings: str, folder: Path) -> HostLayer:
    """What `module:name` is: a `HostLayer`, or a class, made with its settings. Imports the module, so it runs code.

    folder: that of the `.net` file, where modules are looked for first. HostError that says what is wrong.
    """
    module, colon, name = text.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise HostError(f'"{text}" is not of the form "module:name"')
    try:
        with _looked_for_in(folder):
            found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever the module does
        raise HostError(f'"{text}" cannot be had: {type(error).__name__}: {error}') from error
    if isinstance(found, HostLayer):
        if settings:
            raise HostError(f'"{text}" is made of functions, which take no settings; a class does')
        return found
    try:
        made = found(settings) if settings else found()
    except (Exception, SystemExit) as error:
        raise HostError(f'"{text}" cannot be made: {type(error).__name__}: {error}') from error
    if not callable(getattr(made, "forward", None)):
        raise HostError(f'"{text}" has no method `forward`')
    return HostLayer(made.forward, getattr(made, "backward", None), getattr(made, "shapes", None))


@contextmanager
def _looked_for_in(folder: Path) -> Iterator[None]:
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with suppress(ValueError):  # where the module took it out itself
            sys.path.remove(place)
