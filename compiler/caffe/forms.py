"""Layers of Caffe's that are more than one call with renamed settings: a function each, which writes its statements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...grammar import tree
from ...grammar.caffe.message import Message
from ...grammar.source import SourceError
from . import writer
from .files import written
from .layer import Layer, Param
from .parameters import arguments


def plain(layer: Layer) -> None:
    """One call with the settings of its row."""
    layer.bind(layer.call(layer.row.callee, [*layer.positional(layer.operands), *layer.settings()]))


def learned(layer: Layer) -> None:
    """One call with settings and parameters."""
    _learned(layer, layer.row.params, layer.operands, [])


def _learned(layer: Layer, params: Sequence[Param], operands: Sequence[tree.Expr], more: Sequence[tree.Arg]) -> None:
    args = arguments(layer, layer.given, params, layer.row.params)
    layer.bind(layer.call(layer.row.callee, [*layer.positional(operands), *layer.settings(), *more, *args]))


def _product_args(layer: Layer) -> list[tree.Arg]:
    """Parameters of a product, whose bias may be left out."""
    given, all_ = layer.given, layer.row.params
    if given.get("bias_term"):
        return arguments(layer, given, all_, all_)
    return [*arguments(layer, given, all_[:1], all_), layer.arg("bias", given, "bias_term", "none")]


def product(layer: Layer) -> None:
    """InnerProduct and Embed."""
    _needs(layer, "num_output")
    layer.bind(
        layer.call(layer.row.callee, [*layer.positional(layer.operands), *layer.settings(), *_product_args(layer)])
    )


def _needs(layer: Layer, field: str) -> None:
    if not layer.given.has(field):
        layer.fail("E714", f"`{field}` is missing")


def convolution(layer: Layer) -> None:
    """Convolution and Deconvolution; over several bottoms with the same parameters."""
    _needs(layer, "num_output")
    args = [*layer.settings(), *geometry(layer, ("kernel_size", "stride", "pad", "dilation"))]
    operands, targets = layer.operands, layer.targets
    if len(operands) != len(targets):
        layer.fail("E712", f"{len(operands)} bottoms and {len(targets)} tops, it has as many of both")
    own = _product_args(layer)
    for i, (operand, target) in enumerate(zip(operands, targets, strict=False)):
        more, label = own, layer.name
        if i:
            share = writer.text(layer.name, layer.place)
            more, label = [arg for arg in own if _is_none(arg)], f"{layer.name}.{i + 1}"
            more = [*more, writer.arg("share", share, layer.place)]
        layer.bind(layer.call(layer.row.callee, [*layer.positional([operand]), *args, *more], label), [target])


def _is_none(arg: tree.Arg) -> bool:
    return isinstance(arg.value, tree.Name) and arg.value.name == "none"


def geometry(layer: Layer, fields: Sequence[str]) -> list[tree.Arg]:
    """kernel, stride, pad and dilation: one value for all axes, one for each, or those of height and width."""
    given, args = layer.given, []
    for field in fields:
        ours = field.removesuffix("_size")
        pair = f"{ours}_h", f"{ours}_w"
        if ours != "dilation" and (given.has(pair[0]) or given.has(pair[1])):
            if given.has(field):
                layer.fail("E714", f"`{field}` and `{pair[0]}` or `{pair[1]}` say the same", given.place(field))
            missing = [name for name in pair if not given.has(name)]
            if ours == "kernel" and missing:
                layer.fail("E714", f"`{missing[0]}` is missing beside the other", given.span)
            place = given.place(pair[0] if given.has(pair[0]) else pair[1])
            usual = 0 if ours == "pad" else 1
            args.append(writer.arg(ours, [given.get(name) if given.has(name) else usual for name in pair], place))
        elif given.has(field):
            values = given.all(field)
            args.append(layer.arg(ours, given, field, values[0] if len(values) == 1 else values))
        elif field == "kernel_size":
            layer.fail("E714", "`kernel_size` is missing, or `kernel_h` and `kernel_w`", given.span)
    return args


def im2col(layer: Layer) -> None:
    """Im2col takes a convolution's geometry."""
    args = geometry(layer, ("kernel_size", "stride", "pad", "dilation"))
    layer.bind(layer.call("im2col", [*layer.positional(layer.operands), *args]))


