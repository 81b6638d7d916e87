"""`netc convert`: prototxts as `.net` files that build the same graphs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from netc import conversion
from netc.conversion import convert
from netc.grammar.format import format_file
from netc.grammar.parse import parse
from netc.grammar.source import Source, UserError
from netc.grammar.unparse import unparse
from support.caffe import CONFORMANCE
from support.commands import run
from support.net_texts import net_texts

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.net"))
MODELS = sorted((CONFORMANCE.parent / "data" / "models").rglob("*deploy.prototxt"))

NET = """
name: "digits, 2nd"
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: [8, 1, 28, 28] } shape { dim: 8 } } }
layer {
  name: "conv1/5x5" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } bias_filler { type: "constant" } }
}
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "relu1" type: "ReLU" bottom: "pool1" top: "pool1" }
layer { name: "drop" type: "Dropout" bottom: "pool1" top: "pool1" dropout_param { dropout_ratio: 0.4 } }
layer {
  name: "ip-1" type: "InnerProduct" bottom: "pool1" top: "ip-1"
  inner_product_param { num_output: 10 weight_filler { type: "gaussian" std: 0.1 } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip-1" bottom: "label" top: "loss" loss_weight: 0.5 }
layer { name: "top" type: "Accuracy" bottom: "ip-1" bottom: "label" top: "top 1" include { phase: TEST } }
"""
WRITTEN = """# From n.prototxt.
net digits_2nd {
    input data: f32[N, 1, 28, 28]
    input label: f32[N]
    ip_1 = data |> conv(20, 5, weight: xavier, lr: [1, 2]) as "conv1/5x5" |> max_pool(2) |> relu
        |> dropout(0.4) |> linear(10, weight: gaussian(std: 0.1)) as "ip-1"
    loss(weight: 0.5) loss = softmax_loss(ip_1, label)
    if train {} else {
        metric top_1 = accuracy(ip_1, label)
    }
}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "n.prototxt"
    path.write_text(text)
    return path


def test_a_net_as_a_person_would_write_it(tmp_path: Path) -> None:
    found = convert(written(tmp_path, NET))
    assert found.text == WRITTEN
    assert found.notes == ("digits_2nd: the batch, 8 in the prototxt, is N",)
    named = convert(written(tmp_path, NET), keep_names=True).text
    assert all(f" as {name}" in named for name in ("pool1", "relu1", "drop"))


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    target = tmp_path / "model.net"
    status, output, remarks = run("convert", written(tmp_path, NET), "-o", target)
    assert (status, output) == (0, f"{target} (11 lines for 18)\n")
    assert remarks == "netc: digits_2nd: the batch, 8 in the prototxt, is N\n"
    assert target.read_text() == WRITTEN
    assert run("check", target)[0] == 0
    status, _, remarks = run("convert", target)
    assert (status, "this is a .net already" in remarks) == (2, True)


@pytest.mark.parametrize(
    ("right", "wrong", "what"),
    [("20, 5", "20, 3", "graph"), ("std: 0.1", "std: 0.2", "state"), ("lr: [1, 2]", "lr: [2, 2]", "state")],
)
def test_a_text_of_another_meaning_is_not_written(
    right: str, wrong: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs are compared: whatever the writing does wrong, it is noticed."""
    monkeypatch.setattr(conversion, "unparse", lambda file: unparse(file).replace(right, wrong))
    with pytest.raises(UserError, match=f"the {what} of digits_2nd .*would be another"):
        convert(written(tmp_path, NET))


def test_where_the_short_form_would_be_another_the_flat_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "unparse", lambda file: unparse(file).replace("|> max_pool(2)", "|> max_pool(3)"))
    found = convert(written(tmp_path, NET))
    assert "    pool1 = max_pool(conv1, 2) as pool1\n" in found.text
    assert found.notes[-1].startswith("written flat")


def test_what_no_text_says_is_an_error(tmp_path: Path) -> None:
    text = (
        NET.replace('name: "drop"', "name: 'dr\"op'")
        .replace('"Dropout"', '"PReLU"')
        .replace("dropout_param { dropout_ratio: 0.4 }", "")
    )
    with pytest.raises(UserError, match="cannot be written"):
        convert(written(tmp_path, text))


@pytest.mark.skipif(not MODELS, reason="the shared models are absent")
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.parent.name)
def test_trained_models_are_converted(path: Path) -> None:
    """What convert returns has been built and compared."""
    found = convert(path)
    lines = len(path.read_text().splitlines())
    assert len(found.text.splitlines()) < lines / 4
    assert format_file(Source("a.net", found.text)) == found.text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_trees_are_printed_as_what_they_were_read_from(path: Path) -> None:
    file = parse(Source(path.name, path.read_text()))
    assert parse(Source(path.name, unparse(file))) == file


@given(net_texts())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example("block x(x) {\n    return (-x) ** x\n}\n")
def test_any_tree_is_printed_as_what_it_was_read_from(text: str) -> None:
    file = parse(Source("a.net", text))
    assert parse(Source("a.net", unparse(file))) == file
