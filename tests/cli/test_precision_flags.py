"""--precision, --tf32 and --scale-growth: what they do, and what is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netc.__main__ import cli
from netc.runtime.tensors import read_tensors

ROOT = Path(__file__).parents[2]
LENET = str(ROOT / "examples/lenet.net")
NET = """net tiny {
    input image: f32[N, 1, 6, 6]
    input label: i32[N]
    scores = image |> linear(4) as score
    loss nll = softmax_loss(scores, label)
    output prob = softmax(scores)
}
data made = synthetic(shape: [1, 6, 6], classes: 4, records: 16, batch: 4)
train tiny {
    from: made
    test: made
    solver: sgd(lr: 0.05)
    steps: 4
    snapshot: every 4
}
"""


def netc(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.net"
    path.write_text(NET)
    return path


@pytest.mark.parametrize("command", ["show", "explain", "profile", "train", "test", "compile"])
def test_an_unknown_precision_is_refused(command: str) -> None:
    result = netc(command, LENET, "--precision", "bf17", *(["-o", "there"] if command == "compile" else []))
    assert result.exit_code != 0
    assert "there is no precision `bf17`; there are f32, bf16, f16" in f"{result.output}{result.exception}"


def test_no_precision_at_all_lists_what_there_is() -> None:
    result = netc("show", LENET, "--precision", "8")
    assert "there are f32, bf16, f16" in f"{result.output}{result.exception}"


def test_tf32_is_not_of_numpy() -> None:
    result = netc("show", LENET, "--tf32", "--target", "numpy")
    assert result.exit_code != 0
    assert "the target numpy has none" in f"{result.output}{result.exception}"


def test_scale_growth_is_a_number_from_1_on(tiny: Path) -> None:
    assert netc("train", tiny, "--scale-growth", "0").exit_code == 2


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_show_has_the_casts(precision: str) -> None:
    found = netc("show", LENET, "--stage", "fused", "--precision", precision, "--batch", "2", "--target", "numpy")
    assert found.exit_code == 0, found.output
    assert f"cast(%0, dtype='{precision}')" in found.output
    assert "dtype='f32')" in found.output
    assert (".scale" in found.output) == (precision == "f16")


def test_train_test_and_run_in_f16(tiny: Path) -> None:
    result = netc("train", tiny, "--folder", "run", "--precision", "f16", "--scale-growth", "2", "--target", "numpy")
    assert result.exit_code == 0, result.output
    snapshot = next(
        found for path in Path("run").rglob("*.safetensors") if ".scale" in (found := dict(read_tensors(path)))
    )
    assert snapshot[".scale"] == 2.0**18
    weights = dict(read_tensors(Path("run/tiny.safetensors")))
    assert set(weights) == {"score.weight", "score.bias"}
    assert {str(array.dtype) for array in weights.values()} == {"float32"}
    for precision in ("f32", "bf16", "f16"):
        tested = netc("test", tiny, "--weights", "run/tiny.safetensors", "--precision", precision)
        assert tested.exit_code == 0, tested.output
        assert "nll" in tested.output


def test_a_folder_in_bf16_runs_with_numpy_alone(tiny: Path) -> None:
    import subprocess
    import sys

    import numpy as np

    import netc as package

    how = ("--precision", "bf16", "--batch", "2", "--target", "numpy")
    result = netc("compile", tiny, "--untrained", "-o", "folder", *how)
    assert result.exit_code == 0, result.output
    assert "def round_bf16(" in Path("folder/tiny.py").read_text()
    x = np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32)
    np.savez("in.npz", image=x)
    done = subprocess.run(
        [sys.executable, "tiny.py", "../in.npz"], cwd="folder", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    exe = package.compile(tiny, dims={"N": 2}, outputs=["prob"], precision="bf16", target="numpy")
    assert exe(image=x)["prob"].shape == (2, 4)
