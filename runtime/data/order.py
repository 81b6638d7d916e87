"""All that is random in the data: a pure function of the seed and of the number of records taken before.

So the place in the data is a number, and a run that is resumed draws what it would have drawn. The words are those of
Philox4x64-10; the streams are kept apart by the second word of its key (0 is the graph's own, for dropout).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

DRAW, ORDER = 1, 2
WORDS_PER_RECORD = 4  # one Philox block


def words(seed: int, stream: int, block: int, count: int, row: int = 0) -> Words:
    """`count` random words of a stream, from a block (four words each) on; `row` is a second counter."""
    key = np.array([seed & (2**64 - 1), stream], np.uint64)
    counter = np.array([block, row, 0, 0], np.uint64)
    drawn: Words = np.random.Philox(key=key, counter=counter).random_raw(count)
    return drawn


def draws(seed: int, place: int, count: int) -> Words:
    """The four words that belong to each of `count` records from the `place`-th taken on: [count, 4]."""
    return words(seed, DRAW, place, count * WORDS_PER_RECORD).reshape(count, WORDS_PER_RECORD)


def below(drawn: Words, bound: int) -> npt.NDArray[np.int64]:
    """Whole numbers in 0..bound-1 from words, evenly to within 2^-32; `bound` below 2^31."""
    return ((drawn >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int64)


def permutation(seed: int, epoch: int, records: int) -> npt.NDArray[np.int64]:
    """The order of the records in an epoch; nothing else is in it, so data of one length stay side by side."""
    return np.argsort(words(seed, ORDER, 0, records, row=epoch), kind="stable")
