"""Caffe's nets built as trees of the language: names, sharing, phases, losses, data and solvers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler.build import Experiment, build, load
from netc.compiler.caffe.options import Reading
from netc.compiler.caffe.reading import is_prototxt, tree_of
from netc.compiler.interpret import evaluate
from netc.compiler.net import Net
from netc.grammar.source import Source, SourceErrors, UserError

Mode = Literal["train", "test"]
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
DATA = """
layer {
  name: "digits" type: "Data" top: "x" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.5 mirror: true mean_value: 1 mean_value: 2 mean_value: 3 crop_size: 8 }
  data_param { source: "train_lmdb" batch_size: 64 backend: LMDB }
}
layer {
  name: "digits" type: "Data" top: "x" top: "label" include { phase: TEST }
  transform_param { mean_file: "m.binaryproto" crop_size: 8 force_color: true }
  data_param { source: "test_db" batch_size: 100 }
}
"""
SCORES = """
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def loaded(text: str, **how: Any) -> Experiment:
    return load(Source("n.prototxt", text), reading=Reading(**how))


def built(text: str, mode: Mode = "train", outputs: list[str] | None = None, **how: Any) -> Net:
    experiment = loaded(text, **how)
    return build(experiment, experiment.default_net(), mode=mode, outputs=outputs)


def shape(net: Net, name: str) -> tuple[int, ...]:
    return tuple(map(int, net.named[name].shape))


def test_names_are_caffes() -> None:
    body = """
    name: "a net, 2nd"
    layer { name: "conv1/7x7_s2" type: "Convolution" bottom: "x" top: "conv1"
            convolution_param { num_output: 4 kernel_size: 3 } }
    layer { name: "relu 1" type: "ReLU" bottom: "conv1" top: "conv1" }
    layer { name: "none" type: "Pooling" bottom: "conv1" top: "none" pooling_param { kernel_size: 2 } }
    layer { name: "true" type: "ReLU" bottom: "none" top: "true" }
    """
    net = built(INPUT + body, "test")
    assert net.name == "a_net_2nd"
    assert [row.name for row in net.layers] == ["conv1/7x7_s2", "relu 1", "none", "true"]
    assert [info.name for info in net.state] == ["conv1/7x7_s2.weight", "conv1/7x7_s2.bias"]
    assert list(net.outputs) == ["true"]
    assert shape(net, "none") == (2, 4, 5, 5)  # stride is 1 in Caffe
    assert dict(net.state[0].filler.settings) == {"value": 0.0}  # as Caffe has it, where no filler is given


def test_phases_stand_in_one_net() -> None:
    experiment = loaded(DATA + SCORES)
    name = experiment.default_net()
    train, test = (build(experiment, name, mode=mode) for mode in ("train", "test"))
    assert (train.losses, train.metrics) == ({"loss": 1.0}, ())
    assert (test.losses, test.metrics) == ({"loss": 1.0}, ("acc",))
    assert {str(type_) for type_ in train.inputs.values()} == {"f32[N,3,8,8]", "f32[N]"}


def test_levels_and_stages_are_settings() -> None:
    body = """
    layer { name: "a" type: "ReLU" bottom: "x" top: "a" include { min_level: 2 } }
    layer { name: "b" type: "TanH" bottom: "x" top: "b" include { stage: "deploy" } }
    layer { name: "c" type: "Sigmoid" bottom: "x" top: "c" exclude { stage: "deploy" } }
    """

    def outputs(**given: Any) -> set[str]:
        experiment = load(Source("n.prototxt", INPUT + body), settings=given)
        return set(build(experiment, "n", mode="test").outputs)

    assert outputs() == {"c"}
    assert outputs(level=2, stage="deploy") == {"a", "b"}
    assert outputs(stage=("x", "deploy")) == {"b"}
    with pytest.raises(UserError, match="`level` takes a whole number"):
        outputs(level="high")
    with pytest.raises(UserError, match="has no setting `stage`"):
        load(Source("n.prototxt", INPUT), settings={"stage": "deploy"})


