"""The operator mapping of Caffe's layers: a row a type, with what it is here and which field becomes which setting.

The rows are read in both directions: `form` and `back` stand where renaming settings is not all.
"""

from __future__ import annotations

from . import dummy, forms
from .export import forms as export
from .layer import MANY, Param, Row

_WEIGHT = Param("weight", "weight_filler", zero=True)
_BIAS = Param("bias", "bias_filler")
_AFFINE = {"base": "base", "scale": "scale", "shift": "shift"}
_PRODUCT = {"num_output": "out", "group": "group", "axis": "axis"}
_SPREAD = {"axis": "axis", "num_axes": "num_axes"}
_SOME = (1, MANY)

_LSTM = (
    _WEIGHT,
    _BIAS,
    Param("static_weight", "weight_filler", zero=True),
    Param("hidden_weight", "weight_filler", zero=True),
)
_RNN = (*_LSTM, Param("out_weight", "weight_filler", zero=True), Param("out_bias", "bias_filler"))

_CONVOLUTION = Row(
    "conv", "convolution_param", _PRODUCT, _SOME, _SOME, (_WEIGHT, _BIAS), forms.convolution, export.convolution
)


def _loss(
    callee: str, message: str = "", settings: dict[str, str] | None = None, bottoms: int = 2, **more: object
) -> Row:
    return Row(callee, message, settings or {}, (bottoms, bottoms), (0, 1), loss=True, **more)  # type: ignore[arg-type]


