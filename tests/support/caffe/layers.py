"""Caffe's layers as calls of ours: the types and fields that the conformance cases use, and no more.

Not the Caffe front end: no defaults of nets, no solver, no errors for users.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netc.compiler import expr, ops
from netc.compiler.graph import Node
from netc.compiler.schema.fillers import constant
from support.caffe.prototxt import Message
from support.standalone import Standalone

Settings = dict[str, Any]

# Fields that only change their name: (our layer, Caffe's message, {Caffe's field: our setting}).
RENAMED: dict[str, tuple[str, str, dict[str, str]]] = {
    "AbsVal": ("abs", "", {}),
    "BNLL": ("softplus", "", {}),
    "BatchReindex": ("batch_reindex", "", {}),
    "Bias": ("bias", "bias_param", {"axis": "axis", "num_axes": "num_axes"}),
    "Clip": ("clip", "clip_param", {"min": "min", "max": "max"}),
    "Concat": ("concat", "concat_param", {"axis": "axis", "concat_dim": "axis"}),
    "ContrastiveLoss": ("contrastive_loss", "contrastive_loss_param", {"margin": "margin"}),
    "Crop": ("crop", "crop_param", {"axis": "axis", "offset": "offset*"}),
    "Dropout": ("dropout", "dropout_param", {"dropout_ratio": "ratio"}),
    "ELU": ("elu", "elu_param", {"alpha": "alpha"}),
    "Eltwise": ("eltwise", "eltwise_param", {"operation": "operation", "coeff": "coeff*"}),
    "Embed": ("embed", "embed_param", {"num_output": "out", "input_dim": "size", "bias_term": "bias"}),
    "EuclideanLoss": ("euclidean_loss", "", {}),
    "Exp": ("exp", "exp_param", {"base": "base", "scale": "scale", "shift": "shift"}),
    "Flatten": ("flatten", "flatten_param", {"axis": "axis", "end_axis": "end_axis"}),
    "HingeLoss": ("hinge_loss", "hinge_loss_param", {"norm": "norm"}),
    "InfogainLoss": ("infogain_loss", "infogain_loss_param", {"axis": "axis"}),
    "InnerProduct": (
        "linear",
        "inner_product_param",
        {"num_output": "out", "bias_term": "bias", "axis": "axis", "transpose": "transpose"},
    ),
    "Log": ("log", "log_param", {"base": "base", "scale": "scale", "shift": "shift"}),
    "LRN": ("lrn", "lrn_param", {"local_size": "size", "alpha": "alpha", "beta": "beta", "k": "k"}),
    "MVN": (
        "mvn",
        "mvn_param",
        {"normalize_variance": "normalize_variance", "across_channels": "across_channels", "eps": "eps"},
    ),
    "MultinomialLogisticLoss": ("multinomial_loss", "", {}),
    "PReLU": ("prelu", "prelu_param", {"channel_shared": "channel_shared"}),
    "Power": ("power", "power_param", {"power": "power", "scale": "scale", "shift": "shift"}),
    "ReLU": ("relu", "relu_param", {"negative_slope": "negative_slope"}),
    "Reduction": ("reduction", "reduction_param", {"operation": "operation", "axis": "axis", "coeff": "coeff"}),
    "SPP": ("spp", "spp_param", {"pyramid_height": "height"}),
    "Scale": ("scale", "scale_param", {"axis": "axis", "num_axes": "num_axes", "bias_term": "bias"}),
    "Sigmoid": ("sigmoid", "", {}),
    "SigmoidCrossEntropyLoss": ("sigmoid_loss", "", {}),
    "Slice": ("split", "slice_param", {"axis": "axis", "slice_dim": "axis", "slice_point": "at*"}),
    "Softmax": ("softmax", "softmax_param", {"axis": "axis"}),
    "SoftmaxWithLoss": ("softmax_loss", "softmax_param", {"axis": "axis"}),
    "Swish": ("swish", "swish_param", {"beta": "beta"}),
    "TanH": ("tanh", "", {}),
    "Threshold": ("threshold", "threshold_param", {"threshold": "threshold"}),
    "Tile": ("tile", "tile_param", {"axis": "axis", "tiles": "tiles"}),
}


def _renamed(layer: Message, message: str, fields: dict[str, str]) -> Settings:
    given = layer.get(message, [{}])[0]
    settings: Settings = {}
    for field, values in given.items():
        if field in fields:
            ours = fields[field]
            settings[ours.rstrip("*")] = tuple(values) if ours.endswith("*") else values[-1]
    return settings


def _geometry(given: Message, kernel: str = "kernel_size") -> Settings:
    settings: Settings = {}
    for ours, caffe in (("kernel", kernel), ("stride", "stride"), ("pad", "pad"), ("dilation", "dilation")):
        stem = caffe.removesuffix("_size")
        if f"{stem}_h" in given or f"{stem}_w" in given:
            settings[ours] = (given.get(f"{stem}_h", [0])[0], given.get(f"{stem}_w", [0])[0])
        elif caffe in given:
            settings[ours] = tuple(given[caffe])
    return settings


def _normalization(layer: Message) -> Settings:
    given = layer.get("loss_param", [{}])[0]
    settings: Settings = {}
    if "ignore_label" in given:
        settings["ignore"] = given["ignore_label"][0]
    if "normalization" in given:
        settings["normalization"] = given["normalization"][0]
    elif "normalize" in given:
        settings["normalization"] = "valid" if given["normalize"][0] else "batch_size"
    return settings


def _convolution(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    given = layer["convolution_param"][0]
    settings = _geometry(given)
    if layer["type"][0] == "Im2col":
        return [context.call("im2col", bottoms[0], layer=name, **settings)]
    renamed = {"num_output": "out", "group": "group", "bias_term": "bias", "axis": "axis"}
    settings |= _renamed(layer, "convolution_param", renamed)
    kind = "conv" if layer["type"][0] == "Convolution" else "deconv"
    return [context.call(kind, x, layer=name, **settings) for x in bottoms]


def _pooling(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    given = layer["pooling_param"][0]
    settings = _geometry(given)
    if given.get("global_pooling") == [True]:
        settings["global_"] = True
    else:
        settings.setdefault("stride", 1)
    if "round_mode" in given:
        settings["round"] = given["round_mode"][0]
    kind = "avg_pool" if given.get("pool") == ["ave"] else "max_pool"
    return [context.call(kind, bottoms[0], layer=name, **settings)]


def _reshape(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    given = layer["reshape_param"][0]
    settings = _renamed(layer, "reshape_param", {"axis": "axis", "num_axes": "num_axes"})
    shape = tuple(given["shape"][0]["dim"])
    return [context.call("reshape", bottoms[0], layer=name, shape=shape, **settings)]


def _batch_norm(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    fields = {"eps": "eps", "moving_average_fraction": "moving_average_fraction"}
    fields |= {"use_global_stats": "use_global_stats"}
    settings = _renamed(layer, "batch_norm_param", fields)
    return [context.call("batch_norm", bottoms[0], layer=name, affine=False, **settings)]


def _accuracy(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    fields = {"top_k": "top_k", "axis": "axis", "ignore_label": "ignore"}
    settings = _renamed(layer, "accuracy_param", fields)
    per_class = len(layer["top"]) == 2
    y = context.call("accuracy", *bottoms, layer=name, per_class=per_class, **settings)
    return list(y) if per_class else [y]


def _argmax(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    """Caffe's has floats for indices, and one top: values along an axis, else indices and values side by side."""
    settings = _renamed(layer, "argmax_param", {"top_k": "top_k", "axis": "axis"})
    index, value = context.call("argmax", bottoms[0], layer=name, values=True, **settings)
    index = expr.cast(index, "f32")
    if layer["argmax_param"][0].get("out_max_val") != [True]:
        return [index]
    return [value] if "axis" in settings else [ops.concat(index, value, axis=1)]


