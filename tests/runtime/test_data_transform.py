"""What happens to pixels, against Caffe's formula written out: (pixel - mean) * scale, cropped, mirrored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler.build import load
from netc.compiler.program import UserError
from netc.grammar.source import Source, SourceErrors
from netc.runtime.data import Stream, open_data
from netc.runtime.data.order import below, draws, permutation, words
from netc.runtime.data.source import Array, Mode
from support.data_files import first, pixels, stream, write_npz

IMAGES = pixels(12, 3, 9, 7)
F32 = np.float32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_npz(tmp_path / "rows.npz", image=IMAGES, label=np.arange(12))
    np.save(tmp_path / "mean.npy", np.linspace(90, 160, 3 * 9 * 7).reshape(1, 3, 9, 7))
    return tmp_path


def expected(image: Array, mean: Array, scale: float, y: int, x: int, crop: tuple[int, int], mirror: bool) -> Array:
    """One image as Caffe's DataTransformer makes it, pixel by pixel of the result."""
    out = np.empty((3, *crop), np.float32)
    for row in range(crop[0]):
        for column in range(crop[1]):
            target = crop[1] - 1 - column if mirror else column
            pixel = image[:, y + row, x + column].astype(np.float32)
            out[:, row, target] = (pixel - mean[:, y + row, x + column]) * F32(scale)
    return out


MEANS: list[object] = [None, 120.5, (100.0, 110.0, 120.0), "mean.npy"]


def mean_image(mean: object, folder: Path) -> Array:
    """A mean setting as an image."""
    if isinstance(mean, str):
        image: Array = np.load(folder / mean)[0].astype(np.float32)
        return image
    values = np.array(0.0 if mean is None else mean, np.float32).reshape(-1, 1, 1)
    return np.broadcast_to(values, (3, 9, 7))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("scale", [1.0, 1 / 256])
def test_scale_and_mean(folder: Path, mean: object, scale: float) -> None:
    got = first("npz", folder, path="rows.npz", batch=12, mean=mean, scale=scale)["image"]
    for row, image in enumerate(IMAGES):
        np.testing.assert_array_equal(got[row], expected(image, mean_image(mean, folder), scale, 0, 0, (9, 7), False))


@pytest.mark.parametrize("crop", [4, (6, 3), (9, 7)])
@pytest.mark.parametrize("mean", MEANS)
def test_the_crop_of_a_test_is_in_the_middle(folder: Path, crop: int | tuple[int, int], mean: object) -> None:
    size = (crop, crop) if isinstance(crop, int) else crop
    got = first("npz", folder, path="rows.npz", batch=12, mean=mean, scale=0.5, crop=crop)["image"]
    y, x = (9 - size[0]) // 2, (7 - size[1]) // 2
    for row, image in enumerate(IMAGES):
        np.testing.assert_array_equal(got[row], expected(image, mean_image(mean, folder), 0.5, y, x, size, False))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("mirror", [False, True])
def test_every_training_image_is_one_of_the_possible_crops(folder: Path, mean: object, mirror: bool) -> None:
    with stream(
        "npz", folder, mode="train", path="rows.npz", batch=12, mean=mean, crop=(7, 6), mirror=mirror
    ) as opened:
        batches = [opened.next().columns["image"].copy() for _ in range(20)]
    seen = set()
    means = mean_image(mean, folder)
    for row, image in enumerate(IMAGES):
        possible = {
            expected(image, means, 1.0, y, x, (7, 6), flip).tobytes(): (y, x, flip)
            for y in range(3)
            for x in range(2)
            for flip in ((False, True) if mirror else (False,))
        }
        for batch in batches:
            assert batch[row].tobytes() in possible
            seen.add(possible[batch[row].tobytes()])
    assert len(seen) == (12 if mirror else 6)  # each place and direction turns up in 240 draws


def test_mirroring_turns_half_of_the_images_in_testing_too(folder: Path) -> None:
    with stream("npz", folder, path="rows.npz", batch=12, mirror=True) as opened:
        rows = [opened.next().columns["image"].copy() for _ in range(50)]
    turned = sum((batch[:, :, 0, 0] == IMAGES[:, :, 0, -1]).all(1).sum() for batch in rows)
    straight = sum((batch[:, :, 0, 0] == IMAGES[:, :, 0, 0]).all(1).sum() for batch in rows)
    assert turned + straight == 600
    assert 240 < turned < 360


def test_settings_that_cannot_be(folder: Path) -> None:
    np.save(folder / "small.npy", np.zeros((3, 4, 4)))
    np.save(folder / "text.npy", np.array(["a"]))
    np.save(folder / "object.npy", np.array([{}], object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "mean.npy").read_bytes()[:-1])
    write_npz(folder / "flat.npz", x=np.zeros((3, 4)))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"crop": 8}, "crop 8 x 8 is larger than the image, 9 x 7"),
        ({"crop": -1}, "`crop` takes one size"),
        ({"crop": (1, 2, 3)}, "`crop` takes one size"),
        ({"mean": (1.0, 2.0)}, "`mean` has 2 values, expected 1 or one for each of 3 channels"),
        ({"mean": "small.npy"}, "small.npy: the mean has the shape 3 x 4 x 4, an image 3 x 9 x 7"),
        ({"mean": "text.npy"}, "expected numbers, the file holds"),
        ({"mean": "object.npy"}, "pickled objects"),
        ({"mean": "cut.npy"}, "cut.npy: `cut.npy` should take"),
        ({"mean": "absent.npy"}, "there is no such file"),
        ({"mean": "m.binaryproto"}, "m.binaryproto: there is no such file"),
        ({"batch": 0}, "`batch` must be at least 1"),
        ({"batch": 10**9}, "choose a smaller `batch`"),
        ({"columns": ("a", "a")}, "2 different names fit"),
        ({"columns": ("a", "b", "c")}, "2 different names fit"),
    ]
    for extra, text in cases:
        with pytest.raises(UserError) as caught:
            first("npz", folder, **{"path": "rows.npz", "batch": 1, **extra})
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="crop and mirror need images"):
        first("npz", folder, path="flat.npz", batch=1, mirror=True)


