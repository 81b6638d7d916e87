"""Static single assignment of one phase of a net: its layers in order as statements, with what its blobs are for.

A blob that a layer changes in its place is bound again. What Caffe refuses is refused here: a bottom that nobody made,
a top made twice, a blob that is changed in its place while another layer reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ...grammar import tree
from ...grammar.caffe.message import Message, Scalar
from ...grammar.caffe.rules import NetState
from ...grammar.source import SourceError, suggest
from . import forms, writer
from .data import Feed, brings_data, feed, inputs
from .layer import MANY, Layer, Row
from .options import Reading
from .parameters import owners
from .rows import ROWS

# A layer of a fork's that reads nothing: it brings data that somebody feeds.
FED = Row("fed", bottoms=(0, 0), tops=(1, MANY))


@dataclass
class Phase:
    """What one state of a net came to.

    statements: by the number of the layer that they are of.
    missing: blobs that nobody makes in this state. errors: all other mistakes.
    """

    statements: list[tuple[int, tree.AnyStatement]] = field(default_factory=list)
    feeds: list[Feed] = field(default_factory=list)
    missing: list[SourceError] = field(default_factory=list)
    errors: list[SourceError] = field(default_factory=list)
    warnings: list[SourceError] = field(default_factory=list)


@dataclass
class _Blob:
    """One value of a blob. uses: the layers that read it, and itself where it is a loss."""

    role: str = "output"  # what it is if nobody reads it
    number: int = 0  # of the layer that makes it
    uses: int = 0
    changed: Layer | None = None  # who changes it in its place


class _Walk:
    """The walk over the layers of a state."""

    def __init__(self, reading: Reading, folder: Path) -> None:
        self.reading, self.folder = reading, folder
        self.found = Phase()
        self.blobs: dict[str, _Blob] = {}
        self.places: dict[str, tree.Name] = {}
        self.available: dict[str, _Blob] = {}
        self.values: list[_Blob] = []
        self.number = 0

    def layer(self, number: int, layer: Layer) -> None:
        self.number = number
        fine = self._counts(layer)
        self._read(layer)
        self._tops(layer)
        if fine and brings_data(layer):
            inputs(layer, self.reading)
            read = feed(layer, self.folder)
            if read is not None:
                self.found.feeds.append(read)
        elif fine:
            (layer.row.form or forms.plain)(layer)
        self.found.feeds += [Feed(layer.message, source) for source in layer.sources]
        self._make(layer)
        if fine:
            self._losses(layer)
        self.found.statements += [(number, statement) for statement in layer.statements]

    def _counts(self, layer: Layer) -> bool:
        """Whether it has as many bottoms, tops and weights of losses as its type takes; reports E712."""
        fine = True
        for what, names, (least, most) in (
            ("bottom", layer.bottoms, layer.row.bottoms),
            ("top", layer.tops, layer.row.tops),
        ):
            if not least <= len(names) <= most:
                wanted = str(least) if least == most else f"{least} or more" if most >= MANY else f"{least} to {most}"
                layer.fail("E712", f"it takes {wanted} {what}s, {len(names)} are given")
                fine = False
        weights, tops = layer.message.items("loss_weight"), max(len(layer.tops), int(layer.row.loss))
        if len(weights) not in (0, tops):
            place = layer.message.place("loss_weight")
            layer.fail("E712", f"{len(weights)} `loss_weight`s for {tops} top{'s' if tops != 1 else ''}", place)
            fine = False
        down = layer.message.items("propagate_down")
        if len(down) not in (0, len(layer.bottoms)):
            message = f"{len(down)} `propagate_down`s for {len(layer.bottoms)} bottoms"
            layer.fail("E712", message, layer.message.place("propagate_down"))
        return fine

    def _read(self, layer: Layer) -> None:
        for i, item in enumerate(layer.message.items("bottom")):
            assert isinstance(item, Scalar)
            blob = self.blobs.get(item.value)
            if blob is None:
                hint = suggest(item.value, self.blobs)
                message = f"{layer.kind}: no layer above makes the blob `{item.value}`"
                self.found.missing.append(SourceError("E711", message, item.span, hint))
                blob = self.blobs[item.value] = _Blob()
            blob.uses += 1
            self.available.pop(item.value, None)
            if i < len(layer.tops) and layer.tops[i] == item.value:
                blob.changed = layer

    def _tops(self, layer: Layer) -> None:
        bottoms = layer.bottoms
        for i, (item, top) in enumerate(zip(layer.message.items("top"), layer.tops, strict=True)):
            in_place = i < len(bottoms) and bottoms[i] == top
            if (top in self.places and not in_place) or layer.tops.index(top) != i:
                layer.fail("E711", f"the blob `{top}` is made twice", item.span, "a blob has one layer that makes it")

    def _make(self, layer: Layer) -> None:
        """Its tops as blobs, with what they are if nobody reads them."""
        role = "metric" if layer.row.metric else "input" if brings_data(layer) else "output"
        for target in layer.targets if layer.tops or layer.row.loss or layer.row.metric else []:
            blob = _Blob(role, self.number)
            self.values.append(blob)
            self.blobs[target.name] = self.available[target.name] = blob
            self.places[target.name] = target

    def _losses(self, layer: Layer) -> None:
        """The roles of its tops with a weight in the objective."""
        weights = layer.message.all("loss_weight") or ([1.0] if layer.row.loss else [])
        for i, (target, weight) in enumerate(zip(layer.targets, weights, strict=False)):
            if not weight:
                continue
            place = layer.message.items("loss_weight")[i].span if layer.message.has("loss_weight") else target.span
            self.blobs[target.name].uses += 1
            own = layer.row.loss and i == 0
            value: tree.Expr = target
            title = writer.name(target.name.removeprefix("_"), target.span)
            if own:
                self.available.pop(target.name, None)
            else:
                value = writer.call("sum", [writer.arg("", target, place)], place)
                title = writer.name(f"{target.name}_loss", target.span)
            layer.statements.append(writer.role("loss", title, value, place, weight))

    def unknown(self, layer: Message) -> None:
        """A layer of a type that there is not: of its tops nothing is known but that they are made."""
        for top in layer.all("top"):
            self.blobs.setdefault(top, _Blob())

    def end(self) -> Phase:
        """What nobody read is an output, or a number to watch; that is said beside what makes it."""
        for name, blob in self.available.items():
            target = self.places[name]
            statement: tree.AnyStatement
            if blob.role == "input":
                statement = writer.bind([writer.name(f"_{name}", target.span)], target, target.span)
            else:
                title = writer.name(name.removeprefix("_"), target.span)
                kind: tree.RoleKind = "metric" if blob.role == "metric" else "output"
                statement = writer.role(kind, title, target, target.span)
            self.found.statements.append((blob.number, statement))
        self.found.statements.sort(key=lambda pair: pair[0])
        for blob in self.values:
            if blob.changed is not None and blob.uses > 1:
                top = blob.changed.tops[0]
                blob.changed.fail("E711", f"it changes `{top}` in its place, which another layer reads as well")
        return self.found


def phase(net: Message, state: NetState, reading: Reading, folder: Path) -> Phase:
    """A net in one state. folder: of its file."""
    walk = _Walk(reading, folder)
    errors, warnings = walk.found.errors, walk.found.warnings

    def report(error: SourceError) -> None:
        (errors if error.severity == "error" else warnings).append(error)

    kept = [(i, layer) for i, layer in enumerate(net.messages("layer")) if state.keeps(layer)]
    rows = {i: _row(layer, walk.found) for i, layer in kept}
    names = owners(((layer, row.params) for i, layer in kept if (row := rows[i]) is not None), report)
    for number, message in kept:
        row = rows[number]
        if row is None:
            walk.unknown(message)
            continue
        training = (message.get("phase") if message.has("phase") else state.phase) == "TRAIN"
        walk.layer(number, Layer(message, row, training, names, report))
    return walk.end()


def _row(layer: Message, found: Phase) -> Row | None:
    """The row of a layer's type; None (reported) where there is none."""
    from .data import DATA

    kind, place = layer.get("type"), layer.place("type")
    if kind in ROWS:
        return ROWS[kind]
    if kind in DATA:
        return Row("", bottoms=(0, 0), tops=(1, MANY))
    if not layer.has("bottom") and layer.has("top"):
        message = f"`{kind}` is no layer of Caffe's; what it brings must be fed"
        found.warnings.append(SourceError("W605", message, place))
        return FED
    hint = suggest(kind, [*ROWS, *DATA]) or "a layer of a fork of Caffe's, or of the user's"
    found.errors.append(SourceError("E710", f"there is no type of layer `{kind}`", place, hint))
    return None
