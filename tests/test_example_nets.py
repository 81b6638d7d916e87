"""Every example: canonical, without problems, of the right size; the small ones learn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler.build import build, load
from netc.grammar.format import format_file
from netc.grammar.parse import read_source

EXAMPLES = Path(__file__).parents[1] / "examples"
NETS = sorted(EXAMPLES.rglob("*.net"))

# Parameters of the net as it is trained, and as it is deployed (`prob` alone). LeNet, AlexNet, CaffeNet,
# GoogLeNet: as in Caffe; ResNets and MobileNet: as in PyTorch's models.
PARAMETERS = {
    "alexnet": (60_965_224, 60_965_224),
    "ants_bees": (626_034, 626_034),
    "autoencoder": (2_837_314, 2_837_314),
    "autoencoder_digits": (2_837_314, 2_837_314),
    "caffenet": (60_965_224, 60_965_224),
    "cifar10_few": (145_578, 145_578),
    "cifar10_full": (89_578, 89_578),
    "cifar10_quick": (145_578, 145_578),
    "digits": (431_080, 431_080),
    "flickr_style": (56_950_164, 56_950_164),
    "from_scratch": (626_034, 626_034),
    "googlenet": (13_378_280, 6_998_552),
    "lenet": (431_080, 431_080),
    "logreg": (10, 10),
    "lstm": (1_186, 1_186),
    "mobilenet": (4_231_976, 4_231_976),
    "multilabel": (194_890, 194_890),
    "resnet18": (11_689_512, 11_689_512),
    "resnet50": (25_557_032, 25_557_032),
    "sample": (4_231_976, 4_231_976),
    "siamese": (431_102, 431_102),
    "unet": (29_659, 29_659),
    "user_op": (101_850, 50_890),
}

OUTPUTS = {"autoencoder": "reconstruction", "siamese": "embedding"}


def parameters(file: Path, mode: str, outputs: list[str] | None = None) -> int:
    experiment = load(file)
    built = build(experiment, experiment.default_net(), mode="train" if mode == "train" else "test", outputs=outputs)
    return sum(info.type.count for info in built.state if info.kind == "parameter")


def test_all_examples_are_known() -> None:
    assert {file.stem for file in NETS} == set(PARAMETERS)


@pytest.mark.parametrize("file", NETS, ids=lambda file: file.stem)
def test_in_canonical_form(file: Path) -> None:
    source = read_source(file)
    assert format_file(source) == source.text


@pytest.mark.parametrize("file", NETS, ids=lambda file: file.stem)
def test_no_problems(file: Path) -> None:
    assert netc.check(file, files=False) == []


@pytest.mark.parametrize("file", NETS, ids=lambda file: file.stem)
def test_parameters(file: Path) -> None:
    trained, deployed = PARAMETERS[file.stem]
    assert parameters(file, "train") == trained
    output = OUTPUTS.get(file.stem.partition("_")[0], "prob")
    assert parameters(file, "test", [output]) == deployed


@pytest.mark.parametrize("name", ["lenet", "cifar10_quick", "cifar10_full", "user_op"])
def test_summary(name: str) -> None:
    found = netc.summary(EXAMPLES / f"{name}.net", outputs=["prob"])
    assert found.params == PARAMETERS[name][1]
    assert sum(row.params for row in found.layers) == found.params
    assert found.activation_bytes == sum(row.bytes for row in found.layers)
    assert found.peak_bytes > 0


def test_lenet_in_numbers() -> None:
    """Multiply-adds of LeNet's layers, by hand, at batch 1."""
    found = netc.summary(EXAMPLES / "lenet.net", dims={"N": 1}, outputs=["prob"])
    flops = {row.name: row.flops for row in found.layers}
    assert 2 * 20 * 25 * 24 * 24 <= flops["conv1"] <= 2 * 20 * 26 * 24 * 24
    assert 2 * 50 * 500 * 8 * 8 <= flops["conv2"] <= 2 * 50 * 501 * 8 * 8
    assert 2 * 500 * 800 <= flops["ip1"] <= 2 * 500 * 801


def test_lenet_learns() -> None:
    history = netc.train(EXAMPLES / "lenet.net", steps=60, quiet=True)
    assert history.losses[:5].mean() > 2 * history.losses[-10:].mean()
    assert history.tests["heldout"].last()["top1"] > 0.7


def test_user_op_learns() -> None:
    history = netc.train(EXAMPLES / "user_op.net", steps=150, quiet=True)
    assert history.tests["heldout"].last()["top1"] > 0.85


def test_autoencoder_learns() -> None:
    history = netc.train(EXAMPLES / "autoencoder.net", steps=30, quiet=True)
    assert history.losses[-5:].mean() < 0.7 * history.losses[0]


def test_logreg_learns_from_the_points_of_its_script(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(EXAMPLES / "logreg_data.py"), str(tmp_path)], check=True, capture_output=True)
    shutil.copy(EXAMPLES / "logreg.net", tmp_path)
    with np.load(tmp_path / "logreg_train.npz") as points:
        assert points["data"].shape == (7500, 4)
    history = netc.train(tmp_path / "logreg.net", steps=500, quiet=True)
    assert history.tests["heldout"].last()["top1"] > 0.8
