"""How far a file may expand. Each limit is an error at the place that passes it, never a hang or a killed process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ...grammar.source import SourceError, Span

MAX_LAYERS = 20_000  # layers, and operations between tensors, of one net
MAX_NODES = 200_000  # made while a net is built, those included that nothing reads in the end
# Work on one net, in expressions evaluated and statements run; what costs more counts for as many of these.
MAX_WORK = 200_000
LAYER_WORK = 10
OPERATION_WORK = 5
BLOCK_WORK = 5
TURN_WORK = 4
MAX_LOOP = 10_000  # turns of one loop
MAX_BLOCKS = 64  # blocks and ops inside each other
MAX_IMPORTS = 200  # files
MAX_IMPORT_DEPTH = 32
MAX_IMPORT_CHARACTERS = 8_000_000
MAX_ELEMENTS = 2**31 - 1  # of a tensor, as in Caffe
MAX_AXES = 32  # of a tensor, as in Caffe
MAX_LIST = 10_000
MAX_TEXT = 10_000
MAX_WHOLE = 2**63 - 1
MAX_PROBLEMS = 100  # reported at once
# Python's own limit while a net is expanded: a level of the text takes a few calls, and blocks stand in each other.
# Calls between Python functions take no C stack, so this costs heap only.
RECURSION = 100_000


class Stop(Exception):
    """A limit was passed and reported: nothing more of this net is expanded."""


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Allows the recursion that the limits above allow."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def limit(code: str, message: str, span: Span, hint: str = "") -> SourceError:
    """An error of the range E5xx."""
    return SourceError(code, message, span, hint)