def pooling(layer: Layer) -> None:
    """Pooling by its method; a second top is where the largest elements stand."""
    given = layer.given
    method = given.get("pool")
    callee = {"MAX": "max_pool", "AVE": "avg_pool", "STOCHASTIC": "stochastic_pool"}[method]
    if given.get("global_pooling"):
        args = [layer.arg("global", given, "global_pooling", True)]
        wrong = [f for f in ("kernel_size", "kernel_h", "kernel_w") if given.has(f)]
        if wrong:
            layer.fail("E714", f"`{wrong[0]}` says nothing beside `global_pooling`", given.place(wrong[0]))
    else:
        args = geometry(layer, ("kernel_size", "stride", "pad"))
        if not any(arg.name is not None and arg.name.name == "stride" for arg in args):
            args.append(writer.arg("stride", 1, given.span))
    if given.has("round_mode"):
        args.append(layer.arg("round", given, "round_mode", given.get("round_mode").lower()))
    if len(layer.tops) == 2:
        if method != "MAX":
            layer.fail("E712", "only the pooling MAX has a second top", layer.message.place("top"))
        args.append(writer.arg("indices", True, layer.message.place("top")))
    layer.bind(layer.call(callee, [*layer.positional(layer.operands), *args]))


def recurrent(layer: Layer) -> None:
    """RNN and LSTM of x, cont, what is static, and with `expose_hidden` the values before the first step."""
    _needs(layer, "num_output")
    exposed = layer.given.get("expose_hidden")
    names = (["h0", "c0"] if layer.row.callee == "lstm" else ["h0"]) if exposed else []
    operands, tops = layer.operands, layer.targets
    if len(operands) not in (2 + len(names), 3 + len(names)) or len(tops) != 1 + len(names):
        what = "with" if exposed else "without"
        wanted = f"{2 + len(names)} or {3 + len(names)} bottoms and {1 + len(names)} tops"
        return layer.fail("E712", f"{what} expose_hidden it takes {wanted}")
    static = len(operands) == 3 + len(names)
    named = ["static"] if static else []
    more = [writer.arg(name, value, value.span) for name, value in zip([*named, *names], operands[2:], strict=True)]
    params = [param for param in layer.row.params if static or param.name != "static_weight"]
    args = arguments(layer, layer.given, params, layer.row.params)
    call = layer.call(layer.row.callee, [*layer.positional(operands[:2]), *layer.settings(), *more, *args])
    return layer.bind(call)


def filter_(layer: Layer) -> None:
    """Filter: a top for each bottom but the last, which chooses."""
    if len(layer.tops) != len(layer.bottoms) - 1:
        layer.fail(
            "E712", f"{len(layer.bottoms)} bottoms want {len(layer.bottoms) - 1} tops, {len(layer.tops)} are given"
        )
    plain(layer)


def lrn(layer: Layer) -> None:
    """LRN across channels, or within one."""
    given, more = layer.given, []
    if given.get("norm_region") == "WITHIN_CHANNEL":
        more.append(layer.arg("region", given, "norm_region", "within"))
    layer.bind(layer.call("lrn", [*layer.positional(layer.operands), *layer.settings(), *more]))


def spp(layer: Layer) -> None:
    """SPP of the largest or of averages."""
    given, more = layer.given, []
    if given.get("pool") == "STOCHASTIC":
        layer.fail("E714", "STOCHASTIC is not for pyramids, as in Caffe on a CPU", given.place("pool"))
    if given.get("pool") == "AVE":
        more.append(layer.arg("pool", given, "pool", "avg"))
    layer.bind(layer.call("spp", [*layer.positional(layer.operands), *layer.settings(), *more]))


def reshape(layer: Layer) -> None:
    """Reshape to the sizes of its message."""
    given = layer.given
    shape = writer.arg("shape", given.sub("shape").all("dim"), given.place("shape"))
    layer.bind(layer.call("reshape", [*layer.positional(layer.operands), shape, *layer.settings()]))


