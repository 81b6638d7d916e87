"""`netc train`, `test`, `run`, `compile`: from a file to a net that works elsewhere; runs cut off and gone on with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netc.runtime.tensors import read_tensors
from support.commands import run
from support.json_forms import parsed

ROOT = Path(__file__).parents[2]
SMALL = """
net small {
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    x = image |> linear(32) as enc |> relu |> dropout(0.2)
    logits = x |> linear(10) as score
    loss nll = softmax_loss(logits, label)
    metric top1 = accuracy(logits, label)
    output prob = softmax(logits)
}
data digits = mnist(split: train, batch: 50, scale: 1/256, shuffle: true)
data heldout = mnist(split: test, batch: 100, scale: 1/256)
train small {
    from: digits
    test: heldout every 50
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: STEPS
    snapshot: every 20
    display: every 50
    seed: 5
}
"""


@pytest.fixture(autouse=True)
def _embedded_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The digits that come with netc, whatever lies on this machine; runs go to a folder of the test's own."""
    monkeypatch.delenv("NETC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def written(steps: int) -> str:
    Path("small.net").write_text(SMALL.replace("STEPS", str(steps)))
    return "small.net"


def weights(folder: Path | str) -> dict[str, bytes]:
    tensors = read_tensors(Path(folder) / "small.safetensors")
    return {name: array.tobytes() for name, array in tensors.items()}


def test_train_test_run_compile() -> None:
    file = written(150)
    code, out, _ = run("train", file)
    assert code == 0
    assert "step 150 of 150" in out
    folder = Path("runs/small/1")
    assert {"log.jsonl", "curves.png", "small.safetensors", "snapshots"} <= {p.name for p in folder.iterdir()}
    assert {"enc.weight", "enc.bias", "score.weight", "score.bias"} == set(weights(folder))
    kinds = [json.loads(line)["kind"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert kinds.count("step") == 150
    assert kinds[0] == "run"
    assert kinds[-1] == "end"

    code, out, _ = run("test", file, "--json")
    assert code == 0
    tested = parsed(out)
    assert tested["weights"] == ["runs/small/1/small.safetensors"]
    assert tested["results"]["heldout"]["records"] == 1000
    assert tested["results"]["heldout"]["values"]["top1"] > 0.85
    assert "heldout: nll" in run("test", file, "--weights", "runs/small/1/small.safetensors")[1]

    rows = np.random.default_rng(0).random((7, 1, 28, 28), np.float32)
    np.savez("in.npz", image=rows)
    code, out, _ = run("run", file, "in.npz", "--top", "2")
    assert code == 0
    assert out.startswith("record 0: prob: ")
    assert len(out.splitlines()) == 7
    assert run("run", file, "in.npz", "--out", "out.npz", "--batch", "3")[0] == 0
    with np.load("out.npz") as found:
        prob = found["prob"]
    assert prob.shape == (7, 10)
    np.testing.assert_allclose(prob.sum(axis=1), 1, rtol=1e-5)
    listed = parsed(run("run", file, "in.npz", "--json")[1])["outputs"]
    np.testing.assert_allclose(listed["prob"], prob, rtol=1e-4, atol=1e-6)

    code, out, err = run("compile", file, "-o", "out/net", "--batch", "4")
    assert code == 0
    assert "weights: runs/small/1/small.safetensors" in err
    elsewhere(Path("out/net"), prob)


def elsewhere(folder: Path, prob: np.ndarray) -> None:
    """The compiled folder gives the same, moved away, in a Python in which netc cannot be imported."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) | {"manifest.json"} == {path.name for path in folder.iterdir()}
    assert manifest["inputs"] == {"image": {"dtype": "f32", "shape": [4, 1, 28, 28]}}
    moved = shutil.move(folder, "moved")
    code = (
        "import sys, runpy\n"
        "for name in ('netc', 'lark', 'networkx', 'safetensors', 'threadpoolctl'): sys.modules[name] = None\n"
        f"sys.argv = ['small.py', 'in.npz', '-o', 'deployed.npz']\n"
        f"runpy.run_path({str(Path(moved) / 'small.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load("deployed.npz") as found:
        np.testing.assert_allclose(found["prob"], prob, rtol=1e-4, atol=1e-6)


def test_the_compiled_program_tells_how_it_is_called_and_what_it_cannot_read() -> None:
    text = "net line {\n    input x: f32[N, 3]\n    output y = x |> linear(1) as fit\n}\n"
    Path("line.net").write_text(text)
    x = np.ones((5000, 3), np.float32)
    np.savez("in.npz", x=x)
    np.save("in.npy", x)
    assert run("compile", "line.net", "--untrained", "-o", "out", "--batch", "100")[0] == 0
    call = [sys.executable, "out/line.py"]
    done = subprocess.run([*call, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python line.py INPUT.npz")
    assert "x float32 [100, 3]" in done.stdout
    done = subprocess.run([*call, "in.npy"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "in.npy: this is no .npz; save the inputs by name with np.savez\n")
    with subprocess.Popen([*call, "in.npz"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "y: float32[5000, 1]\n"
        first = process.stdout.readline()
        process.stdout.close()  # as `head -2` does
        assert process.stderr.read() == ""
    assert first.startswith("  0: ")
    assert len(first.split()) == 2  # one number is no class
    assert (
        run("run", "line.net", "in.npz", "--weights", "out/line.safetensors")[1].splitlines()[0]
        == f"record 0: y: {first.split()[1]}"
    )


def test_compile_replaces_only_what_it_wrote() -> None:
    file = written(10)
    code, _, err = run("compile", file, "-o", "net")
    assert code == 2
    assert "train it here first, or use --weights, or --untrained for first values" in err
    assert not Path("net").exists()
    assert run("compile", file, "--untrained", "-o", "net")[0] == 0
    code, _, err = run("compile", file, "--untrained", "-o", "net")
    assert code == 0
    assert "the net is untrained: it has first values" in err
    code, _, err = run("compile", file, "--untrained", "--weights", "net/small.safetensors", "-o", "net")
    assert (code, err) == (2, "netc: error: --weights and --untrained contradict each other\n")
    Path("net/mine.txt").write_text("mine")
    code, _, err = run("compile", file, "--untrained", "-o", "net")
    assert code == 2
    assert "holds other files" in err
    assert Path("net/mine.txt").read_text() == "mine"
    Path("file").write_text("x")
    assert run("compile", file, "--untrained", "-o", "file")[0] == 2
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_run_reads_images(tmp_path: Path) -> None:
    from PIL import Image

    file = written(10)
    run("train", file, "--steps", "5")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30, 3), np.uint8)
        Image.fromarray(pixels).save(f"{number}.png")
    Path("names.txt").write_text("\n".join(f"digit {i}" for i in range(10)))
    code, out, _ = run("run", file, "0.png", "1.png", "--labels", "names.txt", "--top", "1")
    assert code == 0
    first, second = out.splitlines()
    assert first.startswith("0.png: prob: digit ")
    assert second.startswith("1.png: prob: digit ")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": np.zeros((2, 3, 28, 28))}, "has shape [2, 3, 28, 28], the input is f32[N,1,28,28]"),
        ({"pixels": np.zeros((2, 1, 28, 28))}, "there is no array `image`; it holds pixels"),
        ({"image": np.array([["a"]])}, "has shape"),
        ({"image": np.zeros((0, 1, 28, 28))}, "has shape [0, 1, 28, 28]"),
    ],
)
def test_run_refuses_other_arrays(arrays: dict[str, np.ndarray], words: str) -> None:
    file = written(10)
    np.savez("in.npz", **arrays)  # type: ignore[arg-type]
    code, _, err = run("run", file, "in.npz")
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1


def test_run_refuses_what_is_no_npz() -> None:
    file = written(10)
    Path("in.npz").write_bytes(b"not a zip")
    assert run("run", file, "in.npz")[0] == 2
    Path("in.png").write_bytes(b"not a picture")
    assert run("run", file, "in.png")[0] == 2
    assert run("run", file, "no.png")[0] == 2


def test_commands_without_weights_say_so() -> None:
    file = written(10)
    np.savez("in.npz", image=np.zeros((1, 1, 28, 28)))
    for args in (["test", file], ["run", file, "in.npz"], ["train", file, "--resume"]):
        code, _, err = run(*args)
        assert code == 2
        assert len([line for line in err.splitlines() if "embedded" not in line]) == 1


def test_flags_replace_what_the_block_says() -> None:
    file = written(500)
    code, _, _ = run("train", file, "--steps", "3", "--seed", "9", "--batch", "10", "--folder", "here")
    assert code == 0
    header = json.loads(Path("here/log.jsonl").read_text().splitlines()[0])
    assert (header["steps"], header["seed"], header["batch"]) == (3, 9, 10)
    assert run("train", file, "--folder", "here", "--steps", "3")[0] == 2


def test_an_input_without_a_column() -> None:
    Path("a.net").write_text(SMALL.replace("STEPS", "5").replace("f32[N, 1, 28, 28]", "f32[N, 1, 14, 14]"))
    code, _, err = run("train", "a.net")
    assert code == 2
    assert "14" in err


def test_columns_of_other_names_are_listed() -> None:
    np.savez("other.npz", X=np.zeros((4, 1, 28, 28), np.float32), y=np.zeros(4, np.int32))
    data = 'npz("other.npz", batch: 2)'
    Path("a.net").write_text(re.sub(r"(data \w+ = ).*", rf"\1{data}", SMALL.replace("STEPS", "5")))
    code, _, err = run("train", "a.net")
    assert code == 2
    assert "the columns are X, y: rename one, or say `columns: [...]` in the data" in err


def test_blocks_follow_one_another() -> None:
    text = SMALL.replace("STEPS", "30")
    second = text[text.index("train small") :].replace("lr: 0.1", "lr: 0.0")
    Path("two.net").write_text(text + second)
    assert run("train", "two.net", "--folder", "both")[0] == 0
    assert weights("both/1") == weights("both/2")  # the second block begins where the first ended, and learns nothing


def test_a_finished_block_is_not_trained_again() -> None:
    text = SMALL.replace("STEPS", "20")
    Path("two.net").write_text(text + text[text.index("train small") :])
    assert run("train", "two.net", "--folder", "both")[0] == 0
    first, second = weights("both/1"), weights("both/2")
    assert first != second
    log = Path("both/1/log.jsonl").read_bytes()
    shutil.rmtree("both/2")
    assert run("train", "two.net", "--folder", "both", "--resume")[0] == 0
    assert Path("both/1/log.jsonl").read_bytes() == log
    assert weights("both/2") == second


def test_weights_of_another_run() -> None:
    assert run("train", written(20), "--folder", "first")[0] == 0
    text = SMALL.replace("STEPS", "1").replace("lr: 0.1", "lr: 0.0")
    Path("next.net").write_text(text.replace("seed: 5", 'seed: 6\n    weights: "first/small.safetensors"'))
    assert run("train", "next.net", "--folder", "second")[0] == 0
    assert weights("second") == weights("first")
    more = text.replace("linear(10) as score", "linear(20) as score")
    Path("more.net").write_text(more.replace("seed: 5", 'weights: "first/small.safetensors"'))
    code, _, err = run("train", "more.net", "--folder", "third")
    assert code == 2
    assert "score" in err
    Path("more.net").write_text(more.replace("seed: 5", 'weights: "first/small.safetensors"\n    fresh: [score]'))
    code, _, err = run("train", "more.net", "--folder", "fourth")
    assert code == 0
    assert "score" in err
    assert weights("fourth")["enc.weight"] == weights("first")["enc.weight"]


def test_a_loss_that_is_no_number_names_the_layer() -> None:
    text = SMALL.replace("STEPS", "50").replace("|> relu", "|> exp(scale: 1000) as boom")
    Path("a.net").write_text(text)
    code, _, err = run("train", "a.net")
    assert code == 2
    assert "layer boom (a.net:5) was the first" in err
