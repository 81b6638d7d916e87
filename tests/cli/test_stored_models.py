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