def batch_norm(layer: Layer) -> None:
    """BatchNorm: no scale and shift of its own; its statistics are never learned, whatever `param` says of decay."""
    specs = layer.message.messages("param")
    for spec in specs[:3]:
        if spec.get("lr_mult") != 0:
            layer.fail("E713", "its statistics cannot be learned: `lr_mult` is 0", spec.place("lr_mult"))
    if len(specs) > 3:
        layer.fail("E713", f"there are {len(specs)} `param`s, it has 3", specs[3].span)
    more = [writer.arg("affine", False, layer.place)]
    if layer.message.has("phase") and not layer.given.has("use_global_stats"):
        more.append(layer.arg("use_global_stats", layer.message, "phase", layer.message.get("phase") == "TEST"))
    layer.bind(layer.call("batch_norm", [*layer.positional(layer.operands), *layer.settings(), *more]))


def dropout(layer: Layer) -> None:
    """Dropout, which a layer's own phase may turn off."""
    phase = layer.message.get("phase") if layer.message.has("phase") else ""
    if phase == "TEST":
        return layer.bind(layer.operands[0])
    if phase == "TRAIN" and not layer.training:
        layer.fail("E714", "a net to test drops nothing, so `phase: TRAIN` cannot be had", layer.message.place("phase"))
    return plain(layer)


def spread(layer: Layer) -> None:
    """Scale and Bias: a learned tensor spread over the first bottom, or the second bottom in its place."""
    given, row = layer.given, layer.row
    operands, more = layer.operands, []
    params = list(row.params)
    if row.callee == "scale" and not given.get("bias_term"):
        params.pop()
    if len(operands) == 2:
        more.append(writer.arg("by", operands.pop(), layer.place))
        params = params[1:]
        more += [arg for arg in layer.settings() if arg.name is not None and arg.name.name == "axis"]
        args = arguments(layer, given, params, row.params)
    else:
        more = layer.settings()
        args = arguments(layer, given, params, row.params)
    has_bias = any(arg.name is not None and arg.name.name == "bias" for arg in args)
    if row.callee == "scale" and given.get("bias_term") and not has_bias:
        args.append(layer.arg("bias", given, "bias_term", True))
    layer.bind(layer.call(row.callee, [*layer.positional(operands), *more, *args]))


def slice_(layer: Layer) -> None:
    """Slice at points, or into as many equal parts as it has tops."""
    given, more = layer.given, []
    if len(layer.tops) == 1:
        return layer.bind(layer.operands[0])
    points = given.all("slice_point")
    if points and len(points) != len(layer.tops) - 1:
        layer.fail(
            "E712",
            f"{len(points)} `slice_point`s make {len(points) + 1} parts, not {len(layer.tops)}",
            given.place("slice_point"),
        )
    if not points:
        more.append(writer.arg("parts", len(layer.tops), layer.message.place("top")))
    return layer.bind(layer.call("split", [*layer.positional(layer.operands), *layer.settings(), *more]))


def split(layer: Layer) -> None:
    """Split: the same value under several names."""
    for target in layer.targets:
        layer.bind(layer.operands[0], [target])


def silence(layer: Layer) -> None:
    """Silence: what it takes is no output of the net, and nothing is computed for it."""
    for i, operand in enumerate(layer.operands):
        layer.bind(operand, [writer.name(f"_{layer.name}.{i}", layer.place)])


def hdf5_output(layer: Layer) -> None:
    """HDF5Output: it reads what it would write; files are written by those who are asked to."""
    silence(layer)
    given = layer.given
    hint = f"netc run FILE --output {','.join(layer.bottoms)} -o OUT.h5 writes such values"
    message = f'no file "{given.get("file_name")}" is written'
    place = given.place("file_name") if given.has("file_name") else layer.place
    layer.report(SourceError("W610", f"HDF5Output: {message}", place, hint, severity="note"))


def exponential(layer: Layer) -> None:
    """Exp and Log: base -1 is e."""
    given = layer.given
    args = layer.settings()
    if given.get("base") == -1:
        args = [arg for arg in args if arg.name is None or arg.name.name != "base"]
    layer.bind(layer.call(layer.row.callee, [*layer.positional(layer.operands), *args]))


def normalization(layer: Layer) -> list[tree.Arg]:
    """What LossParameter says: which label counts for nothing, and what the sum is divided by."""
    given, args = layer.message.sub("loss_param"), []
    if given.has("ignore_label"):
        args.append(layer.arg("ignore", given, "ignore_label"))
    if given.has("normalization"):
        args.append(layer.arg("normalization", given, "normalization", given.get("normalization").lower()))
    elif given.has("normalize"):
        args.append(layer.arg("normalization", given, "normalize", "valid" if given.get("normalize") else "batch_size"))
    return args


