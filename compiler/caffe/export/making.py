"""One layer of a net while it is written as Caffe's: its operands as bottoms, its settings as fields.

What a row of `rows.py` says of reading holds here the other way round: a setting that has its usual value is a field
that is not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....grammar.caffe.message import Message, Scalar
from ....grammar.caffe.schema import fields_of
from ....grammar.source import SourceError, Span
from ...build.state import Applied
from ...graph import Node
from ...layers import LAYERS
from ...net import LayerInfo
from ...program import StateInfo
from ...spec import Filler
from ..layer import Param, Row
from ..parameters import FILLER_FIELDS

ZERO = ("constant", 0.0)


class NoLayer(Exception):
    """A layer that Caffe does not have; the error has its place."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True)
class Operand:
    """A bottom: the blob, and whether a gradient flows through it."""

    blob: str
    node: Node
    down: bool = True


@dataclass(frozen=True)
class Style:
    """How a net is written. learning: with what concerns training alone, fillers and multipliers.

    shared: names of parameters that several layers have, by their names in the net. owners: the layers that are
    written first with each parameter, as Caffe's owners, in the form `layer.parameter`.
    """

    learning: bool = True
    shared: Mapping[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A call of the net, and what is said about it.

    row: of the table of Caffe's types, for one of its layers. kind: Caffe's type. name: of the layer that is written.
    tops: its blobs. state: the tensors of the net. said: how the layer computes the same in another way, where it does.
    """

    info: LayerInfo
    applied: Applied
    name: str
    operands: list[tuple[str, Operand | float]]
    tops: list[str]
    outputs: tuple[Node, ...]
    state: Mapping[str, StateInfo]
    style: Style
    row: Row
    kind: str = ""
    said: str = ""

    @property
    def place(self) -> Span:
        return self.info.span

    @property
    def bottoms(self) -> list[Operand]:
        return [one for _, one in self.operands if isinstance(one, Operand)]

    def operand(self, name: str) -> Operand | None:
        """The operand that is given by this name."""
        return next((one for key, one in self.operands if key == name and isinstance(one, Operand)), None)

    def fail(self, message: str, hint: str = "") -> NoLayer:
        """The error, to be raised, about something that Caffe cannot say."""
        what = f"`{self.info.name}`: {message}"
        return NoLayer(SourceError("E730", what, self.place, hint))

    def default(self, setting: str) -> Any:
        """What holds where a setting is not given."""
        for name, parameter in LAYERS[self.info.kind].signature.parameters.items():
            if name.rstrip("_") == setting:
                return None if parameter.default is parameter.empty else parameter.default
        return None

    def setting(self, name: str) -> Any:
        """The value of a setting, given or not."""
        found = dict(self.info.settings)
        return found[name] if name in found else self.default(name)

    def given(self, name: str) -> Any:
        """The value of a setting where it is not what holds anyway, else None."""
        value = self.setting(name)
        return None if value == self.default(name) else value

    def layer(
        self,
        kind: str = "",
        *,
        name: str = "",
        bottoms: Sequence[Operand] | None = None,
        tops: Sequence[str] | None = None,
    ) -> Message:
        """A layer of its type (or of another), with its name, bottoms and tops."""
        below = self.bottoms if bottoms is None else bottoms
        made = named_layer(
            kind or self.kind,
            name or self.name,
            [one.blob for one in below],
            self.tops if tops is None else tops,
            self.place,
        )
        if not all(one.down for one in below):
            put(made, "propagate_down", [one.down for one in below], self.place)
        return made

    def settings(self, into: Message, names: Iterable[str] | None = None) -> None:
        """The fields that its row names, where their settings are given; into: the layer's own message."""
        done = set()
        for caffe, ours in self.row.settings.items():
            key = ours.rstrip("*~")
            value = self.given(key)
            if key in done or value is None or (names is not None and key not in names):
                continue
            done.add(key)
            if ours.endswith("*"):
                value = value if isinstance(value, tuple) else (value,)
            elif ours.endswith("~"):
                value = value.upper()
            put(into, caffe, value, self.place)

    def params(self, into: Message, params: Sequence[Param], layer: Message) -> None:
        """Fillers into its own message, multipliers and names into the layer."""
        specs: list[Message] = []
        for param in params:
            node = self.applied.params.get(param.name)
            spec = Message("ParamSpec", self.place)
            specs.append(spec)
            if node is None:
                continue
            if node.op.name != "param" or node.attrs["name"] not in self.state:
                raise self.fail(f"its {param.name} is no parameter", "Caffe's layers share parameters, not values")
            info = self.state[node.attrs["name"]]
            if info.layer == info.name:
                raise self.fail(f"its {param.name} is `{info.name}`", "Caffe's layers share those of layers alone")
            shared = self.style.shared.get(info.name)
            mine = f"{layer.get('name')}.{param.name}"
            own = self.style.owners.setdefault(info.name, mine) == mine
            if shared is not None:
                put(spec, "name", shared, self.place)
            if param.name in self.applied.permissive:
                put(spec, "share_mode", "PERMISSIVE", self.place)
            if not own or not self.style.learning:
                continue
            self._filler(into, param, info.filler)
            for caffe, value in (("lr_mult", info.lr), ("decay_mult", info.decay)):
                if value != 1.0:
                    put(spec, caffe, value, self.place)
        while specs and not specs[-1].fields:
            specs.pop()
        for spec in specs:
            if not spec.fields:
                put(spec, "lr_mult", 1.0, self.place)
            layer.add("param", spec)

    def _filler(self, into: Message, param: Param, filler: Filler) -> None:
        value = filler.get("value", 0.0) if filler.name == "constant" else None
        if param.filler and value != (0.0 if param.zero else param.first):
            into.add(param.filler, self.filler_of(filler))
        elif not param.filler and value != 0.0:
            raise self.fail(f"it begins as {filler}", "a Parameter of Caffe's begins with 0")

    def filler_of(self, filler: Filler) -> Message:
        """A filler as a FillerParameter."""
        if filler.name not in (*FILLER_FIELDS, "positive_unitball", "bilinear"):
            raise self.fail(
                f"there is no filler `{filler.name}` in Caffe", "its fillers are " + ", ".join(FILLER_FIELDS)
            )
        made = Message("FillerParameter", self.place)
        put(made, "type", filler.name, self.place)
        for caffe in FILLER_FIELDS.get(filler.name, ()):
            value = filler.get("variance" if caffe == "variance_norm" else caffe)
            value = value.upper() if isinstance(value, str) else value
            if value is not None and value != fields_of(made.type)[caffe].default:
                put(made, caffe, value, self.place)
        return made


def named_layer(kind: str, name: str, bottoms: Sequence[str], tops: Sequence[str], place: Span) -> Message:
    """A LayerParameter with what every layer has."""
    made = Message("LayerParameter", place)
    for caffe, value in (("name", name), ("type", kind), ("bottom", bottoms), ("top", tops)):
        put(made, caffe, value, place)
    return made


def put(message: Message, name: str, value: Any, place: Span) -> None:
    """Set a field: a list is a repeated one, whole numbers stay such where the field is of them."""
    kind = fields_of(message.type)[name].type
    for one in value if isinstance(value, list | tuple) else [value]:
        whole = kind not in ("float", "double") and isinstance(one, int | float) and not isinstance(one, bool)
        message.add(name, Scalar(int(one) if whole else one, place))


def sub(message: Message, name: str) -> Message:
    """The message of a field, which is added; where nothing comes into it, `trimmed` takes it off again."""
    made = Message(fields_of(message.type)[name].type, message.span)
    message.add(name, made)
    return made


def trimmed(layer: Message) -> Message:
    """A layer without messages that say nothing, its fields in the order of people: rules before settings."""
    found = {
        name: [item for item in items if not isinstance(item, Message) or item.fields]
        for name, items in layer.fields.items()
    }
    layer.fields = {name: items for name, items in found.items() if items}
    return layer
