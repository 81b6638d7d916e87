"""Reduction of nets: what is kept is what the fault needs, within the time, and a net that `netc fmt` leaves alone."""

from __future__ import annotations

import time

from netc.compiler.build import build, load
from netc.grammar.format import format_file
from netc.grammar.source import Source, SourceErrors, UserError
from netc.verification.edits import LEVELS, edits
from netc.verification.reduce import reduced

NET = """# A net with more in it than a fault needs.
const width = 16

op twice(x) = x * 2

block stage(x, channels, kernel = 3) {
    return x |> conv(channels, kernel, pad: 1) |> relu |> max_pool(2)
}

net many(classes = 10) {
    input image: f32[N, 3, 16, 16]
    input label: i32[N]

    @nofuse
    y = image |> stage(width) as one |> stage(32) as two
    for i in 1..3 {
        y = y |> conv(32, 3, pad: 1) |> tanh
    }
    z = twice(y) # a comment with "quotes"
    logits = flatten(z + y) |> linear(classes) as score
    loss nll = softmax_loss(logits, label)
    loss(weight: 0.5) extra = euclidean_loss(logits, logits)
    metric top1 = accuracy(logits, label)
    output prob = softmax(logits)
}
"""


def kinds(text: str) -> set[str]:
    """The kinds of the layers of a text that builds; nothing for any other."""
    try:
        net = build(load(Source("many.net", text)), "many", mode="train")
    except (SourceErrors, UserError):
        return set()
    return {row.kind for row in net.layers}


def quiet(_: str) -> None:
    """Nobody is told."""


def test_what_remains_is_what_fails() -> None:
    found = reduced(NET, lambda text: {"tanh", "softmax_loss"} <= kinds(text), 60, quiet)
    assert {"tanh", "softmax_loss"} <= kinds(found)
    assert "conv" not in kinds(found)
    assert len(found.splitlines()) <= 12
    for gone in ("twice", "stage", "metric", "@nofuse", "#", "extra", "output"):
        assert gone not in found
    assert format_file(Source("", found)) == found


def test_sizes_shrink() -> None:
    found = reduced(NET, lambda text: "conv" in kinds(text), 60, quiet)
    assert "width = 1\n" in found
    assert "kernel = 1" in found
    assert "16" not in found


def test_what_nothing_smaller_shows_stays() -> None:
    found = reduced(NET, lambda _: False, 60, quiet)
    assert kinds(found) == kinds(NET)


def test_the_time_is_kept() -> None:
    def slow(_: str) -> bool:
        time.sleep(0.05)
        return False

    start = time.monotonic()
    reduced(NET, slow, 0.3, quiet)
    assert time.monotonic() - start < 2


def test_each_way_cuts_what_it_says() -> None:
    """Every edit leaves a shorter text, or one with a smaller number, and touches nothing outside of its range."""
    for level in LEVELS:
        for edit in edits(NET, level):
            text = edit.applied(NET)
            assert text != NET
            assert len(text) <= len(NET) + 8, "a name may be shorter than what it stands for"
            assert text.startswith(NET[: edit.start])
            assert text.endswith(NET[edit.stop :])
