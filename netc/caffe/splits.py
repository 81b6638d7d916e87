"""Split insertion, as in Caffe: a blob that several layers read, or that one reads and that is a loss, has copies.

The copies are blobs of the net with names that scripts and files of weights know: `data_mnist_0_split_1` is the second
copy of the first top, `data`, of the layer `mnist`.
"""

from __future__ import annotations

from ..grammar.caffe.message import Message, Scalar
from ..grammar.source import SourceError, SourceErrors, Span, suggest

Place = tuple[int, int]  # a layer, and which of its tops


class _Uses:
    """Which top each bottom reads, and how often each top is read."""

    def __init__(self, layers: list[Message]) -> None:
        self.layers = layers
        self.source: dict[Place, Place] = {}
        self.count: dict[Place, int] = {}
        self.weight: dict[Place, float] = {}
        last: dict[str, Place] = {}
        for i, layer in enumerate(layers):
            for j, item in enumerate(layer.items("bottom")):
                assert isinstance(item, Scalar)
                if item.value not in last:
                    message = f"no layer above `{layer.get('name')}` makes the blob `{item.value}`"
                    raise SourceErrors([SourceError("E711", message, item.span, suggest(item.value, last))])
                self.source[i, j] = last[item.value]
                self._used(last[item.value])
            tops = layer.all("top")
            last |= {top: (i, j) for j, top in enumerate(tops)}
            for top, weight in zip(tops, layer.all("loss_weight"), strict=False):
                self.weight[last[top]] = weight
                if weight:
                    self._used(last[top])

    def _used(self, top: Place) -> None:
        self.count[top] = self.count.get(top, 0) + 1


def insert_splits(layers: list[Message]) -> list[Message]:
    """The layers with a Split behind each top that is used several times; SourceErrors for a bottom nobody makes."""
    uses = _Uses(layers)
    taken: dict[Place, int] = {}
    found: list[Message] = []
    for i, layer in enumerate(layers):
        new = Message(layer.type, layer.span, {key: list(items) for key, items in layer.fields.items()})
        found.append(new)
        for j, item in enumerate(layer.items("bottom")):
            assert isinstance(item, Scalar)
            top = uses.source[i, j]
            if uses.count[top] > 1:
                name = _name(layers, top, item.value)
                new.fields["bottom"][j] = Scalar(f"{name}_{taken.get(top, 0)}", item.span)
                taken[top] = taken.get(top, 0) + 1
        for j, item in enumerate(layer.items("top")):
            assert isinstance(item, Scalar)
            count, weight = uses.count.get((i, j), 0), uses.weight.get((i, j), 0.0)
            if count > 1:
                found.append(_split(_name(layers, (i, j), item.value), item, count, weight))
                if weight:
                    new.fields.pop("loss_weight", None)
                    taken[i, j] = 1
    return found


def _name(layers: list[Message], top: Place, blob: str) -> str:
    return f"{blob}_{layers[top[0]].get('name')}_{top[1]}_split"


def _split(name: str, bottom: Scalar, count: int, weight: float) -> Message:
    layer, place = Message("LayerParameter", bottom.span), bottom.span
    add(layer, "name", name, place)
    add(layer, "type", "Split", place)
    layer.add("bottom", bottom)
    for k in range(count):
        add(layer, "top", f"{name}_{k}", place)
        if weight:
            add(layer, "loss_weight", 0.0 if k else weight, place)
    return layer


def add(message: Message, field: str, value: object, place: Span) -> None:
    """One more value of a field of a message that no text says."""
    message.add(field, Scalar(value, place))
