"""The matrix of an infogain loss in a file: a blob of Caffe's or a `.npy`, against the same matrix as a tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler.program import UserError
from netc.grammar.source import SourceErrors
from netc.runtime.caffe.mean import write_mean

H = np.random.default_rng(0).random((4, 4)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
LABEL = np.array([0, 3, 1], np.float32)
NET = """
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 3 dim: 4 } shape { dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 } }
"""
FILE = """
layer { name: "gain" type: "InfogainLoss" bottom: "ip" bottom: "y" top: "loss" infogain_loss_param { source: "%s" } }
"""
BOTTOM = """
layer { name: "h" type: "Input" top: "h" input_param { shape { dim: 4 dim: 4 } } }
layer { name: "gain" type: "InfogainLoss" bottom: "ip" bottom: "y" bottom: "h" top: "loss" }
"""


def written(folder: Path, text: str, matrix: np.ndarray = H) -> Path:
    np.save(folder / "H.npy", matrix)
    write_mean(folder / "H.binaryproto", matrix[None])
    path = folder / "net.prototxt"
    path.write_text(NET + text)
    return path


@pytest.mark.parametrize("name", ["H.binaryproto", "H.npy"])
def test_a_matrix_in_a_file_is_that_matrix(tmp_path: Path, name: str) -> None:
    weight = np.random.default_rng(2).standard_normal((4, 4)).astype(np.float32)
    found = []
    for text, feeds in ((BOTTOM, {"h": H}), (FILE % name, {})):
        exe = netc.compile(written(tmp_path, text), mode="train", gradients=["ip.weight"])
        exe.state["ip.weight"] = weight
        found.append(exe(x=X, y=LABEL, **feeds))
        exe.save(tmp_path / "w.caffemodel")
    for key in ("loss", "ip.weight.grad"):
        np.testing.assert_allclose(found[1][key], found[0][key], rtol=1e-6)
        assert np.abs(found[0][key]).max() > 0.01
    # It is none of the net's weights.
    assert netc.compile(tmp_path / "net.prototxt", outputs=["ip"]).state.load(tmp_path / "w.caffemodel").absent == ()


def test_a_matrix_of_the_language(tmp_path: Path) -> None:
    np.save(tmp_path / "H.npy", np.eye(4))
    text = "net a {\n    input x: f32[N, 4]\n    input y: i32[N]\n    loss %s\n}\n"
    results = []
    for name, loss in (("a", 'l = infogain_loss(x, y, file: "H.npy")'), ("b", "l = softmax_loss(x, y)")):
        (tmp_path / f"{name}.net").write_text(text % loss)
        results.append(netc.compile(tmp_path / f"{name}.net", dims={"N": 3})(x=X, y=LABEL.astype(np.int32))["l"])
    assert results[0] == pytest.approx(results[1])


def test_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"net\.prototxt:5: file cannot fill \.gain\.gain, f32\[4,4\]: .*holds 3 x 3"):
        netc.compile(written(tmp_path, FILE % "H.npy", H[:3, :3]))
    with pytest.raises(UserError, match="lies in a file, not in the folder"):
        netc.export(written(tmp_path, FILE % "H.npy"), tmp_path / "out", outputs=["loss"], untrained=True)
    with pytest.raises(UserError, match=r"absent\.npy"):
        netc.compile(written(tmp_path, FILE % "absent.npy"))
    with pytest.raises(SourceErrors, match="it has no matrix"):
        netc.compile(written(tmp_path, FILE.replace('source: "%s"', "")))
