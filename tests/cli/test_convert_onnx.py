"""`netc convert -o FILE.onnx`: what it writes, what it says, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.onnx import comparing, library
from netc.onnx.import_rows import OPERATORS
from netc.onnx.library import onnx
from support.commands import run

NET = """net tiny {
    input x: f32[N, 3]
    output y = x |> linear(2) as score |> softmax
    output z = tanh(x)
}
"""


def missing(name: str) -> None:
    raise ImportError(f"No module named {name!r}")


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(NET)
    netc.compile("tiny.net", dims={"N": 1}, seed=3).save("tiny.safetensors")
    return tmp_path


def test_a_net_with_its_weights(net: Path) -> None:
    code, out, err = run("convert", "tiny.net", "tiny.safetensors", "-o", "tiny.onnx", "--verify")
    assert code == 0, err
    assert out.splitlines()[0].startswith("beside ONNX Runtime, largest difference of 3 values: ")
    told = {name: float(size) for name, size in (line.split() for line in out.splitlines()[1:-1])}
    assert set(told) == {"score", "y", "z"}
    assert max(told.values()) < 1e-6
    assert out.splitlines()[-1] == f"tiny.onnx (3 nodes, {(net / 'tiny.onnx').stat().st_size} bytes)"
    x = np.ones((5, 3), np.float32)
    exe = netc.compile("tiny.net", dims={"N": 5})
    exe.load("tiny.safetensors")
    assert np.allclose(comparing.run(net / "tiny.onnx", {"x": x})["y"], exe(x=x)["y"], atol=1e-6)


def test_one_output_and_a_batch(net: Path) -> None:
    code, _, err = run("convert", "tiny.net", "-o", "z.onnx", "--output", "z", "--batch", "4")
    assert code == 0
    assert "the batch is 4, as given" in err
    model = onnx().load(net / "z.onnx")
    assert [value.name for value in model.graph.output] == ["z"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4


def test_a_model_as_a_net(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("convert", "tiny.net", "tiny.safetensors", "-o", "tiny.onnx")[0] == 0
    code, out, err = run("convert", "tiny.onnx", "-o", "back.net")
    assert code == 0, err
    assert out.splitlines()[0].startswith("beside ONNX Runtime, largest difference of outputs: ")
    assert out.splitlines()[1].startswith("back.net (6 lines), back.safetensors (")
    (net / "back.net").unlink()
    monkeypatch.setattr(comparing, "installed", lambda: False)
    monkeypatch.setattr(library, "import_module", missing)  # nor is the package onnx needed
    code, _, err = run("convert", "tiny.onnx", "-o", "back.net")
    assert code == 0
    assert "not compared with the model: onnxruntime is not installed" in err
    x = np.ones((5, 3), np.float32)
    found = []
    for name in ("tiny", "back"):
        exe = netc.compile(f"{name}.net", dims={"N": 5})
        exe.load(f"{name}.safetensors")
        found.append(exe(x=x)["y"])
    assert np.array_equal(found[0], found[1])


def test_what_differs_from_its_model_is_not_written(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("convert", "tiny.net", "tiny.safetensors", "-o", "tiny.onnx")[0] == 0
    right = OPERATORS["Tanh"]
    monkeypatch.setitem(OPERATORS, "Tanh", lambda t: t.binary("*", right(t), 1.01))
    code, _, err = run("convert", "tiny.onnx", "-o", "back.net")
    assert code == 2
    assert "the output z 1.0e-02 from what ONNX Runtime computes; nothing is written" in err
    assert not (net / "back.net").exists()
    assert not (net / "back.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tiny.net", "-o", "y.onnx"], "no run of `tiny`"),
        (["tiny.net", "-o", "y.onnx", "--untrained", "--weights", "tiny.safetensors"], "contradict each other"),
        (["tiny.net", "-o", "y.onnx", "--untrained", "--keep-names"], "--keep-names means nothing for a model"),
        (["tiny.net", "tiny.safetensors", "-o", "y.net"], "this is a .net already"),
        (["none.onnx", "-o", "y.net"], "none.onnx"),
        (["tiny.onnx", "-o", "y.onnx"], "y.onnx is no name for one"),
        (["none.net", "-o", "y.onnx", "--untrained"], "none.net"),
    ],
)
def test_what_is_refused(net: Path, words: list[str], said: str) -> None:
    code, _, err = run("convert", *words)
    assert code == 2
    assert said in err
    assert not (net / "y.onnx").exists()


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        (library, [], "pip install 'netc[onnx]'"),
        (comparing, ["--verify"], "pip install onnxruntime"),
    ],
)
def test_what_is_not_installed(
    net: Path, monkeypatch: pytest.MonkeyPatch, module: object, words: list[str], said: str
) -> None:
    monkeypatch.setattr(module, "import_module", missing)
    code, _, err = run("convert", "tiny.net", "-o", "y.onnx", "--untrained", *words)
    assert code == 2
    assert said in err
    assert not (net / "y.onnx").exists()
