"""Fillers against what Caffe's gave (their statistics), their formulas, and their independence of each other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import StateInfo, TensorType, UserError
from netc.compiler.schema.fillers import FILLERS as SCHEMAS
from netc.compiler.spec import Filler
from netc.runtime.fillers import FILLERS, fill

CONV, IP = (64, 8, 5, 5), (200, 300)


def filled(filler: Filler, shape: tuple[int, ...], name: str = "w", seed: int = 1, dtype: str = "f32") -> Any:
    return fill(StateInfo(name, TensorType(shape, dtype), filler=filler, place="a.net:3"), seed)


# The settings with which Caffe's were made, read off their statistics.
CASES = {
    "uniform": Filler("uniform", (("min", -0.3), ("max", 0.7))),
    "gaussian": Filler("gaussian", (("mean", 0.1), ("std", 0.2))),
    "gaussian_sparse": Filler("gaussian", (("std", 0.2), ("sparse", 5))),
    "xavier": Filler("xavier"),
    "xavier_out": Filler("xavier", (("variance", "fan_out"),)),
    "xavier_avg": Filler("xavier", (("variance", "average"),)),
    "msra": Filler("msra"),
    "msra_out": Filler("msra", (("variance", "fan_out"),)),
    "msra_avg": Filler("msra", (("variance", "average"),)),
    "positive_unitball": Filler("positive_unitball"),
    "constant": Filler("constant", (("value", 0.25),)),
}


@pytest.mark.parametrize("shape", [CONV, IP], ids=["conv", "ip"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_statistics_are_caffes(name: str, shape: tuple[int, ...], shared: Path) -> None:
    table = json.loads((shared / "conformance" / "files" / "fillers.json").read_text())
    expected = table[f"{'conv' if shape == CONV else 'ip'}/{name}"]
    assert tuple(expected["shape"]) == shape
    values = filled(CASES[name], shape).astype(np.float64)
    rows = values.reshape(shape[0], -1).sum(axis=1)
    # The mean of n numbers of deviation s has deviation s / sqrt(n), on both sides of the comparison.
    assert values.mean() == pytest.approx(expected["mean"], abs=6 * expected["std"] / math.sqrt(values.size) + 1e-9)
    assert values.std() == pytest.approx(expected["std"], rel=0.05 if "sparse" in name else 0.03, abs=1e-9)
    assert np.mean(values == 0) == pytest.approx(expected["zeros"], abs=0.01)
    assert rows.std() == pytest.approx(expected["row_sum_std"], rel=0.4, abs=1e-6)
    if "gaussian" not in name and "msra" not in name:  # bounded
        assert values.min() == pytest.approx(expected["min"], rel=0.01, abs=1e-3)
        assert values.max() == pytest.approx(expected["max"], rel=0.01, abs=1e-3)


def test_every_schema_has_numbers_and_its_settings_are_read() -> None:
    assert set(FILLERS) == set(SCHEMAS) | {"file"}  # which layers ask for, not users
    for name, made in SCHEMAS.items():
        shape = (2, 3, 4, 4)
        filled(made(), shape)
        assert made().name == name
    assert SCHEMAS["xavier"](variance="fan_out")["variance"] == "fan_out"


def test_bilinear_is_the_formula() -> None:
    values = filled(Filler("bilinear"), (2, 3, 4, 4))
    f, c = 2, 3 / 4
    expected = [[(1 - abs(x / f - c)) * (1 - abs(y / f - c)) for x in range(4)] for y in range(4)]
    np.testing.assert_allclose(values, np.broadcast_to(expected, (2, 3, 4, 4)), rtol=1e-6)


@pytest.mark.parametrize(("shape", "wrong"), [((2, 3), "four axes"), ((1, 1, 3, 4), "square")])
def test_bilinear_refuses_what_is_no_square_kernel(shape: tuple[int, ...], wrong: str) -> None:
    with pytest.raises(UserError, match=f"a.net:3: bilinear cannot fill w.*{wrong}"):
        filled(Filler("bilinear"), shape)


def test_xavier_of_a_vector_has_fan_in_one() -> None:
    assert np.abs(filled(Filler("xavier"), (10000,))).max() == pytest.approx(math.sqrt(3), rel=1e-3)


def test_rows_of_positive_unitball_sum_to_one() -> None:
    np.testing.assert_allclose(filled(Filler("positive_unitball"), CONV).reshape(64, -1).sum(axis=1), 1, rtol=1e-5)


def test_values_depend_on_seed_and_name_only() -> None:
    one = filled(Filler("gaussian"), (50,))
    np.testing.assert_array_equal(one, filled(Filler("gaussian"), (50,)))
    assert not np.array_equal(one, filled(Filler("gaussian"), (50,), seed=2))
    other = filled(Filler("gaussian"), (50,), name="v")
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.6


@pytest.mark.parametrize("seed", [-1, 0, 2**64 + 5])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert np.isfinite(filled(Filler("uniform"), (4,), seed=seed)).all()


@pytest.mark.parametrize("dtype", ["f16", "f64", "i64", "bf16"])
def test_the_type_is_that_of_the_state(dtype: str) -> None:
    info = TensorType((3,), dtype)
    values = filled(Filler("constant", (("value", 3.0),)), (3,), dtype=dtype)
    assert values.dtype == info.numpy_dtype
    assert (values == 3).all()


@pytest.mark.parametrize("name", ["constant", "uniform", "gaussian", "xavier", "msra"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_empty_and_scalar_shapes_are_filled(name: str, shape: tuple[int, ...]) -> None:
    assert filled(Filler(name), shape).shape == shape


def test_a_row_needs_an_axis() -> None:
    with pytest.raises(UserError, match="positive_unitball cannot fill w, f32\\[\\]: it needs at least one axis"):
        filled(Filler("positive_unitball"), ())


def test_uniform_refuses_limits_that_are_swapped() -> None:
    with pytest.raises(UserError, match=r"uniform cannot fill w.*: min 1 is above max 0"):
        filled(Filler("uniform", (("min", 1.0), ("max", 0.0))), (2, 3))
