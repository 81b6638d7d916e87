"""One layer of a prototxt as a piece of graph: that of a net of this layer alone, whose inputs are its bottoms.

Layers are built one by one, since a layer in Python, or a blob that somebody reshapes, decides the shapes of those
after it. Composed (`composing.py`) they are the graph of the net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..compiler.build import Experiment, build, entered
from ..compiler.caffe import writer
from ..compiler.caffe.data import DATA, feed
from ..compiler.caffe.layer import Layer, Row
from ..compiler.caffe.options import Reading
from ..compiler.caffe.phase import phase
from ..compiler.graph import Graph, Node
from ..compiler.net import LayerInfo
from ..compiler.program import StateInfo
from ..compiler.spec import DataSpec
from ..grammar import tree
from ..grammar.caffe.message import Message
from ..grammar.caffe.rules import NetState
from ..grammar.caffe.rules import Phase as PhaseName
from ..grammar.source import SourceError, SourceErrors
from .splits import add

# What is decided outside of a layer: where it stands, what its tops weigh, through which bottoms gradients flow.
OUTSIDE = ("include", "exclude", "loss_weight", "propagate_down", "bottom", "top", "blobs")
WORDS = ("none", "true", "false")  # what names mean something else than a value


@dataclass(frozen=True)
class Piece:
    """A layer's graph: from `inputs` (in the order of its bottoms) to `tops`. state: its tensors in Caffe's order."""

    experiment: Experiment
    inputs: tuple[Node | None, ...]
    tops: tuple[Node, ...]
    graph: Graph
    state: tuple[StateInfo, ...]
    rows: tuple[LayerInfo, ...]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of its tops."""
        return [tuple(map(int, top.shape)) for top in self.tops]


def build_layer(
    layer: Message, bottoms: Sequence[str], tops: Sequence[str], shapes: Sequence[tuple[int, ...]], where: PhaseName
) -> Piece:
    """A layer in a phase over bottoms of these shapes; SourceErrors where it cannot be had.

    bottoms, tops: names of its blobs, where the same name is the same blob.
    """
    place = layer.place("name")
    alone = layer.without((*OUTSIDE, "param"))
    for spec in layer.messages("param"):
        alone.add("param", spec.without(("name", "share_mode")))
    ins, outs = ([f"{name}_" if name in WORDS else name for name in names] for names in (bottoms, tops))
    for field, names in (("bottom", ins), ("top", outs)):
        for name in names:
            add(alone, field, name, layer.place(field))
    whole = Message("NetParameter", layer.span)
    if ins:
        whole.add("layer", _input(layer, ins, shapes))
    whole.add("layer", alone)
    found = phase(whole, NetState(where), Reading(), Path(layer.source.path).parent)
    if errors := [*found.errors, *found.missing]:
        raise SourceErrors(errors)
    title = writer.name("layer", place)
    body = tuple(statement for _, statement in found.statements)
    experiment = entered(layer.source, tree.File(layer.span, (tree.NetDef(layer.span, title, (), body),)))
    mode: Literal["train", "test"] = "train" if where == "TRAIN" else "test"
    net = build(experiment, "layer", mode=mode, outputs=outs)
    inputs = net.graph.inputs
    return Piece(
        experiment,
        tuple(inputs.get(name) for name in ins),
        tuple(net.graph.outputs[name] for name in outs),
        Graph({name: net.graph.outputs[name] for name in outs}, net.graph.updates),
        net.state,
        net.layers,
    )


def _input(layer: Message, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Message:
    """An Input layer that makes a layer's bottoms."""
    place = layer.place("bottom")
    found, given = Message("LayerParameter", place), Message("InputParameter", place)
    add(found, "name", "(bottoms)", place)
    add(found, "type", "Input", place)
    found.add("input_param", given)
    for name, shape in zip(names, shapes, strict=True):
        add(found, "top", name, place)
        size = Message("BlobShape", place)
        for dim in shape:
            add(size, "dim", dim, place)
        given.add("shape", size)
    return found


def data_of(layer: Message) -> DataSpec | None:
    """The source that a data layer reads, with its columns by the layer's tops; None for one that somebody fills."""
    errors: list[SourceError] = []
    read = feed(
        Layer(layer, Row("", DATA[layer.get("type")]), False, {}, errors.append), Path(layer.source.path).parent
    )
    if errors:
        raise SourceErrors(errors)
    if read is None:
        return None
    title = writer.name("data", layer.place("name"))
    found = entered(layer.source, tree.File(layer.span, (tree.DataDef(layer.span, title, read.source),)))
    return found.data["data"]