def test_a_phase_that_is_not_complete_cannot_be_built() -> None:
    experiment = loaded(
        INPUT.replace("top:", "include { phase: TRAIN } top:") + 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    assert build(experiment, "n", mode="train", outputs=["y"]).outputs == ("y",)
    with pytest.raises(SourceErrors, match="no layer above makes the blob `x`"):
        build(experiment, "n", mode="test")


def test_sharing_is_by_name_and_multipliers_are_one() -> None:
    ip = 'layer { name: "%s" type: "InnerProduct" bottom: "x" top: "%s" inner_product_param { num_output: 5 } %s }\n'
    text = ip % ("a", "a", 'param { name: "w" } param { name: "b" lr_mult: 2 }')
    text += ip % ("c", "c", 'param { name: "w" lr_mult: 3 decay_mult: 0 } param { name: "b" }')
    net = built(INPUT + text, "train", ["a", "c"])
    assert [(info.name, info.lr, info.decay) for info in net.state] == [("a.weight", 3.0, 0.0), ("a.bias", 2.0, 1.0)]
    assert [row.params for row in net.layers] == [("a.weight", "a.bias")] * 2


def test_weights_of_losses() -> None:
    text = (
        INPUT
        + """
    layer { name: "i" type: "Input" top: "t" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
    layer { name: "e" type: "EuclideanLoss" bottom: "x" bottom: "t" top: "e" loss_weight: -2 }
    layer { name: "f" type: "EuclideanLoss" bottom: "x" bottom: "t" top: "f" loss_weight: 0 }
    layer { name: "s" type: "Sigmoid" bottom: "x" top: "s" loss_weight: 0.5 }
    layer { name: "quiet" type: "Silence" bottom: "f" }
    """
    )
    net = built(text)
    assert net.losses == {"e": -2.0, "s_loss": 0.5}
    assert list(built(text, "test").outputs) == ["s"]
    x, t = np.random.default_rng(0).standard_normal((2, 2, 3, 8, 8))
    values = evaluate(net.graph, {"x": x, "t": t})[0]
    wanted = -2 * ((x - t) ** 2).sum() / 4 + 0.5 * (1 / (1 + np.exp(-x))).sum()
    assert values[".objective"] == pytest.approx(wanted)


def test_no_gradient_where_propagate_down_says_so() -> None:
    text = (
        INPUT
        + """
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 2 } }
    layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" propagate_down: false
            inner_product_param { num_output: 2 } }
    layer { name: "l" type: "Reduction" bottom: "b" top: "l" loss_weight: 1 }
    """
    )
    net = built(text)
    assert "detach" in [row.kind for row in net.layers]


def test_data_layers_are_sources_of_data(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(DATA + SCORES)
    (tmp_path / "train_lmdb").mkdir()
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        """
        net: "net.prototxt" test_iter: 10 test_interval: 500 base_lr: 0.01 momentum: 0.9 weight_decay: 5e-4
        lr_policy: "multistep" gamma: 0.1 stepvalue: 100 stepvalue: 200 max_iter: 300 iter_size: 2 average_loss: 20
        clip_gradients: 35 snapshot: 100 random_seed: 7 display: 50 type: "Nesterov" regularization_type: "L1"
        """
    )
    (spec,) = load(solver).trains
    (data,) = spec.data
    assert data.source == "lmdb"
    assert data.get("path") == str(tmp_path / "train_lmdb")
    assert {key: data.get(key) for key in ("batch", "scale", "mean", "crop", "mirror")} == {
        "batch": 64,
        "scale": 0.5,
        "mean": (1.0, 2.0, 3.0),
        "crop": 8,
        "mirror": True,
    }
    (test,) = spec.tests
    assert (test.data.get("colors"), data.get("colors")) == ("color", "stored")
    assert (test.every, test.start, test.net, test.data.source, test.data.get("batches")) == (500, 0, "", "leveldb", 10)
    assert str(spec.solver) == "nesterov(lr: 0.01, momentum: 0.9, weight_decay: 0.0005, decay: l1)"
    assert str(spec.schedule).startswith("multistep(gamma: 0.1, at: (100, 200)")
    numbers = spec.steps, spec.accumulate, spec.average, spec.clip, spec.snapshot, spec.seed, spec.display
    assert numbers == (300, 2, 20, 35.0, 100, 7, 50)


def test_random_dummies_are_fed_by_noise() -> None:
    text = """layer { name: "d" type: "DummyData" top: "a" top: "b" top: "c" dummy_data_param {
        shape { dim: 4 dim: 3 } data_filler { type: "gaussian" std: 2 } data_filler { type: "uniform" max: 9 }
        data_filler { value: 5 } } }"""
    data = list(loaded(text).data.values())[:2]  # those to train with
    assert [(spec.source, spec.get("columns"), spec.get("batch"), spec.get("shape")) for spec in data] == [
        ("noise", ("a",), 4, (3,)),
        ("noise", ("b",), 4, (3,)),
    ]
    assert [(spec.get("kind"), spec.get("std"), spec.get("max")) for spec in data] == [
        ("gaussian", 2.0, 1.0),
        ("uniform", 1.0, 9.0),
    ]


def test_nets_to_test_of_their_own_share_parameters(tmp_path: Path) -> None:
    (tmp_path / "train.prototxt").write_text('name: "n"' + DATA + SCORES)
    other = DATA.replace("phase: TEST", 'stage: "b"').replace("include { phase: TRAIN }", "exclude { }")
    (tmp_path / "test.prototxt").write_text('name: "n"' + other + SCORES)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        """
        train_net: "train.prototxt" test_net: "test.prototxt" test_iter: 3 test_state { stage: "b" }
        test_interval: 5 test_initialization: false base_lr: 0.01 lr_policy: "fixed" max_iter: 3
        """
    )
    experiment = load(solver)
    (spec,) = experiment.trains
    assert (spec.net, spec.tests[0].net, spec.tests[0].start) == ("n", "n_test", 1)
    states = [[info.name for info in build(experiment, net, mode="test").state] for net in ("n", "n_test")]
    assert states == [["ip.weight", "ip.bias"]] * 2


