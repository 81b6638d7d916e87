"""What other frameworks' layers are here: what computes the same numbers, what is near it, or that there is none.

Hints of messages are made of it, and a test runs each: a hint never names a layer that computes something else without
saying so. Spelling is asked only about names that no framework has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ...grammar.source import suggest


class Meant(NamedTuple):
    """What a name of another framework's is here.

    code: a name of netc's, with the settings that make it the same; "" where there is none. formula: an expression of
    x (or a and b) that computes it. more: a remark. same: whether the numbers are those of the other framework.
    """

    code: str = ""
    more: str = ""
    formula: str = ""
    same: bool = True

    def hint(self) -> str:
        """The words of a hint."""
        if self.formula:
            found = f"here it is `{self.formula}`" if self.same else f"`{self.formula}` is near it, and not the same"
        elif not self.code:
            found = "there is none here"
        else:
            found = f"here it is called `{self.code}`" if self.same else f"`{self.code}` is near it, and not the same"
        return f"{found}{': ' if not self.same or not (self.code or self.formula) else ', '}{self.more}".rstrip(":, ")


def near(code: str, more: str) -> Meant:
    """A layer that computes something else; `more` says what."""
    return Meant(code, more, same=False)


def none(more: str = "") -> Meant:
    return Meant("", more)


def formula(text: str, more: str = "", same: bool = True) -> Meant:
    return Meant("", more, text, same)


_LINEAR = Meant("linear", "over all axes after the first; `axis: -1` is the last alone")
_SCORES = Meant("softmax_loss", "of scores, before any softmax, and of whole numbers as labels")
_SIGMOID = Meant("sigmoid_loss(normalization: full)", "of scores, before any sigmoid")
_SQUARES = formula("mean((a - b) ** 2)", "`euclidean_loss` is half the sum of squares, for each item")
_GLOBAL_AVERAGE = Meant("avg_pool(global: true)", "of shape [N, C, 1, 1]")
_GLOBAL_MAXIMUM = Meant("max_pool(global: true)", "of shape [N, C, 1, 1]")
_POOLED = "sizes are rounded up unless so"
_TRANSPOSED = Meant("deconv")
_LAYER_NORM = Meant("layer_norm", "over the last axis, unless `axis:` says where it begins")
_HUBER = formula("mean(where(abs(a - b) < 1, 0.5 * (a - b) ** 2, abs(a - b) - 0.5))")
_ABSOLUTE = formula("mean(abs(a - b))")
_CHANNELS = none("`dropout` drops single numbers, not channels")
_RECURRENT = none("`rnn` and `lstm` are as Caffe has them: x is [T, N, …], a second input says where sequences begin")
_LARGER = none("`deconv` with `weight: bilinear` and `lr: 0` interpolates between items, with edges of its own")
_UNPOOLED = none("`max_pool` does not hand on where its largest elements stood")
_WHOLE_SHAPE = Meant("reshape", "of all axes: `0` keeps one, `-1` is what is left")

# By the name as `plain` writes it, or, where that would lose what matters (`dropout2d`), in small letters.
CALLS: Mapping[str, Meant] = {
    "linear": _LINEAR,
    "dense": _LINEAR,
    "fc": _LINEAR,
    "fullyconnected": _LINEAR,
    "lazylinear": _LINEAR,
    "convtranspose": _TRANSPOSED,
    "convolutiontranspose": _TRANSPOSED,
    "conv2dtranspose": _TRANSPOSED,
    "conv3dtranspose": _TRANSPOSED,
    "depthwiseconv": none("a `conv` with as many groups as channels: `group: 64`"),
    "separableconv": none("two of them: a `conv` with as many groups as channels, and one with `kernel: 1`"),
    "convtbc": none("`conv` wants the batch first, then channels"),
    "convlstm": none("`lstm` has products, not convolutions"),
    "bilinear": none(),
    "maxpool": Meant("max_pool(round: floor)", _POOLED),
    "maxpooling": Meant("max_pool(round: floor)", _POOLED),
    "avgpool": Meant("avg_pool(round: floor)", _POOLED),
    "avgpooling": Meant("avg_pool(round: floor)", _POOLED),
    "averagepooling": Meant("avg_pool(round: floor)", _POOLED),
    "adaptiveavgpool": _GLOBAL_AVERAGE,
    "adaptivemaxpool": _GLOBAL_MAXIMUM,
    "globalavgpool": _GLOBAL_AVERAGE,
    "globalaveragepooling": _GLOBAL_AVERAGE,
    "globalmaxpool": _GLOBAL_MAXIMUM,
    "globalmaxpooling": _GLOBAL_MAXIMUM,
    "pool": Meant("max_pool", "or `avg_pool`"),
    "maxunpool": _UNPOOLED,
    "batchnorm": Meant("batch_norm", "with weight and bias, which `affine: false` leaves out, as Caffe's has it"),
    "batchnormalization": Meant("batch_norm", "whose running means begin with the first batch"),
    "syncbatchnorm": Meant("batch_norm", "of one machine's batch"),
    "layernorm": _LAYER_NORM,
    "layernormalization": _LAYER_NORM,
    "rmsnorm": formula("x / sqrt(mean(x ** 2, axis: -1, keepdims: true) + 0.00001)", "over the last axis"),
    "groupnorm": none(),
    "groupnormalization": none(),
    "instancenorm": near("mvn", "it adds `eps` to the deviation, not to the variance"),
    "localresponsenorm": Meant("lrn(alpha: 0.0001)", "whose `alpha` is 1 unless said"),
    "embedding": Meant("embed(bias: false)"),
    "leakyrelu": Meant("relu(negative_slope: 0.01)", "Keras has 0.3"),
    "prelu": Meant("prelu", "a slope for each channel; `channel_shared: true` is one for all, as PyTorch has it"),
    "rrelu": none(),
    "thresholdedrelu": formula("where(x > 1, x, 0)"),
    "threshold": Meant("threshold", "1 above it and 0 below; `where(x > 1, x, 0)` keeps what is above"),
    "softmax": Meant("softmax", "along axis 1 unless `axis:` is said"),
    "gumbelsoftmax": none(),
    "silu": Meant("swish"),
    "mish": formula("x * tanh(softplus(x))"),
    "gelu": formula("0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x ** 3)))", "to 0.0005", same=False),
    "selu": formula("1.0507009873554805 * elu(x, alpha: 1.6732632423543772)"),
    "celu": Meant("elu", "with `alpha: 1`"),
    "glu": formula("a * sigmoid(b)", "after `a, b = split(x, 2)`"),
    "hardtanh": Meant("clip(min: -1, max: 1)"),
    "relu6": Meant("clip(min: 0, max: 6)"),
    "hardsigmoid": formula("clip(x / 6 + 0.5, min: 0, max: 1)"),
    "hardswish": formula("x * clip(x / 6 + 0.5, min: 0, max: 1)"),
    "hardshrink": formula("where(abs(x) > 0.5, x, 0)"),
    "softshrink": formula("where(x > 0.5, x - 0.5, where(x < -0.5, x + 0.5, 0))"),
    "tanhshrink": formula("x - tanh(x)"),
    "logsigmoid": formula("-softplus(-x)"),
    "logsoftmax": formula("log(softmax(x))", "for a loss take `softmax_loss`, of scores"),
    "softsign": formula("x / (1 + abs(x))"),
    "softmin": formula("softmax(-x)"),
    "dropout1d": _CHANNELS,
    "dropout2d": _CHANNELS,
    "dropout3d": _CHANNELS,
    "spatialdropout2d": _CHANNELS,
    "alphadropout": none("`dropout` keeps neither mean nor variance as it does"),
    "gaussiandropout": none("`dropout` drops numbers, and multiplies none by noise"),
    "gaussiannoise": none(),
    "cat": Meant("concat", "along axis 1 unless `axis:` is said"),
    "concatenate": Meant("concat", "along axis 1 unless `axis:` is said"),
    "split": none("a value may be read by several, without a layer; `split` cuts one into parts"),
    "unfold": Meant("im2col", "whose places keep their axes: `|> flatten(axis: 2)` makes them one"),
    "view": _WHOLE_SHAPE,
    "reshape": _WHOLE_SHAPE,
    "unflatten": _WHOLE_SHAPE,
    "add": formula("a + b"),
    "subtract": formula("a - b"),
    "multiply": formula("a * b"),
    "maximum": formula("max(a, b)"),
    "minimum": formula("min(a, b)"),
    "average": formula("(a + b) / 2"),
    "identity": none("leave it out"),
    "silence": none("a value that nobody reads has a name that begins with `_`"),
    "filter": none("`batch_reindex` chooses items by their numbers"),
    "upsample": _LARGER,
    "upsampling": _LARGER,
    "upsamplingbilinear": _LARGER,
    "upsamplingnearest": _LARGER,
    "interpolate": _LARGER,
    "pixelshuffle": none(),
    "lstm": _RECURRENT,
    "gru": none("`lstm` and `rnn` are there"),
    "rnn": _RECURRENT,
    "simplernn": _RECURRENT,
    "recurrent": _RECURRENT,
    "bidirectional": none(),
    "scaledmm": none(),
    "multiheadattention": none(),
    "transformer": none("it is made of `matmul`, `softmax`, `layer_norm` and `linear`"),
    "crossentropy": _SCORES,
    "crossentropyloss": _SCORES,
    "softmaxcrossentropy": _SCORES,
    "categoricalcrossentropy": _SCORES,
    "sparsecategoricalcrossentropy": _SCORES,
    "nllloss": Meant("multinomial_loss", "of probabilities, not of their logarithms; of scores it is `softmax_loss`"),
    "bceloss": _SIGMOID,
    "bcewithlogitsloss": _SIGMOID,
    "binarycrossentropy": _SIGMOID,
    "binarycrossentropywithlogits": _SIGMOID,
    "mse": _SQUARES,
    "mseloss": _SQUARES,
    "meansquarederror": _SQUARES,
    "l2loss": near("euclidean_loss", "it is half the sum of squares, for each item"),
    "mae": _ABSOLUTE,
    "l1loss": _ABSOLUTE,
    "meanabsoluteerror": _ABSOLUTE,
    "huber": _HUBER,
    "huberloss": _HUBER,
    "smoothl1loss": _HUBER,
    "softmarginloss": formula("mean(softplus(-a * b))", "b is 1 or -1"),
    "multimarginloss": none("`hinge_loss` holds each class against 0, not against the label's"),
    "hingeembeddingloss": none(),
    "marginrankingloss": none(),
    "gaussiannllloss": none(),
    "ctcloss": none(),
}


def plain(word: str) -> str:
    """A name without what frameworks differ in: `MaxPool2d`, `max_pool` and `maxpool` are one."""
    return re.sub(r"([123]d|layer)$", "", _small(word))


def _small(word: str) -> str:
    return word.lower().replace("_", "")


def call(word: str, caffe: Mapping[str, Iterable[str]], known: Iterable[str]) -> str:
    """A hint for the name of a layer, op or block that there is not.

    caffe: netc's layers, each with its Caffe types. known: what can be called, layers included.
    """
    types = [name for name, own in caffe.items() if word.lower() in map(str.lower, own)]
    if len(types) > 1:
        return f"here it is called {' or '.join(f'`{name}`' for name in types)}"
    meant = CALLS.get(_small(word)) or CALLS.get(plain(word))
    if meant is None or (types and meant.code.partition("(")[0] != types[0]):
        same = types or [layer for layer in caffe if plain(layer) == plain(word)]
        meant = Meant(same[0]) if same else None
    return meant.hint() if meant is not None else suggest(word, known)
