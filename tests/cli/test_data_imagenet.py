"""`netc data imagenet`: photos are checked, brought to one size and listed; what was interrupted goes on."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from netc.compiler.program import UserError
from netc.runtime.caffe.lmdb import Lmdb
from netc.runtime.caffe.making import Images, make_database
from netc.runtime.caffe.mean import read_blob_file
from netc.runtime.caffe.photo_sets import find_photos
from netc.runtime.caffe.preparing import CHUNK, Preparing, prepare
from netc.runtime.data.images import image_list
from netc.runtime.data.source import Place
from netc.runtime.progress import Counted
from support.commands import run
from support.json_forms import parsed

Bytes = npt.NDArray[np.uint8]


def photo(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    """A photo of smooth colours, so that a JPEG of it is near it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    few = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    Image.fromarray(few).resize((width, height), Image.Resampling.BILINEAR).save(path, quality=95)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes, 4 photos of each to learn from and 2 to test on, of several shapes and formats."""
    folder = tmp_path / "photos"
    for number, name in enumerate(["cat", "dog", "owl"]):
        for k in range(4):
            ending = ("jpg", "JPEG", "png", "gif")[k]
            photo(folder / "train" / name / f"{k} a.{ending}", 40 + 9 * k, 60 - 9 * k, 10 * number + k)
        for k in range(2):
            photo(folder / "val" / name / f"v{k}.jpg", 64, 64, 100 + 10 * number + k)
    return folder


def pixels(path: Path) -> Bytes:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "prepared.json"  # which says how long it took
    }


def test_the_whole_way(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, said = run("data", "imagenet", "photos", "-o", "set", "--size", "32", "--json")
    assert code == 0, said
    told = parsed(out)
    assert told["schema"] == "netc.data.imagenet/1"
    assert (told["classes"], told["size"], told["left_out"]) == (3, 32, [])
    train, val = told["parts"]
    assert (train["found"], train["prepared"], train["made"], train["kept"]) == (12, 12, 12, 0)
    assert (train["fewest"], train["most"], val["prepared"]) == (4, 4, 6)
    made = tmp_path / "set"
    lines = (made / "train.txt").read_text().splitlines()
    assert lines[:4] == ["cat/0 a.jpg 0", "cat/1 a.JPEG 0", "cat/2 a.png.jpg 0", "cat/3 a.gif.jpg 0"]
    assert lines[-1] == "owl/3 a.gif.jpg 2"
    assert (made / "val.txt").read_text().splitlines()[2] == "dog/v0.jpg 1"
    assert (made / "labels.txt").read_text() == "cat\ndog\nowl\n"
    # What a data of a net reads is what was prepared, and the mean is its mean, blue first.
    listed = image_list(Place("x", made), "train.txt", root="train", order="bgr")
    images = np.stack([listed.record("image", index) for index in range(listed.records)])
    assert images.shape == (12, 3, 32, 32)
    mean = read_blob_file(made / "mean.binaryproto")
    np.testing.assert_array_equal(mean, images.mean(axis=0, dtype=np.float64).astype(np.float32)[None])
    np.testing.assert_allclose(told["mean"], mean.mean(axis=(0, 2, 3)), atol=1e-3)


def test_crop_keeps_the_shape_and_takes_the_middle(tmp_path: Path) -> None:
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, :64, 0], wide[:, 64:128, 1], wide[:, 128:, 2] = 255, 255, 255
    (tmp_path / "photos/one").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(wide).save(tmp_path / "photos/one" / name)
    how = Preparing(32, "crop", "png")
    prepare(find_photos(tmp_path / "photos"), tmp_path / "set", how, workers=1)
    middle = pixels(tmp_path / "set/train/one/a.png")
    assert middle.shape == (32, 32, 3)
    assert (middle[:, 2:-2] == [0, 255, 0]).all()


def test_squash_has_the_bytes_of_convert_imageset(source: Path, tmp_path: Path) -> None:
    photos = find_photos(source)
    prepare(photos, tmp_path / "set", Preparing(24, "squash", "png", database=True), workers=2)
    listing = tmp_path / "all.txt"
    rows = zip(photos.splits[0].names, photos.splits[0].labels.tolist(), strict=True)
    listing.write_text("".join(f"{name} {label}\n" for name, label in rows))
    make_database(listing, source / "train", tmp_path / "theirs", "lmdb", Images(24, 24))
    theirs = Lmdb(tmp_path / "theirs")
    for index, name in enumerate(photos.splits[0].names):
        ours = pixels(tmp_path / "set/train" / (name if name.endswith(".png") else f"{name}.png"))
        assert np.moveaxis(ours[..., ::-1], -1, 0).tobytes() in theirs.value(index)


def test_photos_that_cannot_be_read_are_named_and_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = (source / "train/cat/0 a.jpg").read_bytes()
    (source / "train/cat/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "train/dog/page.jpg").write_text("<html>404</html>")
    (source / "train/dog/empty.png").touch()
    (source / "train/dog/notes.txt").write_text("no photo, and none is expected")
    code, out, said = run("data", "imagenet", "photos", "-o", "set", "--size", "16", "--json")
    assert code == 0, said
    told = parsed(out)
    assert [Path(one["file"]).name for one in told["left_out"]] == ["cut.jpg", "empty.png", "page.jpg"]
    assert "truncated" in told["left_out"][0]["reason"]
    assert (told["parts"][0]["found"], told["parts"][0]["prepared"], told["parts"][0]["left_out"]) == (15, 12, 3)
    lines = (tmp_path / "set/train.txt").read_text()
    assert "cut" not in lines
    assert "page" not in lines
    assert len((tmp_path / "set/left_out.txt").read_text().splitlines()) == 3
    code, out, said = run("data", "imagenet", "photos", "-o", "set", "--size", "16")
    assert code == 0
    assert said.count("left out: photos/train/") == 3
    code, _, said = run("data", "imagenet", "photos", "-o", "strict", "--size", "16", "--strict")
    assert code == 2
    assert "3 photos cannot be read, named in strict/left_out.txt; the first: photos/train/cat/cut.jpg: not an" in said
    assert not (tmp_path / "strict/train.txt").exists()
    # What was found to be bad is mended, and the rest need not be made again.
    for name in ("cat/cut.jpg", "dog/page.jpg", "dog/empty.png"):
        (source / "train" / name).unlink()
    code, out, said = run("data", "imagenet", "photos", "-o", "strict", "--size", "16", "--strict", "--json")
    assert code == 0, said
    assert [part["made"] for part in parsed(out)["parts"]] == [0, 0]
    assert (tmp_path / "strict/left_out.txt").read_text() == ""


def test_a_set_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "photos/one").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos/one" / name).touch()
    with pytest.raises(UserError, match=r"train: none of its 1 photos can be read, as .*left_out.txt says"):
        prepare(find_photos(tmp_path / "photos"), tmp_path / "set", Preparing(8), workers=1)


def test_what_was_interrupted_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for k in range(3 * CHUNK):
        photo(source / f"train/c{k % 3}" / f"{k}.jpg", seed=k)
    photos, how = find_photos(source), Preparing(16, database=True)
    prepare(photos, tmp_path / "whole", how, workers=1)

    def stop(name: str, done: int, total: int) -> None:
        if done >= CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(photos, tmp_path / "set", how, workers=1, advance=stop)
    assert not (tmp_path / "set/train.txt").exists()
    before = len([*(tmp_path / "set").rglob("*.jpg")])
    assert CHUNK <= before < 3 * CHUNK
    # One of them is cut short, as by a machine that went down.
    there = sorted((tmp_path / "set").rglob("*.jpg"))
    there[0].write_bytes(there[0].read_bytes()[:100])
    done = prepare(photos, tmp_path / "set", how, workers=2)
    assert sum(part.kept for part in done.parts) == before - 1
    assert files(tmp_path / "set").keys() == files(tmp_path / "whole").keys()
    for name, data in files(tmp_path / "whole").items():
        assert "lmdb" in name or files(tmp_path / "set")[name] == data, name


def test_a_newer_source_is_prepared_again(source: Path, tmp_path: Path) -> None:
    how = Preparing(16)
    prepare(find_photos(source), tmp_path / "set", how, workers=1)
    path = photo(source / "train/cat/0 a.jpg", seed=77)
    before = pixels(tmp_path / "set/train/cat/0 a.jpg")
    os.utime(path, (path.stat().st_mtime + 5, path.stat().st_mtime + 5))
    done = prepare(find_photos(source), tmp_path / "set", how, workers=1)
    assert done.parts[0].made == 1
    assert (pixels(tmp_path / "set/train/cat/0 a.jpg") != before).any()


def test_a_photo_that_fits_keeps_its_bytes(tmp_path: Path) -> None:
    for k in range(2):
        photo(tmp_path / f"photos/one/{k}.jpg", 32, 32, k)
    prepare(find_photos(tmp_path / "photos", share=0), tmp_path / "set", Preparing(32), workers=1)
    for k in range(2):
        ours, theirs = tmp_path / f"set/train/one/{k}.jpg", tmp_path / f"photos/one/{k}.jpg"
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("inner", ["", "train/"])
def test_lists_as_caffe_has_them(inner: str, source: Path, tmp_path: Path) -> None:
    """Paths begin at `train/` or at the list; labels are those of the list."""
    (source / "train.txt").write_text(f"{inner}owl/0 a.jpg 0\n{inner}cat/1 a.JPEG 1\n")
    (source / "val.txt").write_text(f"{inner.replace('train', 'val')}owl/v0.jpg 0\n")
    photos = find_photos(source)
    assert list(photos.classes) == ["owl", "cat"]
    done = prepare(photos, tmp_path / "set", Preparing(8), workers=1)
    assert [part.prepared for part in done.parts] == [2, 1]
    assert (tmp_path / "set/train.txt").read_text() == "owl/0 a.jpg 0\ncat/1 a.JPEG 1\n"
    names = tmp_path / "names.txt"
    names.write_text("n01 owl\nn02 cat\n")
    assert list(find_photos(source, labels=names).classes) == ["n01 owl", "n02 cat"]


def test_photos_side_by_side_are_listed(tmp_path: Path) -> None:
    """ILSVRC's photos to test on lie in one folder; without a list nobody knows their classes."""
    for k in range(2):
        photo(tmp_path / f"photos/train/n0{k}/a.jpg")
        photo(tmp_path / f"photos/val/ILSVRC_{k}.JPEG")
    with pytest.raises(UserError, match=r"val: expected a folder for each class; .* a list val.txt beside it"):
        find_photos(tmp_path / "photos")
    (tmp_path / "photos/val.txt").write_text("ILSVRC_0.JPEG 1\nILSVRC_1.JPEG 0\n")
    train, val = find_photos(tmp_path / "photos").splits
    assert [list(split.labels) for split in (train, val)] == [[0, 1], [1, 0]]


