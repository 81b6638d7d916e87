"""Mutation of binary files: valid ones with bytes changed, cut, repeated, or set to numbers that mean trouble."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

# Counts and sizes that overflow, wrap around or claim too much.
NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32)
NUMBERS_64 = (*NUMBERS, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """A valid file with one to six changes, mostly near its start, where the sizes are."""
    data = random.choice(samples)
    head = random.choice((16, 64, 256, len(data) or 1))
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        data = once(random, data, head, samples)
    return data


def once(random: Random, data: bytes, head: int, samples: Sequence[bytes]) -> bytes:
    """One change within the first `head` bytes."""
    at = random.randrange(min(len(data), head) + 1)
    how = random.randrange(10)
    if how == 0:
        return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
    if how == 1:
        return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :] if at < len(data) else data
    if how == 2:
        return data[:at]
    if how == 3:
        return data[:at] + data[at + 1 + random.randrange(9) :]
    if how == 4:
        return data[:at] + random.randbytes(random.choice((1, 2, 4, 8, 40))) + data[at:]
    if how == 5:
        size = random.choice((1, 2, 4, 8))
        number = random.choice(NUMBERS_64) % (1 << 8 * size)
        return data[:at] + number.to_bytes(size, random.choice(("little", "big"))) + data[at + size :]
    if how == 6:  # a part of it once more
        part = data[at : at + random.choice((1, 4, 16, 64))]
        return data[:at] + part * random.choice((1, 2, 50)) + data[at:]
    if how == 7:  # the end of another one
        other = random.choice(samples)
        return data[:at] + other[random.randrange(len(other) + 1) :]
    if how == 8:
        return data + random.randbytes(random.choice((1, 8, 100)))
    return data[:at] + b"\0" * random.choice((1, 4, 16)) + data[at + random.choice((0, 1, 4, 16)) :]
