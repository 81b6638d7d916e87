"""Hints for other frameworks' names, run: one recommends what computes the same numbers, or says that it does not.

PyTorch is the judge, or a formula of numpy where Keras has a name alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from netc.compiler.build import build, load
from netc.compiler.interpret import interpret
from netc.compiler.layers import LAYERS
from netc.compiler.schema import foreign_layers, synonyms
from netc.compiler.schema.fillers import FILLERS
from netc.compiler.schema.foreign_layers import CALLS, Meant
from netc.compiler.schema.solvers import SCHEDULES, SOLVERS
from netc.grammar.source import Source, SourceErrors

torch = pytest.importorskip("torch", reason="torch is not installed")
F = pytest.importorskip("torch.nn.functional", reason="torch is not installed")

Numbers = Any


class Case(NamedTuple):
    """Another framework's function of x (of a and b: x and y), the label and parameters; args: added to the call."""

    function: Callable[..., Numbers]
    args: str = ""
    shape: tuple[int, ...] = (2, 3, 7, 7)
    scale: float = 1.0


def pooled(what: Callable[..., Numbers]) -> Case:
    return Case(lambda v: what(v["x"], 2, 2), "2")  # of 7 x 7, so that rounding shows


def over(function: Callable[[Numbers], Numbers], shape: tuple[int, ...] = (2, 3, 7, 7), args: str = "") -> Case:
    return Case(lambda v: function(v["x"]), args, shape)


def pair(function: Callable[[Numbers, Numbers], Numbers]) -> Case:
    return Case(lambda v: function(v["x"], v["y"]), shape=(4, 3))


def scores(function: Callable[[Numbers, Numbers], Numbers]) -> Case:
    return Case(lambda v: function(v["x"], v["label"]), shape=(4, 3))


