"""Schema migration: nets and solvers of Caffe's older formats as those of its last one, with places in the old text.

As Caffe does when it reads a file, and in its order: V0 (`layers { layer { … } }`, padding layers folded into what
follows them) to V1 (`layers`, types as enumerations), the transformation's fields out of V1's data layers, V1 to V2
(`layer`, types as texts), `input` with `input_dim` or `input_shape` to an Input layer, the three `param`s of old
BatchNorms set to learn nothing, a solver's `solver_type` to `type`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..source import SourceError, Span
from .legacy import V0_FIELDS, V0_TYPES, V1_TYPES
from .message import Item, Message, Scalar

Report = Callable[[SourceError], None]

TRANSFORMED = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}
_PARAM = (("param", "name"), ("blob_share_mode", "share_mode"), ("blobs_lr", "lr_mult"), ("weight_decay", "decay_mult"))


def upgraded_net(net: Message, report: Report) -> Message:
    """A NetParameter as its last version; what cannot be upgraded is reported as E705."""
    layers = net.messages("layers")
    if layers and net.has("layer"):
        message = "a net has `layer`s or, in the old format, `layers`, not both"
        report(SourceError("E705", message, layers[0].span))
        return net
    if any(layer.has("layer") for layer in layers):
        layers = _from_v0(layers, report)
    found = net.without(("layers", "input", "input_dim", "input_shape"))
    if layers:
        found.fields["layer"] = [_from_v1(_transformed(layer), report) for layer in layers]
    given = _inputs(net, report)
    if given is not None:
        found.fields["layer"] = [given, *found.items("layer")]
    for layer in found.messages("layer"):
        if layer.get("type") == "BatchNorm" and len(layer.items("param")) == 3:
            specs: list[Item] = []
            for spec in layer.messages("param"):
                still: dict[str, list[Item]] = {name: [Scalar(0.0, spec.span)] for name in ("lr_mult", "decay_mult")}
                specs.append(Message(spec.type, spec.span, {**spec.fields, **still}))
            layer.fields["param"] = specs
    return found


def upgraded_solver(solver: Message, report: Report) -> Message:
    """A SolverParameter with its type as a text; E705 where both are given."""
    if not solver.has("solver_type"):
        return solver
    place = solver.place("solver_type")
    if solver.has("type"):
        report(SourceError("E705", "a solver has a `type` or, in the old format, a `solver_type`, not both", place))
    found = solver.without(("solver_type",))
    found.fields["type"] = [Scalar(SOLVER_TYPES[solver.get("solver_type")], place)]
    return found


def _from_v0(layers: list[Message], report: Report) -> list[Message]:
    """V0 layers as V1: what a padding layer says becomes the `pad` of the layer that reads it."""
    padding: dict[str, Message] = {}  # by top, as long as no other layer makes a blob of that name
    found: list[Message] = []
    for layer in layers:
        inner = layer.sub("layer")
        if inner.get("type") == "padding":
            _check_padding(layer, report)
            padding |= dict.fromkeys(layer.all("top"), layer)
            continue
        pad: list[Item] = []
        bottoms: list[Item] = []
        padded = False
        for item in layer.items("bottom"):
            assert isinstance(item, Scalar)
            before = padding.get(item.value)
            bottoms.append(item if before is None else Scalar(before.all("bottom")[0], item.span))
            if before is not None:
                padded, pad = True, before.sub("layer").items("pad")
        if padded and (inner.get("type") not in ("conv", "pool") or len(bottoms) != 1):
            report(SourceError("E705", "padding goes before a conv or a pool of one bottom", layer.span))
        for top in layer.all("top"):
            padding.pop(top, None)
        found.append(_v0_layer(layer, inner, bottoms, pad, report))
    return found


def _check_padding(layer: Message, report: Report) -> None:
    if len(layer.items("bottom")) != 1 or len(layer.items("top")) != 1:
        report(SourceError("E705", "a padding layer has one bottom and one top", layer.span))
        layer.fields["bottom"] = layer.items("bottom")[:1] or [Scalar("", layer.span)]


def _v0_layer(layer: Message, inner: Message, bottoms: list[Item], pad: list[Item], report: Report) -> Message:
    """One V0 layer as a V1 layer."""
    kind = inner.get("type")
    found = Message("V1LayerParameter", layer.span)
    for name, items in (("bottom", bottoms), ("top", layer.items("top")), ("name", inner.items("name"))):
        if items:
            found.fields[name] = items
    if kind in V0_TYPES:
        found.fields["type"] = [Scalar(V0_TYPES[kind], inner.place("type"))]
    else:
        report(SourceError("E705", f"`{kind}` is no type of a V0 layer", inner.place("type"), ", ".join(V0_TYPES)))
    for name in ("blobs", "blobs_lr", "weight_decay"):
        if inner.has(name):
            found.fields[name] = inner.items(name)
    given = {**inner.fields, **({"pad": pad} if pad else {})}
    for name, items in given.items():
        paths = V0_FIELDS.get(name)
        if paths is None:
            continue
        path = paths.get(kind) or paths.get("")
        if path is None:
            message = f"a V0 layer of the type `{kind}` has no `{name}`"
            report(SourceError("E705", message, items[0].span))
            continue
        _put(found, path, items)
    return found


def _put(message: Message, path: str, items: list[Item]) -> None:
    """Items as a field of a message (`data_param.source`), or of the message itself."""
    outer, dot, name = path.partition(".")
    if not dot:
        message.fields[outer] = items
        return
    if not message.has(outer):
        message.add(outer, Message(message.sub(outer).type, items[0].span))
    message.sub(outer).fields[name] = items


def _transformed(layer: Message) -> Message:
    """A V1 layer whose data are transformed as `transform_param` says, not as its data's message does."""
    name = TRANSFORMED.get(layer.get("type"), "") if layer.has("type") else ""
    if not name or not layer.has(name):
        return layer
    old = layer.sub(name)
    moved = [field for field in ("scale", "mean_file", "crop_size", "mirror") if old.has(field)]
    if not moved:
        return layer
    found = layer.without((name, "transform_param"))
    transform = layer.sub("transform_param")
    found.fields[name] = [old.without(moved)]
    found.fields["transform_param"] = [Message(transform.type, transform.span, dict(transform.fields))]
    for field in moved:
        found.sub("transform_param").fields[field] = old.items(field)
    return found


