"""Whatever a file says, `load` and `build` answer with SourceErrors or UserError, and soon: valid nets, changed."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.compiler.build import build, load
from netc.grammar.source import Source, SourceError, SourceErrors, UserError

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.net"))
SMALL = [
    path.read_text(encoding="utf-8") for path in EXAMPLES if path.stem not in ("googlenet", "resnet18", "caffenet")
]
LANGUAGE = """
const width = 4
op huber(p, t, d = 1.0) = mean(where(abs(p - t) < d, 0.5 * (p - t) ** 2, d * (abs(p - t) - 0.5 * d)))
block tower(x, c = 3, deep = true) {
    for i in 1..2 { x = x |> conv(c * i, 3, pad: 1) as "conv/a" |> batch_norm |> relu }
    if deep { x = x |> max_pool(2, round: floor) } else if train { x = dropout(x, 0.3) } else { y = x }
    return x, x |> linear(width)
}
net n(classes = 4, size = 1 / 2) {
    input a: f32[N, 1, 8, 2 * 4]
    input t: f32[N, width]
    param(lr: 0) scale: f32[1, width] = constant(1)
    u, left = tower(a)
    v, right = tower(a, share: u, deep: true)
    p, q = split(concat(u, v, axis: 1), 2)
    @nofuse
    h = left + right * scale |> linear(classes, weight: gaussian(std: 0.1), lr: [1, 2]) as enc
    loss(weight: 0.3) l2 = sum(abs(enc.weight)) + mean(p - q)
    loss l = huber(h, t, d: size)
    metric m = max(h) - min(h)
    output o = softmax(h)
}
"""
TEXTS = [*SMALL, LANGUAGE]
TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_]\w*|\d+\.?\d*(?:e-?\d+)?|\*\*|\|>|\.\.|[<>=!]=|\s+|#[^\n]*|.')
NAMES = [
    *(
        "x",
        "image",
        "label",
        "a",
        "h",
        "none",
        "train",
        "floor",
        "N",
        "K",
        "share",
        "lr",
        "weight",
        "bias",
        "axis",
        "kernel",
    ),
    *(
        "relu",
        "conv",
        "linear",
        "split",
        "tile",
        "lrn",
        "concat",
        "softmax_loss",
        "accuracy",
        "batch_norm",
        "tower",
        "sum",
    ),
    *(
        "reshape",
        "eltwise",
        "deconv",
        "max_pool",
        "crop",
        "out",
        "group",
        "stride",
        "pad",
        "at",
        "where",
        "max",
        "cast",
    ),
]
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "1.5",
    "1e30",
    "1000000",
    "2147483648",
    "9223372036854775807",
    "[1, 2]",
    "-1",
    '"t"',
]
SIGNS = ["+", "-", "*", "/", "**", "|>", ":", "=", ",", "(", ")", "[", "]", "{", "}", "<", "=="]


def pieces(text: str) -> list[str]:
    return TOKEN.findall(text)


def like(token: str) -> list[str]:
    """What may stand where a word stands: mostly something that leaves the text a `.net` file."""
    if token[:1].isdigit() or token[:1] == '"':
        return NUMBERS
    return NAMES if token[:1].isalpha() or token[:1] == "_" else SIGNS


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A valid file with up to four of its words replaced by their like, left out, or taken from elsewhere in it."""
    tokens = pieces(draw(st.sampled_from(TEXTS)))
    words = [i for i, token in enumerate(tokens) if not token.isspace() and not token.startswith("#")]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.sampled_from(words))
        how = draw(st.integers(0, 9))
        if how < 7:
            tokens[at] = draw(st.sampled_from(like(tokens[at])))
        else:
            tokens[at] = "" if how == 7 else tokens[draw(st.sampled_from(words))]
    return "".join(tokens)


@settings(max_examples=60, deadline=20_000, suppress_health_check=[HealthCheck.too_slow])
@given(changed())
def test_changed_files_give_errors_and_nothing_else(text: str) -> None:
    found: tuple[SourceError, ...] = ()
    message = ""
    try:
        experiment = load(Source(str(FOLDER / "fuzz.net"), text))
        build(experiment, experiment.default_net(), mode="test", dims={})
    except SourceErrors as errors:
        found = errors.errors
    except UserError as error:
        message = str(error)
    assert all(error.render() and error.severity == "error" for error in found)
    assert "\n" not in message


def test_the_unchanged_files_are_valid() -> None:
    for text in TEXTS:
        experiment = load(Source(str(FOLDER / "fuzz.net"), text))
        for mode in ("train", "test"):
            assert build(experiment, experiment.default_net(), mode=mode, dims={}).layers