LINEAR = Case(lambda v: F.linear(v["x"], v["h.weight"], v["h.bias"]), "5", (4, 6))
DECONV = Case(
    lambda v: F.conv_transpose2d(v["x"], v["h.weight"], v["h.bias"], stride=2, padding=1), "4, 3, stride: 2, pad: 1"
)
CROSS = scores(F.cross_entropy)
BINARY = pair(lambda x, y: F.binary_cross_entropy_with_logits(x, torch.sigmoid(y)))
MEAN = over(lambda x: F.adaptive_avg_pool2d(x, 1))
MOST = over(lambda x: F.adaptive_max_pool2d(x, 1))
NORM = Case(lambda v: F.batch_norm(v["x"], None, None, v["h.weight"], v["h.bias"], training=True))
ROWS = Case(lambda v: F.layer_norm(v["x"], v["x"].shape[-1:], v["h.weight"], v["h.bias"]))
SQUARES, LINES, HUBER = pair(F.mse_loss), pair(F.l1_loss), pair(F.smooth_l1_loss)
JOINED = Case(lambda v: torch.cat([v["x"], v["y"]], 1), shape=(4, 3))
CASES: dict[str, Case] = {
    **dict.fromkeys(["linear", "dense", "fc", "fullyconnected", "lazylinear"], LINEAR),
    **dict.fromkeys(["convtranspose", "convolutiontranspose", "conv2dtranspose", "conv3dtranspose"], DECONV),
    **dict.fromkeys(["maxpool", "maxpooling"], pooled(F.max_pool2d)),
    **dict.fromkeys(["avgpool", "avgpooling", "averagepooling"], pooled(F.avg_pool2d)),
    **dict.fromkeys(["adaptiveavgpool", "globalavgpool", "globalaveragepooling"], MEAN),
    **dict.fromkeys(["adaptivemaxpool", "globalmaxpool", "globalmaxpooling"], MOST),
    "pool": Case(lambda v: F.max_pool2d(v["x"], 7), "7"),
    **dict.fromkeys(["batchnorm", "batchnormalization", "syncbatchnorm"], NORM),
    **dict.fromkeys(["layernorm", "layernormalization"], ROWS),
    "rmsnorm": over(lambda x: F.rms_norm(x, x.shape[-1:], eps=1e-5)),
    "instancenorm": Case(lambda v: F.instance_norm(v["x"]), scale=0.01),
    "localresponsenorm": over(lambda x: F.local_response_norm(x, 5), args="5"),
    "embedding": Case(lambda v: F.embedding(v["label"], v["h.weight"]), "3, 4", (4, 3)),
    "leakyrelu": over(F.leaky_relu),
    "prelu": Case(lambda v: F.prelu(v["x"], v["h.weight"])),
    "thresholdedrelu": over(lambda x: F.threshold(x, 1.0, 0.0)),
    "threshold": over(lambda x: (x > 0.5).double(), args="threshold: 0.5"),
    "softmax": over(lambda x: F.softmax(x, 1)),
    "silu": over(F.silu),
    "mish": over(F.mish),
    "gelu": over(F.gelu),
    "selu": over(F.selu),
    "celu": over(F.celu),
    "glu": over(lambda x: F.glu(x, 1), (2, 4)),
    "hardtanh": over(F.hardtanh),
    "relu6": over(lambda x: F.relu6(5 * x) / 5, args=""),
    "hardsigmoid": over(F.hardsigmoid),
    "hardswish": over(F.hardswish),
    "hardshrink": over(F.hardshrink),
    "softshrink": over(F.softshrink),
    "tanhshrink": over(F.tanhshrink),
    "logsigmoid": over(F.logsigmoid),
    "logsoftmax": over(lambda x: F.log_softmax(x, 1)),
    "softsign": over(F.softsign),
    "softmin": over(lambda x: F.softmin(x, 1)),
    **dict.fromkeys(["cat", "concatenate"], JOINED),
    "unfold": over(lambda x: F.unfold(x, 3, padding=1).reshape(2, 27, 7, 7), args="3, pad: 1"),
    **dict.fromkeys(["view", "reshape", "unflatten"], over(lambda x: x.view(2, -1), args="shape: [0, -1]")),
    "add": pair(lambda x, y: x + y),
    "subtract": pair(lambda x, y: x - y),
    "multiply": pair(lambda x, y: x * y),
    "maximum": pair(lambda x, y: torch.maximum(x, y)),
    "minimum": pair(lambda x, y: torch.minimum(x, y)),
    "average": pair(lambda x, y: torch.stack([x, y]).mean(0)),
    **dict.fromkeys(["crossentropy", "crossentropyloss", "softmaxcrossentropy"], CROSS),
    **dict.fromkeys(["categoricalcrossentropy", "sparsecategoricalcrossentropy"], CROSS),
    "nllloss": scores(lambda x, label: F.nll_loss(torch.log(torch.sigmoid(x)), label)),
    **dict.fromkeys(["bceloss", "bcewithlogitsloss", "binarycrossentropy", "binarycrossentropywithlogits"], BINARY),
    **dict.fromkeys(["mse", "mseloss", "meansquarederror"], SQUARES),
    "l2loss": SQUARES,
    **dict.fromkeys(["mae", "l1loss", "meanabsoluteerror"], LINES),
    **dict.fromkeys(["huber", "huberloss", "smoothl1loss"], HUBER),
    "softmarginloss": pair(F.soft_margin_loss),
}
# What stands for x and y in a call, where it is not they themselves.
OPERANDS = {
    "relu6": "5 * x",
    "nllloss": "sigmoid(x)",
    "embedding": "label",
    **dict.fromkeys(["bceloss", "bcewithlogitsloss", "binarycrossentropy", "binarycrossentropywithlogits"], "sigmoid"),
}


def written(word: str, meant: Meant, case: Case) -> str:
    """A net that computes what the hint for a word recommends, as `output z`."""
    takes_pair = re.search(r"\bb\b", meant.formula) or word in ("cat", "concatenate", "l2loss")
    before, operand = "", OPERANDS.get(word, "x, y" if takes_pair else "x")
    if operand == "sigmoid":
        operand = "x, sigmoid(y)"
    elif meant.code.endswith("_loss") and word != "l2loss":
        operand += ", label"
    if meant.formula:
        before = "a, b = split(x, 2)" if word == "glu" else "a = x * 1\n    b = y * 1" if takes_pair else ""
        value = meant.formula
    else:
        name, _, settings = meant.code.rstrip(")").partition("(")
        value = f"{name}({', '.join(filter(None, [operand, case.args, settings]))})"
    if word == "relu6":
        value = f"{value} / 5"
    shape = ", ".join(map(str, case.shape[1:]))
    return f"""net n {{
    input x: f32[N, {shape}]
    input y: f32[N, {shape}]
    input label: i32[N]
    {before}
    h = {value}
    output z = h
}}
"""