def _from_v1(layer: Message, report: Report) -> Message:
    """One V1 layer as a layer of the last version."""
    if layer.has("layer"):
        report(SourceError("E705", "layers of V0 and of V1 in one net", layer.span))
    found = Message("LayerParameter", layer.span)
    for name, items in layer.fields.items():
        if name.endswith("_param") or name in ("name", "bottom", "top", "include", "exclude", "loss_weight", "blobs"):
            found.fields[name] = items
    if layer.has("type"):
        found.fields["type"] = [Scalar(V1_TYPES[layer.get("type")], layer.place("type"))]
    specs: list[Message] = []
    for old, new in _PARAM:
        for i, item in enumerate(layer.items(old)):
            if i == len(specs):
                specs.append(Message("ParamSpec", item.span))
            specs[i].fields[new] = [item]
    if specs:
        found.fields["param"] = list(specs)
    return found


def _inputs(net: Message, report: Report) -> Message | None:
    """The Input layer that `input` with its sizes stands for; None without any sizes: then Caffe drops the names."""
    names, shapes, dims = net.items("input"), net.messages("input_shape"), net.items("input_dim")
    if not names or not (shapes or dims):
        return None
    place = names[0].span
    if not shapes:
        if len(dims) < 4 * len(names):
            message = f"{len(names)} `input`s want four `input_dim`s each, there are {len(dims)}"
            report(SourceError("E705", message, dims[-1].span))
        shapes = [_shape(dims[4 * i : 4 * i + 4], place) for i in range(len(names))]
    elif len(shapes) < len(names):
        message = f"{len(names)} `input`s want an `input_shape` each, there are {len(shapes)}"
        report(SourceError("E705", message, shapes[-1].span))
    param = Message("InputParameter", place, {"shape": list(shapes[: len(names)])})
    texts: dict[str, Any] = {"name": "input", "type": "Input"}
    fields: dict[str, list[Item]] = {key: [Scalar(text, place)] for key, text in texts.items()}
    return Message("LayerParameter", _hull(names), {**fields, "top": names, "input_param": [param]})


def _shape(dims: list[Item], place: Span) -> Message:
    return Message("BlobShape", _hull(dims) if dims else place, {"dim": dims})


def _hull(items: list[Item]) -> Span:
    return items[0].span.to(items[-1].span)
