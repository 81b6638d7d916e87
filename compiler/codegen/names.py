"""Names and comments of generated modules: what every target says in the same way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from keyword import iskeyword
from pathlib import PurePath

from .. import ops
from ..graph import Graph, Node
from ..kernel import made_in

# A function that does the work of many layers is named after the first ones.
MOST_LAYERS = 3


class Names:
    """The names that a module has given."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def fresh(self, wanted: str) -> str:
        """A name that nothing else has: ASCII, since Python takes some other characters for the same, some for none."""
        base = re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_").lower() or "value"
        base = f"n{base}" if base[0].isdigit() else base
        name, k = base, 1
        while name in self.taken or iskeyword(name) or name.endswith("_scratch"):
            k += 1
            name = f"{base}_{k}"
        self.taken.add(name)
        return name


def origins(body: Graph) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers and the places of a kernel's nodes, in the order of the text."""
    layers: dict[str, None] = {}
    places: dict[str, None] = {}
    for node in body.order:
        if node.op.family == "source":
            continue
        for origin in body.origins(node):
            if origin.scope:
                layers[origin.scope] = None
            if origin.span is not None:
                places[f"{PurePath(origin.span.file).name}:{origin.span.line}"] = None
    return tuple(layers), tuple(places)


def title(body: Graph, kind: str, *, update: bool) -> str:
    """A function's name: the layers that compute something in it, rather than move what others have, and its kind.

    update: whether all that it writes is state.
    """
    computed = (n for n in body.order if n.op.family not in ("source", "movement", "overlap"))
    scopes = [origin.scope for node in computed for origin in body.origins(node)]
    layers = list(dict.fromkeys(filter(None, scopes))) or [*origins(body)[0]] or ["update"] * update
    named = [*layers[:MOST_LAYERS], *(("etc",) if len(layers) > MOST_LAYERS else ())]
    return "_".join([*named, kind]) if named else f"{kind}_kernel"


def kind_name(node: Node) -> str:
    """What a stored value is, after the op that makes it."""
    if node.op is ops.concat:
        return "joined"
    made = made_in(node)
    # What was added from parts has only been given its shape since.
    return str((below_reshapes(made) if node.inputs[0].attrs["kind"] == "finish" else made).op.name)


def below_reshapes(operand: Node) -> Node:
    """The stored value of which an operand of a concat is a reshape."""
    while operand.op is ops.reshape:
        operand = operand.inputs[0]
    return operand
