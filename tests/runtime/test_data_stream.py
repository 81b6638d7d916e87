"""Streams: the place in the data, wrapping, passes in which each record counts once, joins, and their thread."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler.program import UserError
from netc.runtime.data import Share, Stream, open_data
from netc.runtime.data.prefetch import Prefetch
from netc.runtime.data.source import Array
from support.data_files import pixels, spec, stream, write_npz

RECORDS = 23


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_npz(tmp_path / "rows.npz", image=pixels(RECORDS, 3, 8, 8), label=np.arange(RECORDS))
    write_npz(tmp_path / "more.npz", target=np.arange(RECORDS) + 100, label=np.zeros(RECORDS, np.int32))
    write_npz(tmp_path / "other.npz", other=np.arange(7))
    return tmp_path


def rows(folder: Path, **more: Any) -> Stream:
    return stream("npz", folder, mode="train", seed=5, path="rows.npz", **{"batch": 5, **more})


def data_threads() -> int:
    return sum(thread.name == "netc data" for thread in threading.enumerate())


def test_training_wraps_within_a_batch(folder: Path) -> None:
    with rows(folder) as opened:
        labels = [opened.next().columns["label"].tolist() for _ in range(10)]
    assert labels[4] == [20, 21, 22, 0, 1]
    assert [label for batch in labels for label in batch] == [record % RECORDS for record in range(50)]


def test_a_batch_larger_than_the_data(folder: Path) -> None:
    with rows(folder, batch=50, shuffle=True) as opened:
        labels = opened.next().columns["label"].tolist()
    assert sorted(labels[:RECORDS]) == sorted(labels[RECORDS : 2 * RECORDS]) == list(range(RECORDS))
    assert labels[:RECORDS] != labels[RECORDS : 2 * RECORDS]


def test_each_epoch_holds_every_record_once_in_another_order(folder: Path) -> None:
    with rows(folder, batch=1, shuffle=True) as opened:
        labels = [int(opened.next().columns["label"][0]) for _ in range(3 * RECORDS)]
    epochs = [tuple(labels[start : start + RECORDS]) for start in range(0, len(labels), RECORDS)]
    assert len(set(epochs)) == 3
    assert all(sorted(epoch) == list(range(RECORDS)) for epoch in epochs)


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 17])
def test_a_resumed_stream_is_the_same_to_the_bit(folder: Path, taken: int) -> None:
    settings = {"shuffle": True, "crop": 6, "mirror": True, "mean": 100.0}
    with rows(folder, **settings) as opened:
        for _ in range(taken):
            opened.next()
        position = opened.position
        rest = [(b.columns["image"].copy(), b.columns["label"].copy()) for b in (opened.next() for _ in range(12))]
    assert divmod(taken * 5, RECORDS) == (position["epoch"], position["record"])
    assert all(type(value) is int for value in position.values())
    with rows(folder, **settings) as resumed:
        resumed.next()  # what was taken or prefetched before a seek does not matter
        resumed.seek(position)
        assert resumed.position == position
        for image, label in rest:
            batch = resumed.next()
            np.testing.assert_array_equal(batch.columns["image"], image)
            np.testing.assert_array_equal(batch.columns["label"], label)


def test_a_place_of_other_data_is_refused(folder: Path) -> None:
    with rows(folder) as opened:
        with pytest.raises(UserError, match="rows has 23 records, the place to go on at is in data of 60,000"):
            opened.seek({"epoch": 0, "record": 0, "records": 60000})
        for place in ({"epoch": 0, "record": RECORDS}, {"epoch": -1, "record": 0}, {}, {"epoch": "0", "record": 0}):
            with pytest.raises(UserError, match="has no place"):
                opened.seek(place)


@given(st.integers(1, 40), st.integers(0, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_pass_gives_the_exact_mean(batch: int, seed: int, mirror: bool) -> None:
    form = spec("synthetic", shape=(1, 4, 4), classes=5, records=RECORDS, batch=batch, mirror=mirror, shuffle=True)
    one = spec("synthetic", shape=(1, 4, 4), classes=5, records=RECORDS, batch=1, mirror=mirror, shuffle=True)

    def mean(form: Any) -> tuple[float, int, int]:
        with open_data(form, mode="test", seed=seed) as opened:
            total, weight, valid = 0.0, 0, 0
            for taken in opened.one_pass():
                # a value of each record that crop, mirror and label have a part in
                value = taken.columns["image"][:, 0, 0, 0] * (1.0 + taken.columns["label"])
                total += taken.weight * float(value.mean())
                weight += taken.weight
                valid += taken.valid
        return total / weight, weight, valid

    exact, _, _ = mean(one)
    found, weight, valid = mean(form)
    assert weight == valid == RECORDS
    assert found == pytest.approx(exact, rel=1e-12)


def test_the_rows_of_a_pass(folder: Path) -> None:
    with rows(folder) as opened:
        opened.next()
        seen = [(b.columns["label"].tolist(), b.valid, b.weight) for b in opened.one_pass()]
        assert seen[0] == ([0, 1, 2, 3, 4], 5, 5)
        assert seen[-2:] == [([20, 21, 22, 0, 0], 3, 5), ([0] * 5, 0, -2)]
        assert len(seen) == 6
        assert opened.next().columns["label"].tolist() == [5, 6, 7, 8, 9]  # a pass leaves the stream's place alone


def test_a_pass_of_so_many_batches_counts_on_past_the_end(folder: Path) -> None:
    with rows(folder, batches=6) as opened:
        seen = [(b.columns["label"].tolist(), b.valid, b.weight) for b in opened.one_pass()]
    assert len(seen) == 6
    assert seen[4] == ([20, 21, 22, 0, 1], 5, 5)
    assert seen[5] == ([2, 3, 4, 5, 6], 5, 5)


def test_data_side_by_side_keep_their_rows_together(folder: Path) -> None:
    a = spec("npz", folder, "a", path="rows.npz", batch=5, shuffle=True, columns=("image", "record"))
    b = spec("npz", folder, "b", path="more.npz", batch=5, shuffle=True)
    with open_data([a, b], mode="train", seed=9) as opened:
        assert list(opened.columns) == ["image", "record", "target", "label"]
        for _ in range(12):
            batch = opened.next()
            np.testing.assert_array_equal(batch.columns["record"] + 100, batch.columns["target"])
        assert sum(taken.weight for taken in opened.one_pass()) == RECORDS


def test_data_that_do_not_fit_together(folder: Path) -> None:
    a = spec("npz", folder, "a", path="rows.npz", batch=5)
    cases = [
        (spec("npz", folder, "b", path="other.npz", batch=4), "a has batch 5, b 4; data side by side need the same"),
        (spec("npz", folder, "b", path="more.npz", batch=5), "b: there is a column `label` already"),
        (spec("npz", folder, "b", path="more.npz", batch=5, shuffle=True), "shuffle both or neither"),
    ]
    for b, text in cases:
        with pytest.raises(UserError, match=text):
            open_data([a, b], mode="train")
    with open_data([a, spec("npz", folder, "b", path="other.npz", batch=5)], mode="train") as opened:
        assert [opened.next().columns["other"][0] for _ in range(3)] == [0, 5, 3]
        with pytest.raises(UserError, match="a has 23 records, b 7: one pass needs the same number"):
            next(opened.one_pass())


def test_only_the_columns_that_are_wanted_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.data import arrays

    read: list[str] = []
    load = arrays._load

    def noted(file: Path, name: str, dtype: np.dtype[Any]) -> Array:
        read.append(name)
        return load(file, name, dtype)

    monkeypatch.setattr(arrays, "_load", noted)
    with open_data(spec("npz", folder, path="rows.npz", batch=5), mode="train", only=("image",)) as opened:
        assert list(opened.next().columns) == list(opened.columns) == ["image"]
    assert read == ["image"]


def test_the_batch_can_be_set_from_outside(folder: Path) -> None:
    with open_data(spec("npz", folder, path="rows.npz", batch=5), mode="train", batch=7) as opened:
        assert opened.batch == len(opened.next().columns["label"]) == 7


def test_a_batch_stays_until_the_next_is_taken_and_buffers_go_round(folder: Path) -> None:
    with rows(folder) as opened:
        arrays = set()
        for number in range(30):
            batch = opened.next()
            time.sleep(0.001)  # the thread runs ahead meanwhile
            assert batch.columns["label"].tolist() == [(number * 5 + row) % RECORDS for row in range(5)]
            arrays.add(batch.columns["image"].ctypes.data)
    assert len(arrays) <= 4


def test_no_thread_outlives_its_stream(folder: Path) -> None:
    before = data_threads()
    with rows(folder) as opened:
        opened.next()
        assert data_threads() == before + 1
        for _ in opened.one_pass():
            assert data_threads() == before + 2
            break

    def interrupted() -> None:
        with rows(folder) as opened:
            opened.next()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    forgotten = rows(folder)
    forgotten.next()
    del forgotten
    gc.collect()
    wait = time.monotonic() + 5
    while data_threads() > before and time.monotonic() < wait:
        time.sleep(0.01)
    assert data_threads() == before


def test_the_program_ends_while_the_thread_is_at_work(tmp_path: Path) -> None:
    script = (
        "import sys; from support.data_files import stream\n"
        "opened = stream('synthetic', shape=(3, 64, 64), records=64, batch=64, crop=32, mirror=True)\n"
        "opened.next()\n"
        "sys.exit(int(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script, "7"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_an_error_of_the_thread_surfaces_where_a_batch_is_taken() -> None:
    def jobs() -> Iterator[int]:
        yield from range(100)

    def fill(job: int, slot: list[int]) -> None:
        if job == 3:
            raise UserError("record 3 is damaged")
        slot[0] = job

    prefetch = Prefetch(jobs(), fill, [[0], [0]])
    for number in range(3):
        taken = prefetch.take()
        assert taken is not None
        assert taken[1] == [number]
    for _ in range(2):  # it stays an error, and does not hang
        with pytest.raises(UserError, match="record 3 is damaged"):
            prefetch.take()
    prefetch.close()


def test_the_jobs_come_to_an_end() -> None:
    slots: list[list[int]] = [[], []]
    prefetch = Prefetch(iter(range(2)), lambda job, slot: slot.append(job), slots)
    assert prefetch.take() == (0, [0])
    assert prefetch.take() == (1, [1])
    assert prefetch.take() is None
    assert prefetch.take() is None
    prefetch.close()


def test_a_stream_reads_ahead_no_further_than_its_buffers() -> None:
    started: list[int] = []

    def fill(job: int, slot: list[int]) -> None:
        started.append(job)

    slots: list[list[int]] = [[], [], []]
    prefetch = Prefetch(iter(range(1000)), fill, slots)
    prefetch.take()
    time.sleep(0.05)
    assert len(started) <= 3
    prefetch.close()


@pytest.mark.parametrize("records", [RECORDS, 7])
def test_shares_of_a_batch_are_its_rows(folder: Path, records: int) -> None:
    """Side by side the shares of all processes are what one reads, shuffled and mirrored; the place is that of all."""
    path = "rows.npz" if records == RECORDS else "other.npz"
    more: dict[str, Any] = {"mirror": True} if records == RECORDS else {}
    data = spec("npz", folder, path=path, shuffle=True, **more)

    def opened(batch: int, share: Share | None) -> Stream:
        return open_data(data, mode="train", seed=5, batch=batch, share=share)

    shares = [opened(2, Share(rank, 3)) for rank in range(3)]
    with opened(6, None) as whole:
        for _ in range(9):
            batch, parts = whole.next(), [one.next() for one in shares]
            for name, column in batch.columns.items():
                assert np.array_equal(np.concatenate([part.columns[name] for part in parts]), column)
        assert {str(one.position) for one in shares} == {str(whole.position)}
        assert {one.batch for one in shares} == {6}
        passes = [[(copied(b.columns), b.valid, b.weight) for b in one.one_pass()] for one in (whole, *shares)]
    for whole_batch, *others in zip(*passes, strict=True):
        for name, column in whole_batch[0].items():
            assert np.array_equal(np.concatenate([other[0][name] for other in others]), column)
        assert all(other[1:] == whole_batch[1:] for other in others)
    for one in shares:
        one.close()


def copied(columns: dict[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in columns.items()}