def test_a_share_is_held_out_where_there_is_no_val(source: Path) -> None:
    train, val = find_photos(source / "train", share=0.25, seed=3).splits
    assert (len(train.files), len(val.files)) == (9, 3)
    assert sorted(val.labels.tolist()) == [0, 1, 2]
    assert not set(train.files) & set(val.files)
    assert find_photos(source / "train", share=0.25, seed=3).splits[1].files == val.files
    assert [split.name for split in find_photos(source / "train", share=0).splits] == ["train"]


def test_val_has_the_labels_of_trains_classes(source: Path) -> None:
    photo(source / "train/bat/0.jpg")
    photos = find_photos(source)
    assert list(photos.classes) == ["bat", "cat", "dog", "owl"]
    assert photos.splits[1].labels.tolist() == [1, 1, 2, 2, 3, 3]
    photo(source / "val/yak/0.jpg")
    with pytest.raises(UserError, match="val has the class yak, which train lacks"):
        find_photos(source)


def test_mistakes_are_one_line(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def told(*words: str) -> str:
        code, _, said = run("data", "imagenet", *words)
        assert code == 2
        assert said.count("\n") == 1
        return said

    assert run("data", "imagenet", "photos", "-o", "set", "--size", "8")[0] == 0
    assert "was prepared with size 8, fit crop, encoding jpg; choose another" in told("photos", "-o", "set")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    assert "mine: is there already and holds other things" in told("photos", "-o", "mine")
    assert "go to a folder of their own" in told("photos", "-o", "./photos")
    (tmp_path / "names.txt").write_text("cat\n")
    assert "has 1 names of classes, the photos 3" in told("photos", "-o", "set", "--labels", "names.txt")
    (source / "train.txt").write_text("../val/cat/v0.jpg 0\n")
    assert "lies outside of" in told("photos", "-o", "out")
    (source / "train.txt").write_text("cat/0 a.jpg 2000000000\n")
    assert "the label 2,000,000,000; classes are numbered from 0 on" in told("photos", "-o", "out")
    (source / "train.txt").write_text("cat/0 a.jpg 0\ncat/0 a.jpg 1\n")
    assert "two photos would be called cat/0 a.jpg" in told("photos", "-o", "out")


def test_databases_are_kept_or_asked_for(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("data", "imagenet", "photos", "-o", "set", "--size", "16", "--lmdb")
    assert run(*words)[0] == 0
    database = Lmdb(tmp_path / "set/train_lmdb")
    assert len(database) == 12
    assert sorted(key.partition(b"_")[2] for key in map(database.key, range(12))) == sorted(
        line.rpartition(" ")[0].encode() for line in (tmp_path / "set/train.txt").read_text().splitlines()
    )
    assert [key.partition(b"_")[2] for key in map(database.key, range(12))] != [
        line.rpartition(" ")[0].encode() for line in (tmp_path / "set/train.txt").read_text().splitlines()
    ]
    assert run(*words)[0] == 0
    photo(source / "train/cat/new.jpg")
    code, _, said = run(*words)
    assert code == 2
    assert "set/train_lmdb: is there already, of other photos; remove it" in said


def test_ctrl_c_says_that_it_goes_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def stop(self: Counted, name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Counted, "__call__", stop)
    code, _, said = run("data", "imagenet", "photos", "-o", "set")
    assert code == 130
    assert "stopped; what is in set stays, and the same command goes on" in said


def test_what_is_counted_is_told_by_lines_or_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    plain = io.StringIO()
    with Counted("photos", plain, every=0) as advance:
        for done in (0, 50, 100):
            advance("train", done, 100)
    first, last = plain.getvalue().splitlines()
    assert re.fullmatch(r"train: 50 of 100 photos, [\d,]+ photos/s  0:00 left", first)
    assert last.startswith("train: 100 of 100 photos, ")
    drawn = Terminal()
    with Counted("photos", drawn) as advance:
        for done in (0, 50, 100):
            advance("train", done, 100)
    assert "100/100" in drawn.getvalue()
