"""`netc run --data`: features of all records of a data block or of a folder, by layer name, as .npz and .csv."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netc
from support.commands import run

NET = """net small {
    input image: f32[N, 1, 6, 6]
    input label: i32[N]
    h = image |> conv(2, 3) as conv1 |> relu
    scores = h |> linear(3) as score
    loss nll = softmax_loss(scores, label)
    output prob = softmax(scores)
}
data rows = npz("rows.npz", arrays: [image, label], batch: 4, scale: 0.01, shuffle: true, mirror: true)
train small {
    from: rows
    test: rows
    solver: sgd(lr: 0.01)
    steps: 2
}
"""
RECORDS = 10  # two batches and a half


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (RECORDS, 1, 6, 6), np.uint8)
    np.savez("rows.npz", image=pixels, label=np.arange(RECORDS) % 3)
    Path("small.net").write_text(NET, encoding="utf-8")
    assert run("train", "small.net")[0] == 0
    return tmp_path


def expected(image: np.ndarray) -> dict[str, np.ndarray]:
    """The values by the executable, a batch of all."""
    exe = netc.compile("small.net", dims={"N": len(image)}, outputs=["conv1", "prob"])
    exe.load("runs/small/1/small.safetensors")
    return exe(image=image.astype(np.float32))


def test_all_records_in_their_order_by_layer_name(folder: Path) -> None:
    code, out, _ = run("run", "small.net", "--data", "rows", "--output", "conv1", "--output", "prob", "-o", "f.npz")
    assert code == 0
    assert out == "f.npz: conv1 [10, 2, 4, 4], prob [10, 3], label [10]\n"
    found, stored = np.load("f.npz"), np.load("rows.npz")
    wanted = expected(stored["image"] * np.float32(0.01))
    assert np.array_equal(found["label"], stored["label"])
    for name in ("conv1", "prob"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_a_table_has_a_line_a_record(folder: Path) -> None:
    assert run("run", "small.net", "--data", "rows", "--output", "conv1", "--output", "prob", "-o", "f.npz")[0] == 0
    code, _, _ = run("run", "small.net", "--data", "rows", "--output", "conv1", "--output", "prob", "-o", "f.csv")
    assert code == 0
    with open("f.csv", newline="", encoding="utf-8") as file:
        head, *lines = list(csv.reader(file))
    assert head[:3] == ["record", "conv1.0.0.0", "conv1.0.0.1"]
    assert head[-4:] == ["prob.0", "prob.1", "prob.2", "label"]
    table, found = np.array(lines, np.float64), np.load("f.npz")
    assert np.array_equal(table[:, 0], np.arange(RECORDS))
    assert np.array_equal(table[:, 1:33].astype(np.float32), found["conv1"].reshape(RECORDS, -1))
    assert np.array_equal(table[:, 33:36].astype(np.float32), found["prob"])
    assert np.array_equal(table[:, 36], found["label"])


def test_a_folder_of_images_is_treated_as_the_test_data(folder: Path) -> None:
    pixels = np.load("rows.npz")["image"]
    (folder / "photos" / "more").mkdir(parents=True)
    for i in range(5):
        Image.fromarray(pixels[i, 0]).save(folder / "photos" / ("more" if i % 2 else ".") / f"{i}.png")
    (folder / "photos" / "notes.txt").write_text("no image")
    code, out, _ = run("run", "small.net", "--data", "photos", "--output", "prob", "-o", "p.csv", "--batch", "2")
    assert (code, out) == (0, "p.csv: prob [5, 3]\n")
    with open("p.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = ["0.png", "2.png", "4.png", "more/1.png", "more/3.png"]
    assert [line["record"] for line in lines] == names
    order = [int(Path(name).stem) for name in names]
    found = np.array([[line[f"prob.{k}"] for k in range(3)] for line in lines], np.float32)
    np.testing.assert_allclose(found, expected(pixels[order] * np.float32(0.01))["prob"], rtol=1e-5, atol=1e-6)
    _, out, _ = run("run", "small.net", "--data", "photos", "--output", "prob", "--top", "1")
    assert out.splitlines()[3].startswith("more/1.png: prob: ")


def test_hdf5_holds_what_a_npz_does(folder: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (folder / "photos").mkdir()
    for i, pixels in enumerate(np.load("rows.npz")["image"]):
        Image.fromarray(pixels[0]).save(folder / "photos" / f"{i}.png")
    for data in ("rows", "photos"):
        for end in ("npz", "h5"):
            file = f"{data}.{end}" if data == "photos" else f"f.{end}"
            code, out, _ = run("run", "small.net", "--data", data, "--output", "conv1", "--output", "prob", "-o", file)
            assert code == 0
            assert out.startswith(f"{file}: conv1 [10, 2, 4, 4], prob [10, 3]")
    for name, more in (("f", ["label"]), ("photos", ["record"])):
        arrays = np.load(f"{name}.npz")
        with h5py.File(f"{name}.h5") as held:
            assert sorted(held) == sorted(arrays) == sorted(["conv1", "prob", *more])
            for key in ("conv1", "prob"):
                assert held[key].dtype == np.float32
                np.testing.assert_array_equal(held[key], arrays[key])
            if "record" in more:
                assert held["record"].asstr()[:].tolist() == arrays["record"].tolist()
                assert arrays["record"].tolist() == [f"{i}.png" for i in range(RECORDS)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a .npz or images to run on, or --data"),
        (("rows.npz", "--data", "rows"), "give a .npz or images to run on, or --data"),
        (("--data", "row"), "there is no data and no folder `row`; did you mean `rows`?"),
        (("--data", "empty"), "empty: there is no image in it"),
        (("--data", "rows", "-o", "f.txt"), "f.txt: features are written as .npz, .csv or .h5"),
        (("--data", "rows", "--output", "nll"), "the output `nll` is [], not a row a record"),
        (("--data", "rows", "--output", "conv2"), "binds no tensor `conv2`; did you mean `conv1`?"),
    ],
)
def test_what_cannot_be(words: tuple[str, ...], said: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    code, _, err = run("run", "small.net", *words)
    assert code == 2
    assert said in err
    assert not Path("f.txt").exists()
