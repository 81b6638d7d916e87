"""Every reader against hostile files from a fixed seed and what once was a fault; the harness against planted ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attack import planted
from attack.contract import Outcome
from attack.readers import case_of, readers
from attack.reading import KEPT, Pool, attack_reader, small_case

TABLE = readers()
CORPUS = sorted(path for path in KEPT.glob("*/*") if path.parent.name != "nets")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as opened:
        yield opened


@pytest.mark.parametrize("name", TABLE)
def test_hostile_files_are_read_or_refused(name: str, pool: Pool) -> None:
    row = TABLE[name]
    count = attack_reader(pool, row, 0, lambda done: done < row.quick)
    assert count.tried == row.quick
    assert not count.faults, count.line()


@pytest.mark.parametrize("name", TABLE)
def test_valid_files_are_read(name: str, pool: Pool) -> None:
    samples = pool.samples(TABLE[name])
    assert samples
    for sample in samples:
        assert pool.read(TABLE[name], sample) == Outcome("read")


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_was_a_fault_is_none(path: Path, pool: Pool) -> None:
    row = next(row for name, row in TABLE.items() if name.replace(" ", "-") == path.parent.name)
    outcome = pool.read(row, path.read_bytes())
    assert outcome.kind != "fault", outcome


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("crashes", "ZeroDivisionError in outside of netc"),
        ("speaks", "message of a UserError"),
        ("waits", "the process hangs or dies"),
        ("eats", "memory"),
        ("writes", "forbidden: open"),
        ("starts", "forbidden: subprocess.Popen"),
        ("leaves", "left a file"),
        ("dies", "the process hangs or dies"),
    ],
)
def test_a_reader_that_breaks_the_contract_is_found(name: str, where: str) -> None:
    row = planted.readers()[name]
    with Pool("attack.planted:readers") as pool:
        count = attack_reader(pool, row, 0, lambda done: done < (30 if name == "crashes" else 1))
        assert list(count.faults) == [where]
        if name != "crashes":
            return
        example = count.examples[where]
        number = int(example.partition(":")[0].split()[-1])
        data = case_of(row, pool.samples(row), 0, number)
        small = small_case(pool, row, data, Outcome("fault", where=where), 5.0)
    assert small == b"seven"