def test_shapes_that_lie_in_the_data_are_said() -> None:
    text = 'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "s" batch_size: 4 } }\n'
    text += 'layer { name: "l" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "l" }'
    with pytest.raises(SourceErrors) as caught:
        loaded(text)
    assert [error.code for error in caught.value.errors] == ["W606", "W606", "E310"]
    net = built(text, shapes={"x": (4, 7), "y": (4, 7)})
    assert {name: str(type_) for name, type_ in net.inputs.items()} == {"x": "f32[4,7]", "y": "f32[4,7]"}


def test_a_layer_that_would_write_a_file_reads_only() -> None:
    text = (
        INPUT
        + """
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 } }
    layer { name: "s" type: "Softmax" bottom: "ip" top: "s" }
    layer { name: "out" type: "HDF5Output" bottom: "ip" bottom: "x" hdf5_output_param { file_name: "a.h5" } }
    """
    )
    (note,) = loaded(text).warnings
    assert (note.code, note.severity, note.message) == ("W610", "note", 'HDF5Output: no file "a.h5" is written')
    assert "--output ip,x -o OUT.h5" in note.hint
    assert list(built(text, "test").graph.outputs) == ["s"]
    with pytest.raises(SourceErrors, match="it takes 2 bottoms, 1 are given"):
        loaded(text.replace('bottom: "ip" bottom: "x"', 'bottom: "ip"'))


def test_layers_of_forks_that_bring_data_are_inputs() -> None:
    experiment = loaded(
        'layer { name: "d" type: "VideoData" top: "x" }\nlayer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    assert [warning.code for warning in experiment.warnings] == ["W605", "W606"]


@pytest.mark.parametrize(
    ("path", "text", "foreign"),
    [
        ("a.net", "net n { input x: f32[N, 2] output y = relu(x) }".replace("] ", "]\n"), False),
        ("a.txt", "net n { input x: f32[N, 2] output y = relu(x) }".replace("] ", "]\n"), False),
        ("a.txt", INPUT, True),
        ("a", "net_param { } base_lr: 1", True),
    ],
)
def test_both_languages_are_told_apart(path: str, text: str, foreign: bool) -> None:
    assert is_prototxt(Source(path, text)) is foreign


def test_a_net_file_is_one_by_its_name() -> None:
    with pytest.raises(SourceErrors, match="E120"):
        tree_of(Source("a.net", INPUT), {}, Reading())


VOCABULARY = """
    layer { } : [ ] top bottom name type "x" "y" "a" "InnerProduct" "Pooling" "LSTM" "Slice" "Reshape" "Scale"
    "Data" dim "DummyData" "Parameter" "Filter" "Eltwise" inner_product_param num_output pooling_param
    kernel_size pad 0 1 3 -1 99999 recurrent_param shape 0.5 loss_weight param lr_mult "w" include phase TRAIN
    TEST propagate_down true false source net reshape_param slice_param slice_point data_param batch_size
    parameter_param dummy_data_param data_filler input layers input_dim INNER_PRODUCT base_lr "n.prototxt"
    lr_policy "step" test_iter
"""
WORDS = st.sampled_from(VOCABULARY.split())


def mistakes(text: str) -> str:
    """What is wrong with a text, whatever it is."""
    try:
        loaded(text, lenient=True)
    except SourceErrors as errors:
        return str(errors)
    return ""


@given(st.lists(WORDS, max_size=50).map(" ".join), st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_the_front_end(words: str, start: int, end: int) -> None:
    """Pieces of the language, and a right net with a piece of it cut out and others put in its place."""
    whole = INPUT + DATA + SCORES
    for text in (words, whole[:start] + words + whole[start + end :]):
        assert "Traceback" not in mistakes(text)
