"""Records at a net: arrays, images and compiled folders are scaled, cropped and freed of the mean by one rule."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from netc.__main__ import cli

Array = np.ndarray[Any, Any]
NET = """
net tiny {
    input image: f32[N, 3, 6, 6]
    output prob = image |> linear(4) as score |> softmax
}
net other {
    input image: f32[N, 3, 6, 6]
    input label: i32[N]
    loss nll = image |> linear(4) as score |> softmax_loss(label)
}
data photos = npz("photos.npz", arrays: [image, label], batch: 2, SETTINGS)
train other {
    from: photos
    solver: sgd(lr: 0.1)
    steps: 1
}
"""
INDEXED = """
net words {
    input word: i32[N]
    output vector = word + 1 |> embed(size: 8, out: 2) as enc
    output plain = word |> embed(size: 7, out: 2) as dec
}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def netc(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, [str(one) for one in arguments])
    return done.exit_code, done.stdout, done.stderr


def written(settings: str, size: tuple[int, int] = (6, 6)) -> tuple[Path, Array]:
    """A file whose data have these settings, first weights, and two records of bytes as .npz and .png."""
    from PIL import Image

    Path("tiny.net").write_text(NET.replace("SETTINGS", settings))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, *size)).astype(np.uint8)
    np.savez("photos.npz", image=pixels, label=np.zeros(2, np.int32))
    for number, image in enumerate(pixels):
        Image.fromarray(np.moveaxis(image, 0, -1)).save(f"{number}.png")
    assert netc("compile", "tiny.net", "--net", "tiny", "--untrained", "-o", "first", "--batch", 2)[0] == 0
    return Path("tiny.net"), pixels


def run(*inputs: object) -> tuple[Array, str]:
    """The outputs of the net with the first weights, and what was said beside."""
    weights = "first/tiny.safetensors"
    code, _, err = netc("run", "tiny.net", *inputs, "--net", "tiny", "--weights", weights, "--out", "out.npz")
    assert code == 0, err
    with np.load("out.npz") as found:
        return found["prob"], err


MEAN = np.random.default_rng(1).normal(size=(3, 8, 10)).astype(np.float32) * 40 + 100
RULES: list[Any] = [
    pytest.param("scale: 0.01", (6, 6), lambda x: x * np.float32(0.01), "value * 0.01", id="scale"),
    pytest.param(
        "scale: 0.01, mean: [104, 117, 123]",
        (6, 6),
        lambda x: (x - np.array([104, 117, 123], np.float32).reshape(3, 1, 1)) * np.float32(0.01),
        "(value - (104, 117, 123)) * 0.01",
        id="mean of channels",
    ),
    pytest.param(
        'scale: 0.01, mean: "mean.npy", crop: 6',
        (8, 10),
        lambda x: ((x - MEAN) * np.float32(0.01))[..., 1:7, 2:8],
        "(value - mean.npy) * 0.01, cropped to 6 x 6",
        id="mean image and crop",
    ),
]


@pytest.mark.parametrize(("settings", "size", "apply", "said"), RULES)
def test_arrays_images_and_folders_are_treated_alike(
    settings: str, size: tuple[int, int], apply: Any, said: str, tmp_path: Path
) -> None:
    np.save("mean.npy", MEAN)
    _, pixels = written(settings, size)
    np.savez("ready.npz", image=apply(pixels.astype(np.float32)))
    np.savez("floats.npz", image=pixels.astype(np.float64))
    wanted, told = run("ready.npz", "--as-is")
    assert "value" not in told
    assert np.ptp(wanted) > 0.05
    for inputs in (["photos.npz"], ["floats.npz"], ["0.png", "1.png"]):
        found, told = run(*inputs)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        assert f"image: {said}, as of the data `photos`; --as-is takes values as they are\n" in told
    for flags, name in (([], "photos.npz"), (["--as-is"], "ready.npz")):
        call = [sys.executable, "first/tiny.py", name, "-o", "out.npz", *flags]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (said in done.stderr) == (not flags)
        with np.load("out.npz") as arrays:
            np.testing.assert_allclose(arrays["prob"], wanted, rtol=1e-5, atol=1e-6)
    manifest = json.loads(Path("first/manifest.json").read_text())
    assert manifest["transforms"]["image"]["record"] == [3, *size]
    assert set(manifest["files"]) | {"manifest.json"} == {path.name for path in Path("first").iterdir()}
    # A folder with a mean is one of netc's all the same.
    assert netc("compile", "tiny.net", "--net", "tiny", "--untrained", "-o", "first")[0] == 0


