"""`netc convert NET.prototxt WEIGHTS -o NET.net`: weights beside the text, and both nets on random input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc import conversion_weights
from netc.conversion import convert
from netc.conversion_weights import pair
from netc.request import Request
from netc.weights import NONE
from support.caffe import CONFORMANCE
from support.commands import run

QUICK = CONFORMANCE.parent / "data" / "models" / "cifar10_quick"
NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [4, 2, 8, 8] } } }
layer { name: "c/a" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "ip 1" type: "InnerProduct" bottom: "c" top: "ip" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def save_weights(source: Path) -> None:
    """A caffemodel beside a prototxt, with numbers above 0: variances are among them."""
    exe = netc.compile(source)
    rng = np.random.default_rng(0)
    for name in exe.state:
        exe.state[name][...] = rng.uniform(0.5, 1.5, exe.state[name].shape)
    exe.save(source.with_suffix(".caffemodel"))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.prototxt"
    path.write_text(NET)
    save_weights(path)
    return path


def test_weights_go_into_a_file_beside_the_text(source: Path) -> None:
    code, out, err = run("convert", source, "small.caffemodel", "-o", "new.net", "--verify")
    assert code == 0, err
    first, *layers = [line for line in out.splitlines() if not line.startswith("new.")]
    told = {name: float(size) for name, size in (line.rsplit(maxsplit=1) for line in layers)}
    assert first.startswith("beside small.prototxt, largest difference of 5 layers: ")
    assert {name.strip() for name in told} == {"c/a", "bn", "r", "ip 1", "prob"}
    assert max(told.values()) < 1e-6
    x = np.random.default_rng(1).standard_normal((4, 2, 8, 8)).astype(np.float32)
    found = []
    for file, weights in (("small.prototxt", "small.caffemodel"), ("new.net", "new.safetensors")):
        found.append(netc.run(file, x, weights=weights, outputs=["prob"])["prob"])
    assert np.array_equal(found[0], found[1])


def test_a_difference_is_found_in_its_layer(source: Path) -> None:
    made = pair(source, convert(source), Request(), NONE, lambda line: None)
    name = next(name for name in made.other if name.endswith("ip_1.bias"))
    made.other[name][...] += 0.5
    made.other.touch()
    sizes = {one.name: one.size for one in made.compare()}
    assert sizes["ip 1"] > 1e-3
    assert max(sizes[name] for name in ("c/a", "bn", "r")) < 1e-6


def test_weights_without_a_file_to_go_beside_are_refused(source: Path) -> None:
    code, _, err = run("convert", source, "small.caffemodel")
    assert code == 2
    assert "weights go into a file beside the .net: name it, -o small.net" in err


def test_weights_of_another_net_are_refused(source: Path) -> None:
    source.write_text(NET.replace("num_output: 5", "num_output: 6"))
    code, _, err = run("convert", source, "small.caffemodel", "-o", "new.net")
    assert code == 2
    assert not Path("new.net").exists()
    assert "ip 1[1] of ip 1.bias is [5], the net wants [6]" in err.splitlines()[-1]


@pytest.mark.skipif(not QUICK.exists(), reason="the shared models are absent")
def test_a_trained_net_of_a_stranger(tmp_path: Path) -> None:
    words = (QUICK / "cifar10_quick.prototxt", QUICK / "cifar10_quick_iter_5000.caffemodel")
    code, out, err = run("convert", *words, "-o", tmp_path / "quick.net", "--verify")
    assert code == 0, err
    assert "largest difference of 12 layers" in out
    assert (tmp_path / "quick.safetensors").stat().st_size > 4 * 145_578


MERGED = """
name: "merged"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [4, 2, 8, 8] } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 3 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "bn/c" type: "BatchNorm" bottom: "c" top: "c" batch_norm_param { eps: 0.001 } }
layer { name: "sc/c" type: "Scale" bottom: "c" top: "c" param { lr_mult: 2 }
  scale_param { bias_term: true filler { type: "uniform" min: 1 max: 2 } bias_filler { value: 0.5 } } }
layer { name: "bn1" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "sc1" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "bn2" type: "BatchNorm" bottom: "c" top: "d" }
layer { name: "sc2" type: "Scale" bottom: "d" top: "e" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "d" bottom: "e" top: "sum" }
"""


def test_a_batch_norm_and_its_scale_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not one whose value others read as well. Weights go along."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "merged.prototxt"
    source.write_text(MERGED)
    save_weights(source)
    code, out, err = run("convert", source, "merged.caffemodel", "-o", "new.net", "--merge", "--verify")
    assert code == 0, err
    assert "scales that are part of the batch_norm before them: 2" in err
    text = Path("new.net").read_text()
    assert text.count("batch_norm") == 3
    assert text.count("scale") == 1
    assert "affine: false" in text.split("batch_norm")[3]
    told = {line.split()[0] for line in out.splitlines() if line.startswith("  ")}
    assert {"c", "sc/c", "sc1", "sum"} <= told
    x = np.random.default_rng(1).standard_normal((4, 2, 8, 8)).astype(np.float32)
    found = [
        netc.run(file, x, weights=weights, outputs=["sum"])["sum"]
        for file, weights in (("merged.prototxt", "merged.caffemodel"), ("new.net", "new.safetensors"))
    ]
    assert np.allclose(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_what_merging_would_make_another_value_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "merged.prototxt"
    source.write_text(MERGED)
    monkeypatch.setattr(conversion_weights, "TOO_FAR", 1e-12)
    code, _, err = run("convert", source, "-o", tmp_path / "new.net", "--merge")
    assert code == 2
    assert "from what it was; nothing is written" in err
    assert not (tmp_path / "new.net").exists()


def test_a_net_that_is_trained_alone_runs_in_training(tmp_path: Path) -> None:
    """That of a solver, whose test net is another file."""
    label = 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 4 } } include { phase: TRAIN } }'
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    (tmp_path / "small.prototxt").write_text(
        NET.replace('layer { name: "prob"', f'{label}\n{loss}\nlayer {{ name: "prob"')
    )
    source = tmp_path / "solver.prototxt"
    source.write_text(f'train_net: "{tmp_path}/small.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2')
    made = pair(source, convert(source), Request(), NONE, lambda line: None)
    sizes = {one.name: one.size for one in made.compare()}
    assert set(sizes) >= {"c/a", "bn", "ip 1", "loss"}
    assert max(sizes.values()) < 1e-6
