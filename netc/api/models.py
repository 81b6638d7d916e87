"""Models in the place of a net's file, for the Python API: opened, and their weights and sizes put into what is asked.

What a command does with a model of ONNX or a package of the zoo (`stored_models`), a function here does as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..arguments import net_of
from ..grammar.source import Source
from ..request import Request
from ..stored_models import is_model, opened
from ..weights import NONE, Weights


@dataclass(frozen=True)
class Given:
    """A net's file or text, the request for it, and the weights that it has: a model's own unless others are named."""

    file: Path | Source
    want: Request
    weights: Weights
    labels: Path | None = None


@contextmanager
def given(
    name: str, path: Any, want: Request, weights: Weights = NONE, notify: Callable[[str], None] | None = None
) -> Iterator[Given]:
    """What an argument names; what a package was unpacked into is there as long as the context."""
    file = net_of(name, path)
    if isinstance(file, Source) or not is_model(file):
        yield Given(file, want, weights)
        return
    model = opened(file, want, notify or (lambda text: None))
    try:
        own = weights if weights else model.weights
        yield Given(model.file, replace(want, net=want.net or model.net, dims=model.dims), own, model.labels)
    finally:
        model.close()