@given(st.integers(0, 2**63), st.integers(0, 10**12), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_record_draws_the_same_words_in_every_batch(seed: int, place: int, count: int) -> None:
    together = draws(seed, place, count)
    for row in range(count):
        np.testing.assert_array_equal(together[row], draws(seed, place + row, 1)[0])


@given(st.integers(0, 2**63), st.integers(1, 1000))
@settings(max_examples=30, deadline=None)
def test_draws_below_a_bound_are_in_range_and_even(seed: int, bound: int) -> None:
    drawn = below(words(seed, 7, 0, 4000), bound)
    assert drawn.min() >= 0
    assert drawn.max() < bound
    assert abs(drawn.mean() - (bound - 1) / 2) < 0.05 * bound


def test_a_permutation_is_one_and_differs_from_epoch_to_epoch() -> None:
    orders = [permutation(3, epoch, 1000) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(1000))
    assert not (orders[0] == orders[1]).all()
    np.testing.assert_array_equal(orders[2], permutation(3, 2, 1000))


@pytest.mark.parametrize("mode", ["train", "test"])
def test_another_seed_draws_otherwise(folder: Path, mode: Mode) -> None:
    a, b = (
        first("npz", folder, mode=mode, seed=seed, path="rows.npz", batch=12, shuffle=True)["label"] for seed in (1, 2)
    )
    assert sorted(a.tolist()) == sorted(b.tolist())
    assert a.tolist() != b.tolist()


COLUMNS = """data rows = npz("maps.npz", batch: 4, columns: [image, depth, kind],
    transforms: [image(scale: 1/256, mean: [1, 2, 3], crop: [6, 5], mirror: true),
    depth(scale: 0.5, crop: [6, 5], mirror: true)])
"""


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    depth = np.arange(12 * 63, dtype=np.float64).reshape(12, 1, 9, 7)
    write_npz(tmp_path / "maps.npz", a=IMAGES, b=depth, c=np.arange(12))
    return tmp_path


def opened(text: str, folder: Path, mode: Mode = "train") -> Stream:
    """The data of a file, as its text says."""
    return open_data(load(Source(str(folder / "n.net"), text)).data["rows"], mode=mode)


def test_each_column_has_its_own_transform(maps: Path) -> None:
    with opened(COLUMNS, maps) as data:
        columns = data.next().columns
    stored = np.load(maps / "maps.npz")
    for row in range(4):
        mean = np.array([1, 2, 3], F32).reshape(3, 1, 1)
        image, depth = (IMAGES[row] - mean) * F32(1 / 256), stored["b"][row].astype(F32) * F32(0.5)
        cuts = [(y, x, step) for y in range(4) for x in range(3) for step in (1, -1)]
        fits = [
            [np.array_equal(got[row], whole[:, y : y + 6, x : x + 5][..., ::step]) for y, x, step in cuts]
            for got, whole in ((columns["image"], image), (columns["depth"], depth))
        ]
        assert fits[0] == fits[1], "cropped and mirrored alike"
        assert sum(fits[0]) == 1
    assert columns["kind"].dtype == np.int32


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("scale: 0.5", "scale, mean, crop and mirror are of `a` and `b`, or of which?"),
        ("scale: 0.5, transforms: [b(scale: 2)]", "say it of each column: `transforms: [a(scale: 0.5)]`"),
        ("transforms: [d(scale: 2)]", "`transforms` names `d`; the columns are a, b, c"),
        ("transforms: [c(scale: 2)]", "`c` holds int32; floats and bytes alone are transformed"),
        ("transforms: [b(crop: 99)]", "crop 99 x 99 is larger than the image"),
    ],
)
def test_transforms_that_cannot_be(settings: str, said: str, maps: Path) -> None:
    with pytest.raises(UserError) as caught:
        opened(f'data rows = npz("maps.npz", batch: 4, {settings})', maps)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("transforms: [a(scal: 2)]", "a: `scal` is not a setting"),
        ("transforms: 3", "takes a list of transforms such as image(scale: 0.5), not 3"),
        ("transforms: [a(crop: -1)]", "crop"),
    ],
)
def test_transforms_that_are_no_text_of_the_language(settings: str, said: str, maps: Path) -> None:
    with pytest.raises(SourceErrors) as errors:
        opened(f'data rows = npz("maps.npz", batch: 4, {settings})', maps)
    assert said in str(errors.value.errors[0])


def test_one_column_alone_is_meant_where_there_is_no_other(maps: Path) -> None:
    with opened('data rows = npz("maps.npz", batch: 4, arrays: [b, c], scale: 0.5)', maps) as data:
        columns = data.next().columns
    assert np.array_equal(columns["b"], np.load(maps / "maps.npz")["b"][:4].astype(F32) * F32(0.5))