def _parameter(context: Standalone, layer: Message, bottoms: list[Node], name: str) -> list[Node]:
    context.layer = name
    shape = tuple(layer["parameter_param"][0]["shape"][0]["dim"])
    return [context.parameter("weight", shape, constant())]


Convert = Callable[[Standalone, Message, list[Node], str], list[Node]]
SPECIAL: dict[str, Convert] = {
    "Accuracy": _accuracy,
    "ArgMax": _argmax,
    "BatchNorm": _batch_norm,
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "Im2col": _convolution,
    "Parameter": _parameter,
    "Pooling": _pooling,
    "Reshape": _reshape,
    "Split": lambda context, layer, bottoms, name: bottoms * len(layer["top"]),
}


def convert(context: Standalone, layer: Message, bottoms: list[Node]) -> list[Node]:
    """The tops of one of Caffe's layers. KeyError for a type that is neither in RENAMED nor in SPECIAL."""
    kind, name = layer["type"][0], layer["name"][0]
    if kind in SPECIAL:
        return SPECIAL[kind](context, layer, bottoms, name)
    ours, message, fields = RENAMED[kind]
    settings = _renamed(layer, message, fields) | (_normalization(layer) if "loss_param" in layer else {})
    if kind in ("Scale", "Bias") and len(bottoms) == 2:
        settings["by"] = bottoms.pop()
    if kind == "LRN" and layer["lrn_param"][0].get("norm_region") == ["within_channel"]:
        settings["region"] = "within"
    if kind == "SPP" and layer["spp_param"][0].get("pool") == ["ave"]:
        settings["pool"] = "avg"
    if kind == "Slice" and "at" not in settings:
        settings["parts"] = len(layer["top"])
    if kind == "Exp" and settings.get("base") == -1:
        del settings["base"]
    tops = context.call(ours, *bottoms, layer=name, **settings)
    return list(tops) if isinstance(tops, tuple) else [tops]


# The order of Caffe's parameter blobs, by our names.
BLOBS: dict[str, tuple[str, ...]] = {"BatchNorm": ("mean", "variance", "factor"), "Bias": ("bias",)}


def blob_names(layer: Message, two_bottoms: bool) -> tuple[str, ...]:
    """Our names for a layer's parameter blobs, in Caffe's order."""
    kind = layer["type"][0]
    if kind == "Scale" and two_bottoms:
        return ("bias",)
    return BLOBS.get(kind, ("weight", "bias"))
