"""What a layer is: a function over nodes whose Python signature is its schema, and the context in which it runs.

    @layer("ReLU")
    def relu(x: Node, *, negative_slope: float = 0.0) -> Node:
        ...

Positional parameters annotated `Node` are the tensors a call gives first; `*xs: Node` takes any number; `Node | None`
with a default are optional tensors, given by name. Keyword-only parameters are the settings; their order is that of
positional settings in a call. A layer makes its parameters through the functions below, which ask the builder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from ..graph import Node
from ..host import HostFunction, Sizes
from ..packages import Registry
from ..spec import Filler

# What a layer takes and hands on in mixed precision: numbers of 16 bits (`narrow`), or f32 where small differences
# matter; `between`, as arithmetic between layers: of 16 bits where its result goes into a layer of 16 bits. Inside of a
# layer only the operands of products are of 16 bits.
Policy = Literal["narrow", "f32", "between"]
# A setting with one value for all axes or one for each: `kernel: 5` or `kernel: [3, 1]`.
PerAxis = int | tuple[int, ...]


class LayerContext(Protocol):
    """What the builder offers a layer while it runs."""

    training: bool
    processes: int

    def across(self, x: Node, what: str) -> Node:
        """The mean of a value over the processes that train the net together, under a name of the layer's."""

    def parameter(self, name: str, shape: tuple[int, ...], filler: Filler) -> Node:
        """The learned tensor `<layer>.<name>`: the setting of that name may replace the filler, `share:` the owner."""

    def statistic(self, name: str, shape: tuple[int, ...], value: float) -> Node:
        """The running statistic `<layer>.<name>`, not learned, first `value` everywhere."""

    def commit(self, name: str, value: Node) -> None:
        """The next value of a statistic."""

    def carried(self, name: str, shape: tuple[int, ...]) -> Node:
        """What the pass before left of the layer under a name, 0 before the first; neither learned nor a weight."""

    def read_from(self, name: str, shape: tuple[int, ...], file: str) -> Node:
        """Numbers that lie in a file beside the net's, read when the state is made; neither learned nor a weight."""

    def carry(self, name: str, value: Node) -> None:
        """What the next pass finds under that name."""

    def random_bits(self, shape: tuple[int, ...]) -> Node:
        """Fresh u32 bits, another stream at each call."""

    def host_function(self, text: str, settings: str) -> tuple[HostFunction, Sizes | None]:
        """The Python function `module:name` (`ABSENT` where no code may run), and the sizes that it gave."""


_context: ContextVar[LayerContext] = ContextVar("layer context")


@contextmanager
def building(context: LayerContext) -> Iterator[None]:
    """Layers called inside ask `context`."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def training() -> bool:
    return _context.get().training


def parameter(name: str, shape: tuple[int, ...], filler: Filler) -> Node:
    return _context.get().parameter(name, shape, filler)


def statistic(name: str, shape: tuple[int, ...], value: float) -> Node:
    return _context.get().statistic(name, shape, value)


def commit(name: str, value: Node) -> None:
    _context.get().commit(name, value)


def carried(name: str, shape: tuple[int, ...]) -> Node:
    return _context.get().carried(name, shape)


def read_from(name: str, shape: tuple[int, ...], file: str) -> Node:
    return _context.get().read_from(name, shape, file)


def carry(name: str, value: Node) -> None:
    _context.get().carry(name, value)


def random_bits(shape: tuple[int, ...]) -> Node:
    return _context.get().random_bits(shape)


def across(x: Node, what: str) -> Node:
    """The mean of a value over the processes that train the net together; itself where there is one. what: its name."""
    return _context.get().across(x, what)


def processes() -> int:
    """How many processes train the net together."""
    return _context.get().processes


def host_function(text: str, settings: str) -> tuple[HostFunction, Sizes | None]:
    return _context.get().host_function(text, settings)


@dataclass(frozen=True)
class Layer:
    """A registered layer.

    caffe: the Caffe types it stands for. elementwise: may be used in an `op`'s body (pointwise functions and
    reductions). params: the names of all parameters and statistics that it may make, in the order in which `lr: [1, 2]`
    counts the parameters; a call may set each of the parameters by name, and a layer with any counts as one that has
    parameters where layers are named. policy: see `Policy`.
    """

    name: str
    function: Callable[..., Node | tuple[Node, ...]]
    signature: inspect.Signature
    caffe: tuple[str, ...]
    elementwise: bool
    params: tuple[str, ...] = ()
    policy: Policy = "between"

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""


LAYERS: Registry[Layer] = Registry("netc.layers")
F = TypeVar("F", bound=Callable[..., Any])


def layer(
    *caffe: str,
    name: str | None = None,
    elementwise: bool = False,
    params: tuple[str, ...] = (),
    policy: Policy = "between",
) -> Callable[[F], F]:
    """Register a function as a layer under its own name (a trailing underscore is dropped)."""

    def enter(function: F) -> F:
        key = name or function.__name__.rstrip("_")
        signature = inspect.signature(function, eval_str=True)
        LAYERS.enter(key, Layer(key, function, signature, caffe, elementwise, params, policy))
        return function

    return enter
