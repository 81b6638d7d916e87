"""The layers of a net in a state, as Caffe sets them up: filtered, with splits, with what needs a gradient.

Nothing is computed here. The rules are those of Caffe's `Net::Init` (src/caffe/net.cpp): which blobs are the net's
inputs and outputs, who owns a parameter, through which bottoms gradients flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..compiler.caffe.data import DATA
from ..compiler.caffe.layer import MANY, Row
from ..compiler.caffe.parameters import owners
from ..compiler.caffe.rows import ROWS
from ..grammar.caffe.message import Message, Scalar
from ..grammar.caffe.rules import NetState, check_rules
from ..grammar.caffe.text_format import read
from ..grammar.caffe.upgrade import upgraded_net
from ..grammar.parse import read_source
from ..grammar.source import Source, SourceError, SourceErrors, UserError, suggest
from .splits import add, insert_splits

AUTOMATIC = "(automatic)"  # the top of a loss that has none
HOSTED = ("Python", "Filter", "HDF5Output", "Silence", "DummyData", *DATA)  # not compiled
DATA_ROW = Row("", bottoms=(0, 0), tops=(1, MANY))
Version = tuple[int, int]  # one value of a blob: the layer that makes it, and as which of its tops


@dataclass(eq=False)
class LayerEntry:
    """A layer: its blobs by name, each with the version that it reads or makes.

    need: it takes part in a backward pass; needs: whether gradients flow to each bottom. learned: whether its
    parameters get gradients, given their lr. weights: of its tops in the loss.
    """

    number: int
    message: Message
    bottoms: list[str]
    tops: list[str]
    weights: list[float]
    reads: list[Version] = field(default_factory=list)
    need: bool = False
    needs: list[bool] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.message.get("name"))

    @property
    def type(self) -> str:
        return str(self.message.get("type"))

    @property
    def hosted(self) -> bool:
        return self.type in HOSTED

    @property
    def is_loss(self) -> bool:
        return self.type in ROWS and ROWS[self.type].loss


@dataclass
class LayerTable:
    """A net in a state. inputs, outputs: names of blobs. force: every layer has gradients, whatever needs them."""

    message: Message
    entries: list[LayerEntry]
    phase: str
    inputs: list[str]
    outputs: list[str]
    force: bool


def read_net(path: str | Path) -> Message:
    """A prototxt of a net, upgraded; RuntimeError where there is no such file, as in pycaffe."""
    if not Path(path).is_file():
        raise RuntimeError(f"Could not open file {path}")
    try:
        return upgraded(read(read_source(path), "NetParameter")[0])
    except SourceError as error:
        raise SourceErrors([error]) from None


def upgraded(net: Message) -> Message:
    """A net in the last format; SourceErrors."""
    errors: list[SourceError] = []
    found = upgraded_net(net, errors.append)
    check_rules(found, errors.append)
    if errors:
        raise SourceErrors(errors)
    return found


def net_of_text(text: str, name: str = "net.prototxt") -> Message:
    """The same of a text."""
    return upgraded(read(Source(name, text), "NetParameter")[0])


def table(net: Message, phase: str, level: int = 0, stages: Sequence[str] = ()) -> LayerTable:
    """The layers of a net in a state. SourceErrors for what Caffe refuses."""
    if phase not in ("TRAIN", "TEST"):
        raise UserError(f"the phase is caffe.TRAIN or caffe.TEST, not {phase}")
    given = net.sub("state")
    state = NetState(phase, level or given.get("level"), (*given.all("stage"), *map(str, stages)))  # type: ignore[arg-type]
    kept = [_with_top(layer) for layer in net.messages("layer") if state.keeps(layer)]
    for layer in kept:
        _known(layer)
    entries = [_entry(i, layer) for i, layer in enumerate(insert_splits(kept))]
    available = _versions(entries)
    inputs = [top for entry in entries if entry.type == "Input" for top in entry.tops]
    found = LayerTable(net, entries, phase, inputs, sorted(available), bool(net.get("force_backward")))
    _sharing(found)
    return found


def _with_top(layer: Message) -> Message:
    """A loss without a top has one that no text names."""
    row = ROWS.get(layer.get("type"))
    if row is None or not row.loss or layer.has("top"):
        return layer
    found = layer.without(())
    add(found, "top", AUTOMATIC, layer.place("type"))
    return found


def _known(layer: Message) -> None:
    """SourceErrors for a type that there is not, and for other numbers of blobs than it takes."""
    kind = layer.get("type")
    if kind not in ROWS and kind not in HOSTED:
        hint = suggest(kind, [*ROWS, *HOSTED]) or "a layer of a fork of Caffe's"
        raise SourceErrors([SourceError("E710", f"there is no type of layer `{kind}`", layer.place("type"), hint)])
    row = ROWS.get(kind, DATA_ROW)
    for what, (least, most) in (("bottom", row.bottoms), ("top", row.tops)):
        count = len(layer.items(what))
        if not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} or more" if most >= MANY else f"{least} to {most}"
            place = layer.place(what) if count else layer.place("type")
            raise SourceErrors([SourceError("E712", f"{kind}: it takes {wanted} {what}s, {count} are given", place)])


def _entry(number: int, layer: Message) -> LayerEntry:
    tops = layer.all("top")
    given = layer.all("loss_weight")
    found = LayerEntry(number, layer, layer.all("bottom"), tops, given)
    if len(given) not in (0, len(tops)):
        message = f"{len(given)} `loss_weight`s for {len(tops)} tops"
        raise SourceErrors([SourceError("E712", message, layer.place("loss_weight"))])
    if not given:
        found.weights = [1.0 if found.is_loss and i == 0 else 0.0 for i in range(len(tops))]
    return found


def _versions(entries: list[LayerEntry]) -> set[str]:
    """Which value of a blob each bottom reads; the names of the blobs that nobody reads in the end."""
    last: dict[str, Version] = {}
    available: set[str] = set()
    for entry in entries:
        entry.reads = [last[name] for name in entry.bottoms]
        available -= set(entry.bottoms)
        for j, (item, name) in enumerate(zip(entry.message.items("top"), entry.tops, strict=True)):
            assert isinstance(item, Scalar)
            in_place = j < len(entry.bottoms) and entry.bottoms[j] == name
            if name in last and not in_place and name != AUTOMATIC:
                hint = "a blob has one layer that makes it, and may be changed in its place by its only reader"
                raise SourceErrors([SourceError("E711", f"the blob `{name}` is made twice", item.span, hint)])
            last[name] = entry.number, j
        available |= {name for name in entry.tops if name != AUTOMATIC}
    return available


def _sharing(found: LayerTable) -> None:
    """Multipliers of shared parameters must agree."""
    errors: list[SourceError] = []
    layers = [(entry.message, ROWS[entry.type].params) for entry in found.entries if entry.type in ROWS]
    owners(layers, errors.append)
    if errors:
        raise SourceErrors(errors)


def flow(found: LayerTable, learning: Sequence[bool]) -> None:
    """Decide through which layers and bottoms gradients flow. learning: of each layer, whether a parameter has a lr."""
    needed: dict[str, bool] = {}
    for entry, learns in zip(found.entries, learning, strict=True):
        down = entry.message.all("propagate_down")
        entry.needs = list(down) if down else [needed.get(name, False) for name in entry.bottoms]
        entry.need = learns or any(needed.get(name, False) for name in entry.bottoms)
        if entry.need:
            needed |= dict.fromkeys(entry.tops, True)
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for entry in reversed(found.entries):
        contributes = any(w for w in entry.weights) or any(name in under_loss for name in entry.tops)
        skip = all(name in skipped for name in entry.tops)
        if entry.need and skip:
            entry.need, entry.needs = False, [False] * len(entry.bottoms)
        entry.need = entry.need and contributes
        for i, name in enumerate(entry.bottoms):
            if contributes:
                under_loss.add(name)
            else:
                entry.needs[i] = False
            if not entry.needs[i]:
                skipped.add(name)
    if found.force:
        for entry in found.entries:
            entry.need = True
            entry.needs = [need or _forced(entry, i) for i, need in enumerate(entry.needs)]


def _forced(entry: LayerEntry, bottom: int) -> bool:
    """Whether a backward pass that is forced goes to a bottom: not to the labels of a loss."""
    if not entry.is_loss or entry.type == "EuclideanLoss":
        return True
    return bottom != (2 if entry.type == "ContrastiveLoss" else 1)


def layer_type_list() -> list[str]:
    """The types of layers that there are, sorted."""
    return sorted({*ROWS, *HOSTED})