def test_records_that_do_not_fit_are_refused() -> None:
    np.save("mean.npy", MEAN)
    written('mean: "mean.npy", crop: 6', (8, 10))
    np.savez("small.npz", image=np.zeros((2, 3, 6, 6), np.uint8))
    code, _, err = netc("run", "tiny.net", "small.npz", "--net", "tiny", "--weights", "first/tiny.safetensors")
    assert (code, err.count("\n")) == (2, 1)
    assert "small.npz: `image`: mean.npy: the mean has the shape 3 x 8 x 10, an image 3 x 6 x 6" in err
    assert "--as-is" in err
    done = subprocess.run([sys.executable, "first/tiny.py", "small.npz"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the mean is one of [3, 8, 10]" in done.stderr


def test_what_happens_to_a_data_block_is_said_in_the_file() -> None:
    written("scale: 0.01")
    code, _, err = netc("run", "tiny.net", "--data", "photos", "--as-is", "--weights", "first/tiny.safetensors")
    assert code == 2
    assert "what happens to `photos` is said in the file" in err


def test_labels_come_along() -> None:
    written("scale: 0.01")
    Path("names.txt").write_text("ant\nbee\ncat\ndög\n", encoding="utf-8")
    flags = ("--net", "tiny", "--untrained", "-o", "named", "--labels", "names.txt", "--batch", 2)
    assert netc("compile", "tiny.net", *flags)[0] == 0
    call = [sys.executable, "named/tiny.py", "photos.npz"]
    out = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in out.splitlines()[1:]} <= {"ant", "bee", "cat", "dög"}
    assert json.loads(Path("named/manifest.json").read_text())["labels"] == ["ant", "bee", "cat", "dög"]


def test_a_compiled_folder_refuses_indices_that_it_cannot_know() -> None:
    Path("words.net").write_text(INDEXED)
    assert netc("compile", "words.net", "--untrained", "-o", "words", "--batch", 4)[0] == 0
    np.savez("in.npz", word=np.array([0, 3, 7, 1], np.int32))
    done = subprocess.run([sys.executable, "words/words.py", "in.npz"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "word holds the index 7; `dec` (words.net:5) knows the 7 rows 0 to 6" in done.stderr
    np.savez("in.npz", word=np.array([0, 3, 6, 1], np.int32))
    call = [sys.executable, "words/words.py", "in.npz"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line[0] != " "] == ["vector", "plain"]
    assert netc("compile", "words.net", "--untrained", "-o", "words", "--output", "vector", "--batch", 4)[0] == 0
    np.savez("in.npz", word=np.array([0, 3, 7, 1], np.int32))
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "`enc` (words.net:4) was given an index outside of the 8 rows 0 to 7" in done.stderr


def test_folders_of_images_name_the_classes() -> None:
    """`netc run` and a compiled folder know them by the names of the folders."""
    _, pixels = written("scale: 0.01")
    from PIL import Image

    for name in ("ant", "bee", "cat", "dog"):
        Path("photos", name).mkdir(parents=True)
        Image.fromarray(np.moveaxis(pixels[0], 0, -1)).save(f"photos/{name}/a.png")
    data = 'data photos = images("photos", height: 6, width: 6, batch: 2, scale: 0.01)'
    lines = Path("tiny.net").read_text().splitlines()
    Path("tiny.net").write_text("\n".join(data if line.startswith("data") else line for line in lines) + "\n")
    flags = ("--net", "tiny", "--weights", "first/tiny.safetensors")
    code, out, err = netc("run", "tiny.net", "0.png", *flags, "--top", 1)
    assert code == 0, err
    assert out.split(": ")[2].split()[0] in ("ant", "bee", "cat", "dog")
    assert netc("run", "tiny.net", "--data", "photos", *flags, "--top", 1)[1].split(": ")[2].split()[0] in out
    assert netc("compile", "tiny.net", *flags, "-o", "named")[0] == 0
    assert json.loads(Path("named/manifest.json").read_text())["labels"] == ["ant", "bee", "cat", "dog"]
