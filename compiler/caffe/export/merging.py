"""Both phases of a net in one list of layers: what is equal stands once, what is of one phase has a rule.

Then register coalescing: layers that may work in their place do so where nobody else reads what they change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from ....grammar.caffe.message import Item, Message, Scalar
from ....grammar.caffe.unparse import text_of
from .making import put

# Layers that Caffe computes in their place, and those whose gradient does not need what they gave; that of a ReLU in
# place needs its sign, which dropout alone keeps.
IN_PLACE = ("ReLU", "Dropout", "BatchNorm", "Scale", "PReLU")
LEFT = (
    *("Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale", "Bias", "Eltwise", "Concat", "Embed"),
    *("ReLU", "Pooling", "Reshape", "Flatten"),
)
_FIELDS = ("name", "type", "bottom", "top", "include", "loss_weight", "propagate_down", "param", "transform_param")


def merged(train: Sequence[Message], test: Sequence[Message]) -> list[Message]:
    """The layers of both phases in an order that holds in each."""
    texts = [[text_of(one) for one in side] for side in (train, test)]
    found: list[Message] = []
    for tag, i, j, k, n in SequenceMatcher(None, texts[0], texts[1], autojunk=False).get_opcodes():
        if tag == "equal":
            found += train[i:j]
            continue
        found += [_ruled(one, "TRAIN") for one in train[i:j]]
        found += [_ruled(one, "TEST") for one in test[k:n]]
    return found


def _ruled(layer: Message, phase: str) -> Message:
    rule = Message("NetStateRule", layer.span)
    put(rule, "phase", phase, layer.span)
    return ordered(Message(layer.type, layer.span, {**layer.fields, "include": [rule]}))


def ordered(layer: Message) -> Message:
    """A layer with its fields in the order in which people write them, its settings last."""
    rest = [name for name in layer.fields if name not in _FIELDS]
    names = [name for name in (*_FIELDS, *rest) if name in layer.fields]
    return Message(layer.type, layer.span, {name: layer.fields[name] for name in names})


def in_place(layers: Sequence[Message], kept: set[str]) -> list[Message]:
    """The layers with those in place that may be. kept: blobs whose names must stay, as they are the net's outputs."""
    readers = Counter(name for one in layers for name in one.all("bottom"))
    makers: dict[str, list[Message]] = {}
    for one in layers:
        for name in one.all("top"):
            makers.setdefault(name, []).append(one)
    renamed: dict[str, str] = {}
    found: list[Message] = []
    for one in layers:
        bottoms, tops = one.all("bottom"), one.all("top")
        plain = len(bottoms) == len(tops) == 1 and one.get("type") in IN_PLACE and not one.has("include")
        if plain and bottoms != tops and readers[bottoms[0]] == 1 and bottoms[0] not in kept:
            before = makers.get(bottoms[0], [])
            if len(before) == len(makers.get(tops[0], [])) == 1 and _lets(before[0], one):
                now = renamed.get(bottoms[0], bottoms[0])
                if tops[0] not in kept:
                    renamed[tops[0]] = now
                    found.append(one)
                    continue
                if now == bottoms[0]:
                    renamed[bottoms[0]] = renamed[tops[0]] = tops[0]
        found.append(one)
    return [_with_names(one, renamed) for one in found]


def _lets(maker: Message, reader: Message) -> bool:
    """Whether a layer's result may be changed by the one that reads it."""
    fine = maker.get("type") != "ReLU" or reader.get("type") == "Dropout"
    return fine and maker.get("type") in LEFT and not maker.has("include")


def _with_names(layer: Message, renamed: Mapping[str, str]) -> Message:
    fields: dict[str, list[Item]] = dict(layer.fields)
    for key in ("bottom", "top"):
        items = [one for one in layer.items(key) if isinstance(one, Scalar)]
        if items:
            fields[key] = [Scalar(renamed.get(one.value, one.value), one.span) for one in items]
    return Message(layer.type, layer.span, fields)
