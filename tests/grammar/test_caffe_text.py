"""Protobuf's text format: what Google's parser takes is taken, with places; the schema; upgrades; rules."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.grammar.caffe.fields import ENUMS, MESSAGES
from netc.grammar.caffe.message import Message
from netc.grammar.caffe.rules import NetState
from netc.grammar.caffe.schema import SCALARS, fields_of, values_of
from netc.grammar.caffe.text_format import read
from netc.grammar.caffe.upgrade import upgraded_net
from netc.grammar.source import Source, SourceError, SourceErrors


def message(text: str, type_: str = "NetParameter", *, lenient: bool = False) -> Message:
    return read(Source("a.prototxt", text), type_, lenient=lenient)[0]


def codes(text: str, type_: str = "NetParameter") -> list[str]:
    try:
        message(text, type_)
    except SourceErrors as errors:
        return [error.code for error in errors.errors]
    return []


def layer(text: str) -> Message:
    return message(f"layer {{ {text} }}").messages("layer")[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('name: "a"', "a"),
        ("name: 'a\"b'", 'a"b'),
        ('name: "con" "v" # between\n  \'1\'', "conv1"),
        (r'name: "a\n\t\\\"\x41\101\u00e9"', 'a\n\t\\"AAé'),
        (r'name: "\303\251"', "é"),
        ('name: "a";', "a"),
        ('name: "a",', "a"),
        ("name : \n'a'", "a"),
    ],
)
def test_texts(text: str, value: str) -> None:
    assert message(text).get("name") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e-3", 1e-3),
        ("2.5f", 2.5),
        ("-3", -3.0),
        ("- 3", -3.0),
        ("inf", float("inf")),
        ("-Infinity", float("-inf")),
    ],
)
def test_reals(text: str, value: float) -> None:
    assert layer(f"power_param {{ scale: {text} }}").sub("power_param").get("scale") == value


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("0x1F", 31), ("017", 15), ("-1", -1), ("0", 0)])
def test_whole_numbers(text: str, value: int) -> None:
    assert layer(f"softmax_param {{ axis: {text} }}").sub("softmax_param").get("axis") == value


@pytest.mark.parametrize("text", ["1.5", "1e3", "08", "2147483648", "nan", "x", '"1"'])
def test_what_is_no_whole_number(text: str) -> None:
    assert codes(f"layer {{ softmax_param {{ axis: {text} }} }}") == ["E703"]


@pytest.mark.parametrize(
    "text",
    [
        "pooling_param { pool: AVE }",
        "pooling_param: { pool: 1 }",
        "pooling_param < pool: AVE >",
        "pooling_param: < pool: AVE; >,",
    ],
)
def test_messages_and_enumerations(text: str) -> None:
    assert layer(text).sub("pooling_param").get("pool") == "AVE"


def test_lists_in_brackets() -> None:
    text = "input: ['a', \"b\"] input: 'c' input_dim: [1, 2] input_dim: [] input_shape: [{ dim: 1 }, < dim: [2, 3] >]"
    given = message(text)
    assert given.all("input") == ["a", "b", "c"]
    assert given.all("input_dim") == [1, 2]
    assert [shape.all("dim") for shape in given.messages("input_shape")] == [[1], [2, 3]]


@pytest.mark.parametrize(
    "text",
    [
        "name 'a'",
        "name: a b",
        "layer: 3",
        "name { }",
        "layer {",
        "layer }",
        "input: ['a' 'b', 'c'",
        "= 3",
        "name:",
        "1: 2",
    ],
)
def test_what_breaks_the_form(text: str) -> None:
    assert codes(text)[-1] in ("E701", "E703")


def test_a_place_for_everything() -> None:
    text = 'name: "n"\nlayer {\n  top: "a" "b"\n  relu_param { negative_slope: - 1 }\n}'
    found = message(text).messages("layer")[0]
    assert str(found.span) == "a.prototxt:2:1"
    assert found.span.text == text[text.index("layer") :]
    assert found.place("top").text == '"a" "b"'
    assert found.sub("relu_param").place("negative_slope").text == "- 1"
    assert found.sub("pooling_param").span == found.span


def test_defaults_are_those_of_the_schema() -> None:
    empty = layer("")
    assert empty.sub("lrn_param").get("local_size") == 5
    assert empty.sub("lrn_param").get("beta") == 0.75
    assert empty.sub("pooling_param").get("pool") == "MAX"
    assert empty.sub("convolution_param").get("bias_term") is True
    assert empty.sub("python_param").get("param_str") == ""
    assert not empty.has("lrn_param")


def test_unknown_fields_are_named_or_passed_over() -> None:
    text = (
        "engine: CAFFE layer { roi_param { a: 1 b { c: 'x' } d: [1, 2] } relu_parm { } pooling_param { pool: MEDIAN } }"
    )
    with pytest.raises(SourceErrors) as caught:
        message(text)
    assert [(e.code, e.span.text) for e in caught.value.errors] == [
        ("E702", "engine"),
        ("E702", "roi_param"),
        ("E702", "relu_parm"),
        ("E703", "MEDIAN"),
    ]
    assert caught.value.errors[2].hint == "did you mean `relu_param`?"
    found, warnings = read(Source("a.prototxt", text), "NetParameter", lenient=True)
    assert [warning.code for warning in warnings] == ["W604"] * 4
    assert found.messages("layer")[0].fields.keys() == {"pooling_param"}


def test_the_schema_is_whole() -> None:
    """63 messages of 423 fields, whose types exist and whose numbers are their own."""
    assert len(MESSAGES) == 63
    assert sum(len(fields_of(name)) for name in MESSAGES) == 423
    for name in MESSAGES:
        fields = fields_of(name).values()
        assert len({field.number for field in fields}) == len(fields)
        for field in fields:
            assert field.type in SCALARS or field.is_message or field.is_enum, (name, field)
            assert not field.is_enum or field.default in values_of(field.type)
    assert all(values_of(name) for name in ENUMS)


def upgraded(text: str) -> tuple[Message, list[SourceError]]:
    errors: list[SourceError] = []
    return upgraded_net(message(text), errors.append), errors


def plain(given: Any) -> Any:
    """A message without its places."""
    if isinstance(given, Message):
        return {name: [plain(item) for item in items] for name, items in given.fields.items()}
    return given.value


def test_old_layers_become_new_ones() -> None:
    v0, errors = upgraded(
        """
        name: "n" input: "data" input_dim: 1 input_dim: 2 input_dim: 8 input_dim: 8
        layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "padded" }
        layers {
          layer {
            name: "c" type: "conv" num_output: 4 kernelsize: 5 biasterm: false
            blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
          }
          bottom: "padded" top: "c"
        }
        layers { layer { name: "r" type: "relu" } bottom: "c" top: "c" }
        """
    )
    new, more = upgraded(
        """
        name: "n"
        layer { name: "input" type: "Input" top: "data" input_param { shape { dim: [1, 2, 8, 8] } } }
        layer {
          bottom: "data" top: "c" name: "c" type: "Convolution"
          convolution_param { num_output: 4 kernel_size: 5 bias_term: false pad: 2 }
          param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        }
        layer { bottom: "c" top: "c" name: "r" type: "ReLU" }
        """
    )
    assert errors == more == []
    assert plain(v0) == plain(new)


def test_transformations_move_in_v1_only() -> None:
    v1, _ = upgraded(
        'layers { type: DATA data_param { source: "x" scale: 2 crop_size: 3 } transform_param { mirror: true } }'
    )
    given = v1.messages("layer")[0]
    assert plain(given.sub("transform_param")) == {"mirror": [True], "scale": [2.0], "crop_size": [3]}
    assert plain(given.sub("data_param")) == {"source": ["x"]}
    v2, _ = upgraded('layer { type: "Data" data_param { source: "x" scale: 2 } }')
    assert not v2.messages("layer")[0].has("transform_param")


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ("", True),
        ("include { phase: TRAIN }", True),
        ("include { phase: TEST }", False),
        ("include { phase: TEST } include { stage: 'a' }", True),
        ("include { stage: 'a' stage: 'b' }", False),
        ("include { not_stage: 'b' min_level: 2 max_level: 2 }", True),
        ("include { min_level: 3 }", False),
        ("exclude { max_level: 1 } exclude { not_stage: 'a' }", True),
        ("exclude { phase: TRAIN stage: 'a' }", False),
    ],
)
def test_rules_of_inclusion(rules: str, kept: bool) -> None:
    assert NetState("TRAIN", 2, ("a",)).keeps(layer(rules)) is kept


def test_ten_thousand_lines_in_a_second() -> None:
    one = 'layer {\n  name: "conv"\n  type: "Convolution"\n  bottom: "a"\n  top: "b"\n  param {\n    lr_mult: 1\n  }\n'
    one += "  convolution_param {\n    num_output: 64\n    kernel_size: 3\n    pad: 1\n  }\n}\n"
    text = one * 800
    assert text.count("\n") > 10_000
    begin = time.process_time()
    assert len(message(text).messages("layer")) == 800
    assert time.process_time() - begin < 1


VOCABULARY = """
    layer { } < > [ ] : ; , name "a" 'b 1 - 0x 1e top # convolution_param kernel_size input_shape dim \\ é AVE layers
    true
"""
PIECES = st.sampled_from([*VOCABULARY.split(), "\x00", "\n", "\ud800"])


def ends(text: str, *, lenient: bool) -> tuple[SourceError, ...]:
    """The mistakes of a text, whatever it is."""
    try:
        message(text, lenient=lenient)
    except SourceErrors as errors:
        return errors.errors
    return ()


@given(st.lists(PIECES, max_size=40).map(" ".join) | st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader(text: str) -> None:
    for lenient in (False, True):
        assert all(str(error) for error in ends(text, lenient=lenient))


@pytest.mark.parametrize(
    "text", ["a {" * 100_000, "layer { " * 100_000, "x: [" * 50_000, '"' * 200_000, "name: '" + "\\" * 99_999]
)
def test_deep_and_long_texts_end(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(SourceErrors):
        message(text, lenient=True)
    assert time.process_time() - begin < 5
