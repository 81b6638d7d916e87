"""The source `noise`: numbers that follow from the seed and the place of their record, whatever the batch."""

from __future__ import annotations

import numpy as np

from support.data_files import first, stream


def test_distributions() -> None:
    uniform = first("noise", batch=64, shape=[8, 9], min=-1.0, max=3.0)["value"]
    assert uniform.shape == (64, 8, 9)
    assert uniform.dtype == np.float32
    assert -1 <= uniform.min() < -0.95
    assert 2.95 < uniform.max() < 3
    gaussian = first("noise", batch=64, shape=[72], kind="gaussian", mean=5.0, std=0.5)["value"]
    assert abs(gaussian.mean() - 5) < 0.05
    assert 0.45 < gaussian.std() < 0.55
    assert first("noise", batch=3, columns=["label"])["label"].shape == (3,)


def test_records_are_new_and_follow_from_the_seed() -> None:
    with stream("noise", batch=4, records=4) as opened:
        taken = [opened.next().columns["value"].copy() for _ in range(3)]
    assert len(np.unique(taken)) == 12
    with stream("noise", batch=6, records=4) as opened:
        np.testing.assert_array_equal(opened.next().columns["value"], np.concatenate(taken)[:6])
    assert not np.array_equal(first("noise", batch=4, seed=1)["value"], taken[0])
