"""Calls that are more than a layer of Caffe's with renamed settings: a function each, the way back of `forms.py`."""

from __future__ import annotations

from collections.abc import Sequence

from ....grammar.caffe.message import Message
from ....grammar.source import Span
from ...types import Dim
from ..layer import Param
from .making import Call, named_layer, put, sub, trimmed


def plain(call: Call) -> list[Message]:
    """One layer with the settings of its row, and its parameters."""
    layer = call.layer()
    if call.row.message:
        own = sub(layer, call.row.message)
        call.settings(own)
        call.params(own, call.row.params, layer)
    return [trimmed(layer)]


def product(call: Call) -> list[Message]:
    """InnerProduct and Embed, whose bias may be left out."""
    layer = call.layer()
    own = sub(layer, call.row.message)
    call.settings(own)
    _product_params(call, own, layer)
    return [trimmed(layer)]


def _product_params(call: Call, own: Message, layer: Message) -> None:
    biased = "bias" in call.applied.params
    if not biased:
        put(own, "bias_term", False, call.place)
    call.params(own, call.row.params if biased else call.row.params[:1], layer)


def convolution(call: Call) -> list[Message]:
    """Convolution and Deconvolution."""
    layer = call.layer()
    own = sub(layer, call.row.message)
    call.settings(own)
    geometry(call, own, ("kernel", "stride", "pad", "dilation"))
    _product_params(call, own, layer)
    return [trimmed(layer)]


def geometry(call: Call, own: Message, settings: Sequence[str]) -> None:
    """kernel, stride, pad and dilation: one value for all axes, or one for each."""
    for setting in settings:
        value = call.given(setting)
        values = list(value) if isinstance(value, tuple) else [value]
        if value is None:
            continue
        caffe = "kernel_size" if setting == "kernel" else setting
        if len(set(values)) == 1:
            put(own, caffe, values[:1], call.place)
        elif setting == "dilation" or (len(values) != 2 and call.kind != "Pooling"):
            put(own, caffe, values, call.place)
        elif len(values) == 2:
            put(own, f"{setting}_h", values[0], call.place)
            put(own, f"{setting}_w", values[1], call.place)
        else:
            raise call.fail(f"its {setting} has {len(values)} sizes", "Caffe pools over images, of two axes")


def im2col(call: Call) -> list[Message]:
    """Im2col takes a convolution's geometry."""
    layer = call.layer()
    geometry(call, sub(layer, call.row.message), ("kernel", "stride", "pad", "dilation"))
    return [trimmed(layer)]


def pooling(call: Call) -> list[Message]:
    """Pooling by its method; without a stride ours is the kernel, Caffe's is 1."""
    layer = call.layer()
    own = sub(layer, call.row.message)
    method = {"max_pool": "MAX", "avg_pool": "AVE", "stochastic_pool": "STOCHASTIC"}[call.info.kind]
    put(own, "pool", method, call.place)
    if call.setting("global"):
        put(own, "global_pooling", True, call.place)
    else:
        geometry(call, own, ("kernel", "stride", "pad"))
        if call.setting("stride") is None:
            kernel = call.setting("kernel")
            sides = list(kernel) if isinstance(kernel, tuple) else [kernel]
            if len(set(sides)) == 1:
                put(own, "stride", sides[0], call.place)
            else:
                put(own, "stride_h", sides[0], call.place)
                put(own, "stride_w", sides[1], call.place)
    if call.given("round"):
        put(own, "round_mode", call.given("round").upper(), call.place)
    return [trimmed(layer)]


def recurrent(call: Call) -> list[Message]:
    """RNN and LSTM of x, cont, what is static, and the values before the first step."""
    layer = call.layer(bottoms=[one for key in ("x", "cont", "static", "h0", "c0") if (one := call.operand(key))])
    own = sub(layer, call.row.message)
    call.settings(own)
    if call.operand("h0") is not None:
        put(own, "expose_hidden", True, call.place)
    static = call.operand("static") is not None
    call.params(own, [one for one in call.row.params if static or one.name != "static_weight"], layer)
    return [trimmed(layer)]


def lrn(call: Call) -> list[Message]:
    """LRN across channels, or within one."""
    (layer,) = plain(call)
    if call.setting("region") == "within":
        put(_own(call, layer), "norm_region", "WITHIN_CHANNEL", call.place)
    return [layer]


def _own(call: Call, layer: Message) -> Message:
    return layer.messages(call.row.message)[0] if layer.has(call.row.message) else sub(layer, call.row.message)


def spp(call: Call) -> list[Message]:
    """SPP of the largest or of averages."""
    (layer,) = plain(call)
    if call.setting("pool") == "avg":
        put(_own(call, layer), "pool", "AVE", call.place)
    return [layer]