ROWS: dict[str, Row] = {
    "AbsVal": Row("abs"),
    "Accuracy": Row(
        "accuracy",
        "accuracy_param",
        {"top_k": "top_k", "axis": "axis", "ignore_label": "ignore"},
        (2, 2),
        (0, 2),
        form=forms.accuracy,
        metric=True,
    ),
    "ArgMax": Row("argmax", "argmax_param", {"top_k": "top_k", "axis": "axis"}, form=forms.argmax, back=export.argmax),
    "BatchNorm": Row(
        "batch_norm",
        "batch_norm_param",
        {name: name for name in ("use_global_stats", "moving_average_fraction", "eps")},
        form=forms.batch_norm,
        back=export.batch_norm,
    ),
    "BatchReindex": Row("batch_reindex", bottoms=(2, 2)),
    "Bias": Row(
        "bias", "bias_param", _SPREAD, (1, 2), params=(Param("bias", "filler"),), form=forms.spread, back=export.spread
    ),
    "BNLL": Row("softplus"),
    "Clip": Row("clip", "clip_param", {"min": "min", "max": "max"}),
    "Concat": Row("concat", "concat_param", {"axis": "axis", "concat_dim": "axis"}, _SOME),
    "ContrastiveLoss": _loss(
        "contrastive_loss", "contrastive_loss_param", {"margin": "margin", "legacy_version": "legacy"}, 3
    ),
    "Convolution": _CONVOLUTION,
    "Crop": Row("crop", "crop_param", {"axis": "axis", "offset": "offset*"}, (2, 2)),
    "Deconvolution": Row(
        "deconv", "convolution_param", _PRODUCT, _SOME, _SOME, (_WEIGHT, _BIAS), forms.convolution, export.convolution
    ),
    "Dropout": Row("dropout", "dropout_param", {"dropout_ratio": "ratio"}, form=forms.dropout),
    "DummyData": Row("full", "dummy_data_param", {}, (0, 0), _SOME, form=dummy.dummy_data, back=export.full),
    "ELU": Row("elu", "elu_param", {"alpha": "alpha"}),
    "Eltwise": Row("eltwise", "eltwise_param", {"operation": "operation~", "coeff": "coeff*"}, (2, MANY)),
    "Embed": Row(
        "embed",
        "embed_param",
        {"num_output": "out", "input_dim": "size"},
        params=(_WEIGHT, _BIAS),
        form=forms.product,
        back=export.product,
    ),
    "EuclideanLoss": _loss("euclidean_loss"),
    "Exp": Row("exp", "exp_param", _AFFINE, form=forms.exponential),
    "Filter": Row("filter", bottoms=(2, MANY), tops=_SOME, form=forms.filter_),
    "Flatten": Row("flatten", "flatten_param", {"axis": "axis", "end_axis": "end_axis"}),
    "HingeLoss": _loss("hinge_loss", "hinge_loss_param", {"norm": "norm~"}),
    "HDF5Output": Row("", "hdf5_output_param", {}, (2, 2), (0, 0), form=forms.hdf5_output),
    "Im2col": Row("im2col", "convolution_param", form=forms.im2col, back=export.im2col),
    "InfogainLoss": Row(
        "infogain_loss",
        "infogain_loss_param",
        {"axis": "axis"},
        (2, 3),
        (0, 2),
        form=forms.infogain_loss,
        back=export.infogain_loss,
        loss=True,
    ),
    "InnerProduct": Row(
        "linear",
        "inner_product_param",
        {"num_output": "out", "axis": "axis", "transpose": "transpose"},
        params=(_WEIGHT, _BIAS),
        form=forms.product,
        back=export.product,
    ),
    "Log": Row("log", "log_param", _AFFINE, form=forms.exponential),
    "LSTM": Row(
        "lstm", "recurrent_param", {"num_output": "out"}, (2, 5), (1, 3), _LSTM, forms.recurrent, export.recurrent
    ),
    "LSTMUnit": Row("lstm_unit", "", {}, (3, 3), (2, 2)),
    "LRN": Row(
        "lrn",
        "lrn_param",
        {"local_size": "size", "alpha": "alpha", "beta": "beta", "k": "k"},
        form=forms.lrn,
        back=export.lrn,
    ),
    "MVN": Row("mvn", "mvn_param", {name: name for name in ("normalize_variance", "across_channels", "eps")}),
    "MultinomialLogisticLoss": _loss("multinomial_loss"),
    "Parameter": Row("param", "parameter_param", {}, (0, 0), params=(Param("", ""),), form=forms.parameter),
    "Pooling": Row("max_pool", "pooling_param", tops=(1, 2), form=forms.pooling, back=export.pooling),
    "Power": Row("power", "power_param", {"power": "power", "scale": "scale", "shift": "shift"}),
    "PReLU": Row(
        "prelu",
        "prelu_param",
        {"channel_shared": "channel_shared"},
        params=(Param("weight", "filler", first=0.25),),
        form=forms.learned,
    ),
    "Python": Row("host", "python_param", {}, (0, MANY), (0, MANY), form=forms.python, back=export.host),
    "ReLU": Row("relu", "relu_param", {"negative_slope": "negative_slope"}),
    "Reduction": Row("reduction", "reduction_param", {"operation": "operation~", "axis": "axis", "coeff": "coeff"}),
    "Reshape": Row("reshape", "reshape_param", _SPREAD, form=forms.reshape, back=export.reshape),
    "RNN": Row(
        "rnn", "recurrent_param", {"num_output": "out"}, (2, 4), (1, 2), _RNN, forms.recurrent, export.recurrent
    ),
    "Scale": Row(
        "scale",
        "scale_param",
        _SPREAD,
        (1, 2),
        params=(Param("weight", "filler", first=1.0), _BIAS),
        form=forms.spread,
        back=export.spread,
    ),
    "Sigmoid": Row("sigmoid"),
    "SigmoidCrossEntropyLoss": Row(
        "sigmoid_loss", "", {}, (2, 2), (0, 2), form=forms.entropy_loss, back=export.normalized, loss=True
    ),
    "Silence": Row("", "", {}, _SOME, (0, 0), form=forms.silence),
    "Slice": Row(
        "split",
        "slice_param",
        {"axis": "axis", "slice_dim": "axis", "slice_point": "at*"},
        tops=_SOME,
        form=forms.slice_,
    ),
    "Softmax": Row("softmax", "softmax_param", {"axis": "axis"}),
    "SoftmaxWithLoss": Row(
        "softmax_loss",
        "softmax_param",
        {"axis": "axis"},
        (2, 2),
        (0, 2),
        form=forms.entropy_loss,
        back=export.normalized,
        loss=True,
    ),
    "Split": Row("", "", {}, tops=_SOME, form=forms.split),
    "SPP": Row("spp", "spp_param", {"pyramid_height": "height"}, form=forms.spp, back=export.spp),
    "Swish": Row("swish", "swish_param", {"beta": "beta"}),
    "TanH": Row("tanh"),
    "Threshold": Row("threshold", "threshold_param", {"threshold": "threshold"}),
    "Tile": Row("tile", "tile_param", {"axis": "axis", "tiles": "tiles"}),
    # Layers of forks that are a convolution of as many groups as their text says.
    "ConvolutionDepthwise": _CONVOLUTION,
    "DepthwiseConvolution": _CONVOLUTION,
}
