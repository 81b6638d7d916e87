"""Strides of reshapes, beside numpy's own where it tells them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from netc.compiler.codegen.strides import order_of, reshaped, strides_of


def sizes(count: int, rng: random.Random) -> list[int]:
    """A shape of so many elements."""
    found = []
    while count > 1 or rng.random() < 0.4:
        found.append(rng.choice([n for n in range(1, count + 1) if not count % n]))
        count //= found[-1]
    rng.shuffle(found)
    return found


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="this numpy reshapes with copies only")
def test_a_reshape_has_the_strides_that_numpy_gives_it() -> None:
    rng = random.Random(0)
    views = copies = 0
    for _ in range(4000):
        count = rng.choice([1, 2, 4, 6, 8, 12, 24, 36, 64])
        shape, target = sizes(count, rng), sizes(count, rng)
        order = rng.sample(range(len(shape)), len(shape)) if rng.random() < 0.5 else range(len(shape))
        apart = rng.choice([1, 1, 1, 0, 2])
        strides = [s * (apart if rng.random() < 0.3 else 1) for s in strides_of(shape, order)]
        probe = as_strided(np.empty(1, np.int8), shape, strides)
        try:
            expected = np.reshape(probe, tuple(target), copy=False).strides
            views += 1
        except ValueError:
            expected = None
            copies += 1
        assert reshaped(shape, strides, target) == expected, (shape, strides, target)
    assert min(views, copies) > 500


def test_what_is_no_reshape() -> None:
    assert reshaped((2, 3), (3, 1), (7,)) is None
    assert reshaped((2, 3), (1, 2), (6,)) is None
    assert reshaped((0, 3), (1, 7), (3, 0)) == (0, 1)
    assert reshaped((), (), (1, 1)) == (1, 1)


def test_axes_in_memory() -> None:
    strides = strides_of((2, 3, 4), (0, 2, 1))
    assert strides == (12, 1, 3)
    assert order_of((2, 3, 4), strides) == (0, 2, 1)