def entropy_loss(layer: Layer) -> None:
    """SoftmaxWithLoss and SigmoidCrossEntropyLoss; a second top is what the loss is taken of."""
    _loss(layer, layer.operands, {"softmax_loss": "softmax", "sigmoid_loss": "sigmoid"}[layer.row.callee])


def _loss(layer: Layer, operands: Sequence[tree.Expr], inner: str, more: Sequence[tree.Arg] = ()) -> None:
    settings = layer.settings()
    args = [*layer.positional(operands), *more, *settings, *normalization(layer)]
    targets = layer.targets
    layer.bind(layer.call(layer.row.callee, args), targets[:1])
    if len(targets) == 2:
        axis = [arg for arg in settings if arg.name is not None and arg.name.name == "axis"]
        seen = layer.call(inner, [*layer.positional(operands[:1]), *axis], f"{layer.name}.{inner}")
        layer.bind(seen, targets[1:])


def infogain_loss(layer: Layer) -> None:
    """InfogainLoss with its matrix as a bottom, or from a file."""
    operands = layer.operands
    if len(operands) == 3:
        return _loss(layer, operands, "softmax")
    given, place = layer.given, layer.given.place("source")
    if not given.has("source"):
        layer.fail("E714", "it has no matrix", place, "as a third bottom, or in the file that `source` names")
    path = writer.text(written(given.get("source"), Path(place.source.path).parent), place)
    return _loss(layer, operands, "softmax", [writer.arg("file", path, place)])


def accuracy(layer: Layer) -> None:
    """Accuracy; a second top is that of each class."""
    more = [writer.arg("per_class", True, layer.message.place("top"))] if len(layer.tops) == 2 else []
    layer.bind(layer.call("accuracy", [*layer.positional(layer.operands), *layer.settings(), *more]))


def argmax(layer: Layer) -> None:
    """ArgMax, whose indices are floats in Caffe; with `out_max_val` values along an axis, else both side by side."""
    given, place = layer.given, layer.place
    found = [*layer.positional(layer.operands), *layer.settings()]
    if not given.get("out_max_val"):
        return layer.bind(_float(layer.call("argmax", found)))
    index, value = (writer.name(f"_{layer.name}.{what}", place) for what in ("index", "value"))
    layer.bind(layer.call("argmax", [*found, layer.arg("values", given, "out_max_val", True)]), [index, value])
    if given.has("axis"):
        return layer.bind(value)
    both = layer.positional([_float(index), value])
    return layer.bind(writer.call("concat", [*both, writer.arg("axis", 1, place)], place))


def _float(value: tree.Expr) -> tree.Call:
    place = value.span
    return writer.call("cast", [writer.arg("", value, place), writer.arg("to", "f32", place)], place)


def parameter(layer: Layer) -> None:
    """Parameter: a learned tensor of the net, 0 at first."""
    (target,) = layer.targets
    specs = layer.message.messages("param")
    if len(specs) > 1:
        layer.fail("E713", f"there are {len(specs)} `param`s, it has one parameter", specs[1].span)
    spec = specs[0] if specs else Message("ParamSpec", layer.place)
    args = [
        writer.arg(ours, spec.get(caffe), spec.place(caffe))
        for ours, caffe in (("lr", "lr_mult"), ("decay", "decay_mult"))
        if spec.get(caffe) != 1.0
    ]
    shape = layer.given.sub("shape").all("dim")
    place = layer.message.span
    title = writer.name(layer.name, layer.place)
    type_ = writer.type_(shape, layer.given.place("shape"))
    layer.statements.append(tree.Param(place, (), tuple(args), title, type_, None))
    if target.name != layer.name:
        layer.bind(title)


def python(layer: Layer) -> None:
    """Python: a layer of the user's; one without bottoms brings data."""
    given = layer.given
    function = writer.text(f"{given.get('module')}:{given.get('layer')}", given.place("layer"))
    settings = writer.text(given.get("param_str"), given.place("param_str"))
    args = [
        *layer.positional(layer.operands),
        writer.arg("function", function, function.span),
        writer.arg("settings", settings, settings.span),
    ]
    layer.bind(layer.call("host", args))