def reshape(call: Call) -> list[Message]:
    """Reshape: a batch that stands in its own place is kept, as 0 says."""
    layer = call.layer()
    own = sub(layer, call.row.message)
    shape = call.setting("shape")
    sizes = shape if isinstance(shape, tuple) else (shape,)
    first = call.setting("axis") == 0
    dims = [0 if isinstance(n, Dim) and i == 0 and first else int(n) for i, n in enumerate(sizes)]
    put(sub(own, "shape"), "dim", dims, call.place)
    call.settings(own)
    return [trimmed(layer)]


def batch_norm(call: Call) -> list[Message]:
    """BatchNorm; what is learned is a layer of its own, a Scale."""
    if call.setting("synchronized"):
        raise call.fail("its statistics are those of all processes", "Caffe's are of each: synchronized: false")
    layer = call.layer()
    call.settings(sub(layer, call.row.message))
    if not call.setting("affine"):
        return [trimmed(layer)]
    name = f"scale{call.name[2:]}" if call.name.startswith("bn") else f"{call.name}_scale"
    top = call.tops[0]
    layer.fields.pop("top")
    put(layer, "top", f"{top}_norm", call.place)
    after = call.layer("Scale", name=name, bottoms=[])
    after.fields = {key: value for key, value in after.fields.items() if key != "propagate_down"}
    put(after, "bottom", f"{top}_norm", call.place)
    own = sub(after, "scale_param")
    put(own, "bias_term", True, call.place)
    call.params(own, SCALED, after)
    call.said = "the weight and bias of a batch_norm are those of a layer of their own, a Scale"
    return [trimmed(layer), trimmed(after)]


# Of the layer that follows a batch norm.
SCALED = (Param("weight", "filler", first=1.0), Param("bias", "bias_filler"))


def spread(call: Call) -> list[Message]:
    """Scale and Bias: a learned tensor spread over the first bottom, or the second bottom in its place."""
    by = call.operand("by")
    (first, *_) = call.bottoms
    layer = call.layer(bottoms=[first, *([by] if by is not None else [])])
    own = sub(layer, call.row.message)
    call.settings(own, None if by is None else ("axis",))
    params = list(call.row.params[1:] if by is not None else call.row.params)
    if call.info.kind == "scale":
        if "bias" in call.applied.params:
            put(own, "bias_term", True, call.place)
        else:
            params.pop()
    call.params(own, params, layer)
    return [trimmed(layer)]


def normalized(call: Call) -> list[Message]:
    """Losses that leave labels out, and are divided by a number of choice."""
    (layer,) = plain(call)
    given = sub(layer, "loss_param")
    if call.setting("ignore") is not None:
        put(given, "ignore_label", call.setting("ignore"), call.place)
    usual = "valid"  # Caffe's own default is that of most of its losses, whatever ours is
    if call.given("normalization") or call.default("normalization") != usual:
        put(given, "normalization", call.setting("normalization").upper(), call.place)
    return [trimmed(layer)]


def infogain_loss(call: Call) -> list[Message]:
    """InfogainLoss with its matrix as a bottom, or from a file."""
    (layer,) = normalized(call)
    if call.setting("file"):
        put(_own(call, layer), "source", call.setting("file"), call.place)
    return [layer]


def argmax(call: Call) -> list[Message]:
    """ArgMax, whose indices are floats in Caffe; of indices and values it gives both as one blob, or the values."""
    if call.setting("values"):
        raise call.fail("it gives indices and values", "an ArgMax of Caffe's has one top: leave `values` out")
    return plain(call)


def full(call: Call) -> list[Message]:
    """DummyData of a constant."""
    layer = call.layer()
    own = sub(layer, call.row.message)
    filler = Message("FillerParameter", call.place)
    put(filler, "type", "constant", call.place)
    if call.given("value") is not None:
        put(filler, "value", call.setting("value"), call.place)
    own.add("data_filler", filler)
    shape = call.setting("shape")
    put(sub(own, "shape"), "dim", list(shape) if isinstance(shape, tuple) else [shape], call.place)
    return [trimmed(layer)]


def host(call: Call) -> list[Message]:
    """Python: a layer of the user's."""
    if call.operand("like") is not None:
        raise call.fail("its results are like another value", "a Python layer of Caffe's says its shapes itself")
    layer = call.layer()
    own = sub(layer, call.row.message)
    module, _, name = str(call.setting("function")).partition(":")
    for caffe, value in (("module", module), ("layer", name), ("param_str", call.setting("settings"))):
        if value:
            put(own, caffe, value, call.place)
    return [trimmed(layer)]


def parameter(name: str, top: str, info_shape: Sequence[int], multipliers: tuple[float, float], place: Span) -> Message:
    """Parameter: a learned tensor of the net, 0 at first."""
    layer = named_layer("Parameter", name, [], [top], place)
    spec = Message("ParamSpec", place)
    for caffe, value in zip(("lr_mult", "decay_mult"), multipliers, strict=True):
        if value != 1.0:
            put(spec, caffe, value, place)
    if spec.fields:
        layer.add("param", spec)
    put(sub(sub(layer, "parameter_param"), "shape"), "dim", list(info_shape), place)
    return layer
