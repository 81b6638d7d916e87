"""Foreign functions: layers in Python."""

from __future__ import annotations

from .. import ops
from ..graph import Node
from ..host import ABSENT, HostError, results_of
from ..ops.base import TypeRuleError
from .axes import refuse
from .base import host_function, layer


@layer("Python", policy="f32")
def host(*xs: Node, function: str, settings: str = "", like: Node | None = None) -> Node | tuple[Node, ...]:
    """What Python makes of x[0], x[1], …, `function` being "module:name"   (Caffe: Python)"""
    refuse(not xs, "there is no tensor to call it with")
    try:
        called, sizes = host_function(function, settings)
        if called.layer is ABSENT and like is None:
            raise TypeRuleError("")  # what it makes is not known as long as no code may run
        results = (like.type,) if like is not None else results_of(called, [x.type for x in xs])
        node = ops.host(*xs, function=called, results=called.resized(results, sizes))
    except HostError as error:
        raise TypeRuleError(str(error)) from error
    items = tuple(ops.item(node, index=i) for i in range(len(results)))
    return items[0] if len(items) == 1 else items
