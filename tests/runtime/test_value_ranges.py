"""Labels outside of a net's classes are refused with the data, the label and the layer that cannot know it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import netc
from netc.compiler.program import ValueRange
from netc.driver import compilation
from netc.grammar.source import Source, UserError
from netc.runtime.value_ranges import check_ranges

NET = """
net a {{
    input x: f32[N, 3]
    input label: {dtype}[N]
    logits = x |> linear(4) as score
    loss nll = softmax_loss(logits, {label}{ignore})
    metric top1 = accuracy(logits, {label}{ignore})
}}
data rows = npz("rows.npz", batch: 5)
train a {{
    from: rows
    test: rows every 2
    solver: sgd(lr: 0.1)
    steps: 2
}}
"""


def written(folder: Path, labels: list[float], *, dtype: str = "i32", label: str = "label", ignore: str = "") -> Path:
    np.savez(
        folder / "rows.npz",
        x=np.zeros((len(labels), 3), np.float32),
        label=np.array(labels, np.int32 if dtype == "i32" else np.float32),
    )
    path = folder / "a.net"
    path.write_text(NET.format(dtype=dtype, label=label, ignore=ignore), encoding="utf-8")
    return path


def test_the_ranges_are_read_from_the_comparisons_in_the_graph(tmp_path: Path) -> None:
    path = written(tmp_path, [0] * 5, ignore=", ignore: 255")
    ranges = compilation(path, mode="train").program.ranges
    assert [(r.input, r.count, r.ignored) for r in ranges] == [("label", 4, 255)] * 2
    assert {r.reader.split()[0] for r in ranges} == {"`nll.softmax_loss`", "`top1.accuracy`"}


def test_an_input_that_is_no_label_has_no_range() -> None:
    assert compilation(Path(__file__).parents[2] / "examples/autoencoder.net", mode="train").program.ranges == ()


@pytest.mark.parametrize("dtype", ["i32", "f32"])
@pytest.mark.parametrize("wrong", [4, -1])
def test_training_on_a_label_that_is_no_class_is_refused(tmp_path: Path, dtype: str, wrong: int) -> None:
    path = written(tmp_path, [0, 1, 2, 3, 0, 1, wrong, 0, 0, 0], dtype=dtype)
    with pytest.raises(UserError, match=rf"rows: `label` holds the label {wrong}; .*the 4 classes 0 to 3"):
        netc.train(path, folder=tmp_path / "run")


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"labels": [0, 1, 255, 3, 0], "ignore": ", ignore: 255"}, id="ignored"),
        pytest.param({"labels": [1, 2, 3, 4, 1], "dtype": "f32", "label": "label - 1"}, id="computed"),
    ],
)
def test_other_labels_are_let_through(settings: dict[str, Any], tmp_path: Path) -> None:
    losses = netc.train(written(tmp_path, **settings), folder=tmp_path / "run").losses
    assert len(losses)
    assert np.isfinite(losses).all()


def test_fractions_count_as_the_layers_cut_them_off() -> None:
    ranges = [ValueRange("label", 4, -1, "classes", "`nll`")]
    check_ranges(ranges, {"label": np.array([3.9, -0.5, -1.5], np.float32)}, "rows")
    with pytest.raises(UserError, match="label 4"):
        check_ranges(ranges, {"label": np.array([4.0], np.float32)}, "rows")
    check_ranges(ranges, {"label": np.zeros(0, np.int32), "x": np.array([9.0])}, "rows")


EMBED = """
net e {
    input word: i32[N, 3]
    input label: i32[N]
    h = reshape(word, [3, N]) |> embed(size: 7, out: 2) as enc
    logits = reshape(h, [N, 6]) |> linear(4) as score
    loss nll = softmax_loss(logits, label, ignore: -1)
    output best = argmax(logits)
}
data rows = npz("rows.npz", batch: 2)
train e {
    from: rows
    solver: sgd(lr: 0.1)
    steps: 2
}
"""


@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_what_an_executable_is_fed_is_checked(tmp_path: Path, target: str) -> None:
    path = tmp_path / "e.net"
    path.write_text(EMBED, encoding="utf-8")
    word, label = np.arange(6, dtype=np.int32).reshape(2, 3), np.array([3, -1], np.int32)
    test = netc.compile(path, dims={"N": 2}, target=target)
    test(word=word, label=label)
    with pytest.raises(UserError, match=r"e: `word` holds the index 7; `enc` \(.*e.net:5\) knows the 7 rows 0 to 6"):
        test(word=word + 2, label=label)
    with pytest.raises(UserError, match="holds the index -1"):
        test(word=word - 1, label=label)
    if target == "triton":
        return
    step = netc.compile(path, mode="train", dims={"N": 2}, target=target)
    before = step.state["enc.weight"].copy()
    with pytest.raises(UserError, match=r"e: `label` holds the label 99; .* knows the 4 classes 0 to 3"):
        step(word=word, label=np.array([0, 99], np.int32))
    assert (step.state["enc.weight"] == before).all()
    bound = np.array([0, 99], np.int32)
    step.bind({"label": bound})
    with pytest.raises(UserError, match="holds the label 99"):
        step(word=word)
    bound[1] = 3
    step(word=word)
    np.savez(tmp_path / "rows.npz", word=word + 2, label=label)
    with pytest.raises(UserError, match="rows: `word` holds the index 7"):
        netc.train(path, quiet=True)


COMPUTED = """
net c {
    input word: i32[N, 3]
    input label: f32[N]
    h = reshape(word * 2 + 1, [N, 3]) |> embed(size: 7, out: 2) as enc
    logits = reshape(h, [N, 6]) |> linear(4) as score
    loss nll = softmax_loss(logits, label - 1, ignore: 9)
    output found = h
}
data rows = npz("rows.npz", batch: 2)
train c {
    from: rows
    solver: sgd(lr: 0.1)
    steps: 2
}
"""


@pytest.mark.parametrize("target", ["numpy", "c", "triton"])
@pytest.mark.parametrize("mode", ["test", "train"])
def test_what_a_net_computes_is_flagged(tmp_path: Path, target: str, mode: Literal["test", "train"]) -> None:
    if target == "c" and not shutil.which("cc"):
        pytest.skip("there is no C compiler")
    if target == "triton":
        pytest.importorskip("triton")
    path = tmp_path / "c.net"
    path.write_text(COMPUTED, encoding="utf-8")
    exe = netc.compile(path, mode=mode, dims={"N": 2}, target=target)
    word = np.array([[0, 1, 2], [2, 2, 1]], np.int32)
    feeds: dict[str, Any] = {"word": word, "label": np.array([1, 10], np.float32)}
    outputs = exe(**feeds)
    assert not [name for name in (*outputs, *exe.outputs()) if name.startswith(".outside")]
    with pytest.raises(UserError, match=r"c: `enc` \(.*c.net:5\) was given an index outside of the 7 rows 0 to 6"):
        exe(**feeds | {"word": word - 2})
    exe(**feeds)
    for wrong in (0, 5, np.nan):
        with pytest.raises(UserError, match=r"`nll.softmax_loss` \(.*c.net:7\) was given a label outside of the 4"):
            exe(**feeds | {"label": np.array([1, wrong], np.float32)})


def test_numbers_that_a_layer_makes_itself_are_not_flagged() -> None:
    text = "net a {\n    input x: f32[N, 5]\n    output best = argmax(x, top_k: 3)\n}\n"
    assert not compilation(Source("a.net", text), mode="test").program.ranges