def computed(word: str) -> tuple[Any, Any]:
    """What the recommendation computes, and what the other framework does."""
    case = CASES[word]
    text = written(word, CALLS[word], case)
    try:
        net = build(load(Source("n.net", text)), "n", mode="train", dims={"N": case.shape[0]}, outputs=["z"])
    except SourceErrors as error:
        raise AssertionError(f"{text}\n{error}") from None
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {name: random.normal(size=case.shape) * case.scale for name in ("x", "y")}
    feeds["label"] = random.integers(0, 3, case.shape[0])
    feeds |= {name: random.normal(size=node.shape) for name, node in net.graph.params.items()}
    if word == "softmarginloss":
        feeds["y"] = np.sign(feeds["y"])
    given = {name: torch.tensor(array) for name, array in feeds.items()}
    found = interpret(net.graph, feeds)["z"]
    return found, case.function(given).numpy()


@pytest.mark.parametrize("word", [word for word, meant in CALLS.items() if meant.code or meant.formula])
def test_what_a_hint_recommends_computes_the_same_or_says_so(word: str) -> None:
    found, wanted = computed(word)
    same = found.shape == wanted.shape or found.size == wanted.size == 1
    same = same and np.allclose(found, wanted, rtol=1e-6, atol=1e-9)
    assert same == CALLS[word].same
    assert ("not the same" in CALLS[word].hint()) == (not same)


def test_the_approximation_of_gelu_is_as_near_as_it_says() -> None:
    found, wanted = computed("gelu")
    assert 1e-6 < np.abs(found - wanted).max() < 0.0005


@pytest.mark.parametrize("word", [word for word, meant in CALLS.items() if not meant.code and not meant.formula])
def test_what_there_is_not_is_said(word: str) -> None:
    assert CALLS[word].hint().startswith("there is none here")


def names_of(module: Any, *, classes: bool) -> list[str]:
    found = [name for name in dir(module) if name[0].isupper() == classes and name[0] != "_"]
    return [name for name in found if callable(it := getattr(module, name)) and isinstance(it, type) == classes]


KERAS = """Activation Add AlphaDropout Attention Average AveragePooling2D BatchNormalization Bidirectional Concatenate
Conv2D Conv2DTranspose ConvLSTM2D Cropping2D Dense DepthwiseConv2D Dot Dropout ELU Embedding Flatten GRU GaussianDropout
GaussianNoise GlobalAveragePooling2D GlobalMaxPooling2D GroupNormalization Identity LSTM Lambda LayerNormalization
LeakyReLU Masking MaxPooling2D Maximum Minimum MultiHeadAttention Multiply PReLU Permute ReLU RepeatVector Rescaling
Reshape SeparableConv2D SimpleRNN Softmax SpatialDropout2D Subtract ThresholdedReLU UpSampling2D ZeroPadding2D"""
CAFFE = "Split Silence Filter LSTM RNN Recurrent Python HDF5Output Parameter MemoryData DummyData"


def test_no_name_of_a_framework_is_taken_for_a_misspelling() -> None:
    caffe = {name: layer.caffe for name, layer in LAYERS.own.items()}
    names = [*names_of(torch.nn, classes=True), *names_of(F, classes=False), *KERAS.split(), *CAFFE.split()]
    guessed = {name: hint for name in names if "did you mean" in (hint := foreign_layers.call(name, caffe, LAYERS))}
    assert not guessed
    assert foreign_layers.call("sofmax", caffe, LAYERS) == "did you mean `softmax`?"


@pytest.mark.parametrize(
    ("module", "table"),
    [
        (torch.optim, SOLVERS),
        (torch.optim.lr_scheduler, SCHEDULES),
    ],
)
def test_no_solver_or_schedule_is_taken_for_a_misspelling(module: Any, table: Any) -> None:
    known = {foreign_layers.plain(name) for name in table}
    names = [name for name in names_of(module, classes=True) if foreign_layers.plain(name) not in known]
    guessed = {name: hint for name in names if "did you mean" in (hint := synonyms.use(name, table))}
    assert not guessed


def test_no_filler_is_taken_for_a_misspelling() -> None:
    names = [name for name in names_of(torch.nn.init, classes=False) if foreign_layers.plain(name) not in FILLERS]
    guessed = {name: hint for name in names if "did you mean" in (hint := synonyms.use(name, FILLERS))}
    assert not guessed
