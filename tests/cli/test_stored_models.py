"""Models of ONNX and packages of the zoo in the place of a `.net`, with the weights that they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from support.commands import run

NET = """net tiny {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3) as fc
    loss nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
    output prob = softmax(scores)
}
data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 8, records: 16, scale: 1/256)
train tiny {
    from: made
    test: made
    solver: sgd(lr: 0.1)
    steps: 2
}
"""
# What each command says of a net, whichever file it lies in.
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "summary": (("--output", "prob"), "51 parameters"),
    "show": (("--mode", "test"), "return prob ="),
    "show ast": (("--stage", "ast", "--lenient"), "linear"),
    "profile": (("--mode", "test", "--seconds", "0.01", "--batch", "2", "--output", "prob"), "unfused / fused"),
    "compile": (("-o", "out", "--target", "numpy"), "out/tiny.py"),
    "verify": (("--mode", "test"), "tiny is right"),
    "explain": (("--mode", "test", "--laws"), "laws applied"),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.net").write_text(NET, encoding="utf-8")
    netc.compile("tiny.net", dims={"N": 1}).save("tiny.safetensors")
    Path("names.txt").write_text("a\nb\nc\n", encoding="utf-8")
    image = np.random.default_rng(0).standard_normal((5, 1, 4, 4)).astype(np.float32)
    np.savez("x.npz", image=image)


def model(kind: str) -> Path:
    """The net as a model."""
    path = Path({"onnx": "tiny.onnx"}.get(kind, "tiny.netz"))
    if kind == "onnx":
        pytest.importorskip("onnx")
        assert run("convert", "tiny.net", "tiny.safetensors", "-o", path)[0] == 0
        return path
    words = ("--weights", "tiny.safetensors", "--licence", "MIT", "--labels", "names.txt", "-o", path)
    assert run("zoo", "pack", "tiny.net", *words)[0] == 0
    if kind == "folder":
        assert run("zoo", "unpack", path, "-o", "unpacked")[0] == 0
        return Path("unpacked")
    return path


@pytest.mark.parametrize("kind", ["onnx", "package", "folder"])
def test_commands_take_models(kind: str) -> None:
    file = model(kind)
    for name, (words, said) in COMMANDS.items():
        code, output, remarks = run(name.split()[0], file, *words)
        assert code == 0, (name, remarks)
        assert said in output, name
    code, output, _ = run("check", file)
    assert (code, output.strip()) == (0, f"{file}: no errors")


@pytest.mark.parametrize("kind", ["onnx", "package", "folder"])
def test_a_model_runs_with_its_weights(kind: str) -> None:
    file = model(kind)
    wanted = netc.compile("tiny.net", dims={"N": 5}, outputs=["prob"])
    wanted.load("tiny.safetensors")
    with np.load("x.npz") as arrays:
        prob = wanted(image=arrays["image"])["prob"]
    words = () if kind == "onnx" else ("--as-is",)
    code, _, remarks = run("run", file, "x.npz", "-o", "y.npz", "--output", "prob", *words)
    assert code == 0, remarks
    with np.load("y.npz") as arrays:
        assert np.allclose(arrays["prob"], prob, atol=1e-6)
    shown = run("run", file, "x.npz", "--top", "1", *words)[1]
    assert (": b " in shown or ": a " in shown or ": c " in shown) is (kind != "onnx")  # the package's names of classes
    # Others that are named go before those of the model.
    netc.compile("tiny.net", dims={"N": 1}, seed=3).save("other.safetensors")
    assert (
        run("run", file, "x.npz", "--weights", "other.safetensors", "-o", "z.npz", "--output", "prob", *words)[0] == 0
    )
    with np.load("z.npz") as arrays:
        assert not np.allclose(arrays["prob"], prob, atol=1e-3)


def test_a_package_is_tested_on_its_own_data() -> None:
    code, output, _ = run("test", model("package"))
    assert (code, "made: nll" in output, "(16 records)" in output) == (0, True, True)


def test_what_makes_no_sense_says_so() -> None:
    package = model("package")
    code, _, remarks = run("train", package)
    assert (code, "is a model: it was trained elsewhere" in remarks) == (2, True)
    onnx = model("onnx")
    code, _, remarks = run("test", onnx)
    assert (code, "has no `train` block" in remarks) == (2, True)
    code, _, remarks = run("summary", onnx, "--set", "classes=3")
    assert (code, "a model has no settings" in remarks) == (2, True)


def test_a_changed_package_is_refused() -> None:
    folder = model("folder")
    (folder / "names.txt").write_text("a\nb\nd\n")
    for command in ("summary", "check"):
        code, _, remarks = run(command, folder)
        assert (code, "names.txt is not the file that was packed" in remarks) == (2, True), command


def test_a_model_that_is_none_is_one_line() -> None:
    Path("broken.onnx").write_bytes(b"\x08\x07\xff\xff")
    for command in ("summary", "check"):
        code, output, remarks = run(command, "broken.onnx")
        assert (code, output, remarks.count("\n")) == (2, "", 1), command
        assert remarks.startswith("netc: error: broken.onnx")


@pytest.mark.parametrize("kind", ["onnx", "package", "folder"])
def test_functions_take_models(kind: str) -> None:
    """With the weights that they hold, as the commands of their names do."""
    file = model(kind)
    with np.load("x.npz") as arrays:
        image = arrays["image"]
    wanted = netc.compile("tiny.net", dims={"N": 5}, outputs=["prob"])
    wanted.load("tiny.safetensors")
    prob = wanted(image=image)["prob"]
    exe = netc.compile(file, dims={"N": 5}, outputs=["prob"])
    assert np.allclose(exe(image=image)["prob"], prob, atol=1e-6)
    found = netc.run(file, image, outputs=["prob"])
    assert np.allclose(found["prob"], prob, atol=1e-6)
    assert list(found.classes) == ([] if kind == "onnx" else ["a", "b", "c"])
    assert netc.summary(file, outputs=["prob"]).params == 51
    assert netc.check(file) == []
    assert "return prob =" in str(netc.show(file, mode="test"))
    assert netc.explain(file, mode="test", dims={"N": 2}).rows
    assert netc.verify(file, mode="test").ok
    assert netc.profile(file, mode="test", dims={"N": 2}, outputs=["prob"], seconds=0.01).fused.kernels
    netc.export(file, "out", target="numpy")
    assert (Path("out") / "tiny.safetensors").exists()
    if kind != "onnx":  # a model of ONNX has no data to be tested on
        assert 0 <= netc.test(file)["made"]["top1"] <= 1
    with pytest.raises(netc.UserError, match="it was trained elsewhere, and has no `train` block") as caught:
        netc.train(file, steps=1)
    assert "\n" not in str(caught.value)


def test_other_weights_go_before_those_of_a_model() -> None:
    file = model("onnx")
    other = netc.compile("tiny.net", dims={"N": 5}, outputs=["prob"], seed=9)
    x = np.ones((5, 1, 4, 4), np.float32)
    other.save("other.safetensors")
    found = netc.run(file, x, weights="other.safetensors", outputs=["prob"])["prob"]
    assert np.allclose(found, other(image=x)["prob"], atol=1e-6)


PROTOTXT = """
name: "small"
layer { name: "in" type: "Input" top: "image" input_param { shape { dim: [2, 1, 4, 4] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } include { phase: TRAIN } }
layer { name: "fc" type: "InnerProduct" bottom: "image" top: "fc" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { phase: TEST } }
"""


@pytest.mark.parametrize("file", ["small.prototxt", "solver.prototxt"])
def test_functions_take_prototxts(file: str) -> None:
    """Of a net, and of a solver."""
    Path("small.prototxt").write_text(PROTOTXT)
    Path("solver.prototxt").write_text('net: "small.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2')
    x, label = np.ones((2, 1, 4, 4), np.float32), np.zeros(2, np.float32)
    assert netc.compile(file)(image=x)["prob"].shape == (2, 3)
    assert netc.summary(file).params == 51
    assert netc.check(file) == []
    assert "prob" in str(netc.show(file, mode="test"))
    assert netc.explain(file, mode="test").rows
    assert netc.explain(file, mode="test", laws=True)
    assert netc.verify(file, mode="test").ok
    assert netc.profile(file, mode="test", seconds=0.01).fused.kernels
    netc.compile(file).save("fc.caffemodel")
    assert netc.run(file, x, weights="fc.caffemodel", outputs=["prob"])["prob"].shape == (2, 3)
    netc.export(file, "out", weights="fc.caffemodel", target="numpy")
    if file == "solver.prototxt":
        history = netc.train(file, {"image": np.repeat(x, 4, 0), "label": np.repeat(label, 4)}, quiet=True)
        assert len(history.losses) == 2
