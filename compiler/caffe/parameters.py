"""Learned tensors of a prototxt: fillers, multipliers and sharing, as the arguments of a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...grammar import tree
from ...grammar.caffe.message import Message
from ...grammar.source import SourceError, Span
from . import writer
from .layer import Layer, Owner, Param, Report

# The fields that a filler reads, by its type; Caffe reads no others.
FILLER_FIELDS = {
    "constant": ("value",),
    "uniform": ("min", "max"),
    "gaussian": ("mean", "std", "sparse"),
    "xavier": ("variance_norm",),
    "msra": ("variance_norm",),
}


def filler(message: Message) -> tree.Call:
    """`gaussian(std: 0.01)`: a FillerParameter as a filler."""
    kind = message.get("type")
    args = []
    for field in FILLER_FIELDS.get(kind, ()):
        if message.has(field):
            value = message.get(field)
            ours = "variance" if field == "variance_norm" else field
            args.append(writer.arg(ours, value.lower() if isinstance(value, str) else value, message.place(field)))
    place = message.place("type") if message.has("type") else message.span
    return writer.call(str(kind), args, place)


def arguments(layer: Layer, message: Message, params: Sequence[Param], all_: Sequence[Param]) -> list[tree.Arg]:
    """`weight: …, bias: …, lr: […], decay: […]` of a layer that has `params`, out of all that its type may have."""
    specs = layer.message.messages("param")
    if len(specs) > len(params):
        hint = f"it has {len(params)}: {', '.join(p.name for p in params)}" if params else "it has none"
        layer.fail("E713", f"there are {len(specs)} `param`s, more than it has parameters", specs[-1].span, hint)
    args: list[tree.Arg] = []
    multipliers: dict[str, tuple[float, float]] = {}
    for i, param in enumerate(params):
        spec = specs[i] if i < len(specs) else Message("ParamSpec", layer.place)
        owner = layer.owners.get(spec.get("name"))
        if owner is not None and (owner.layer, owner.parameter) != (layer.name, param.name):
            at = spec.place("name")
            parts = writer.name(owner.layer, at), writer.name(owner.parameter, at)
            value = tree.Path(at, parts, permissive=spec.get("share_mode") == "PERMISSIVE")
            args.append(writer.arg(param.name, value, at))
            continue
        multipliers[param.name] = (owner.lr, owner.decay) if owner else (spec.get("lr_mult"), spec.get("decay_mult"))
        if message.has(param.filler):
            args.append(writer.arg(param.name, filler(message.sub(param.filler)), message.place(param.filler)))
        elif param.zero:
            args.append(writer.arg(param.name, "constant", layer.place))
    for which, setting in enumerate(("lr", "decay")):
        values = [multipliers.get(param.name, (1.0, 1.0))[which] for param in all_]
        if any(value != 1.0 for value in values):
            place = specs[0].span if specs else layer.place
            args.append(writer.arg(setting, values, place))
    return args


def owners(layers: Iterable[tuple[Message, Sequence[Param]]], report: Report) -> dict[str, Owner]:
    """The parameters with names: whose they are, and their multipliers; E713 where sharers contradict each other.

    As in Caffe the first layer with a name owns it, and the first that says a multiplier says it for all.
    """
    found: dict[str, Owner] = {}
    said: dict[tuple[str, str], tuple[float, Span]] = {}
    for layer, params in layers:
        for spec, param in zip(layer.messages("param"), params, strict=False):
            name = spec.get("name")
            if not name:
                continue
            found.setdefault(name, Owner(layer.get("name"), param.name, 1.0, 1.0))
            for field in ("lr_mult", "decay_mult"):
                if not spec.has(field):
                    continue
                value, place = said.setdefault((name, field), (spec.get(field), spec.place(field)))
                if value != spec.get(field):
                    message = f"`{name}` is shared, and its {field} is {value:g} in line {place.line}"
                    report(SourceError("E713", message, spec.place(field), "what is shared has one"))
    return {
        name: Owner(
            one.layer, one.parameter, said.get((name, "lr_mult"), (1.0,))[0], said.get((name, "decay_mult"), (1.0,))[0]
        )
        for name, one in found.items()
    }
