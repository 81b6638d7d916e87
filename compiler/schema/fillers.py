"""How a parameter gets its first values: the schema of fillers. The signatures are what a `.net` file may write, the
numbers are made by the runtime from the `Filler` that a call returns. Relies on program.py and ranges.py only.

fan_in is count / shape[0], fan_out is count / shape[1], as Caffe counts them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from ..spec import Filler
from .ranges import NotNegative, Range

Fan = Literal["fan_in", "fan_out", "average"]
Sparse = Annotated[int, Range(-1)]
F = TypeVar("F", bound=Callable[..., Filler])

FILLERS: dict[str, Callable[..., Filler]] = {}


def _enter(function: F) -> F:
    FILLERS[function.__name__] = function
    return function


def _filler(name: str, **settings: Any) -> Filler:
    return Filler(name, tuple(settings.items()))


@_enter
def constant(*, value: float = 0.0) -> Filler:
    """value everywhere."""
    return _filler("constant", value=value)


@_enter
def uniform(*, min: float = 0.0, max: float = 1.0) -> Filler:
    """Even over [min, max)."""
    return _filler("uniform", min=min, max=max)


@_enter
def gaussian(*, mean: float = 0.0, std: NotNegative = 1.0, sparse: Sparse = -1) -> Filler:
    """Normal; with sparse >= 0 each value is kept with probability sparse / shape[0], else it is 0."""
    return _filler("gaussian", mean=mean, std=std, sparse=sparse)


@_enter
def positive_unitball() -> Filler:
    """Even over [0, 1), then each row divided by its sum."""
    return _filler("positive_unitball")


@_enter
def xavier(*, variance: Fan = "fan_in") -> Filler:
    """Even over ±sqrt(3 / n), n = fan_in, fan_out or their mean (Glorot and Bengio, 2010)."""
    return _filler("xavier", variance=variance)


@_enter
def msra(*, variance: Fan = "fan_in") -> Filler:
    """Normal with deviation sqrt(2 / n), n = fan_in, fan_out or their mean (He et al., 2015)."""
    return _filler("msra", variance=variance)


@_enter
def bilinear() -> Filler:
    """Weights of bilinear upsampling for a square kernel k: (1 - |i/f - c|)(1 - |j/f - c|), f = ceil(k/2)."""
    return _filler("bilinear")


def signature(name: str) -> inspect.Signature:
    """A filler's settings and their defaults; KeyError for a name that is none."""
    return inspect.signature(FILLERS[name], eval_str=True)
