"""The text around the kernels of a generated module: what every module defines before its functions."""

HEAD = '''
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided


def array(arena, offset, dtype, shape, order):
    """An array in `arena` from byte `offset` on, whose axes lie there in `order`, the outermost first."""
    lies = [shape[a] for a in order]
    count = int(np.prod(lies, dtype=np.int64)) * np.dtype(dtype).itemsize
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return arena[offset:offset + count].view(dtype).reshape(lies).transpose(inverse)


def launch(pool, function, operands, results, arena, scratch, bases, tiles=None, totals=()):
    """A call of a kernel with its arrays bound, shared between the threads of `pool` where it has several ranges.

    scratch: (offset, dtype, shape, order) of each array a thread needs, from its base in the arena on.
    tiles: the range of the tiled axis for each thread. totals: (number of a result, offset) of results that each
    thread sums for itself; those of the first thread are the results, the others are added in the order of the threads.
    """
    calls, shares = [], []
    for thread, ends in enumerate(tiles or ((),)):
        own = list(results)
        for number, offset in totals if thread else ():
            like = results[number]
            own[number] = array(arena, bases[thread] + offset, like.dtype, like.shape, range(like.ndim))
            shares.append((like, own[number]))
        work = tuple(array(arena, bases[thread] + place[0], *place[1:]) for place in scratch)
        calls.append(partial(function, *operands, *own, work, *ends))
    if len(calls) == 1:
        return calls[0]

    def run():
        if pool is None:
            for call in calls:
                call()
        else:
            pool(calls)
        for total, share in shares:
            np.add(total, share, out=total)

    return run
'''

DRAW = '''

def draw(seed, step, stream, first, out):
    """Fill `out` with random bits from number `first` on.

    Philox4x64-10, key (seed, 0), counter of the first block (1, step, stream, 0), 32-bit halves, the low one first.
    """
    wrap = 2**64 - 1
    block, skip = divmod(first, 8)
    counter = np.array([block, int(step) & wrap, stream & wrap, 0], np.uint64)
    bits = np.random.Philox(key=np.array([int(seed) & wrap, 0], np.uint64), counter=counter)
    done = 0
    while done < out.size:
        some = bits.random_raw(min(4096, (out.size - done + skip + 1) // 2 + 1) // 4 * 4 + 4).astype("<u8", copy=False)
        words = some.view("<u4")[skip:][:out.size - done]
        out[done:done + words.size] = words
        done += words.size
        skip = 0
'''

ROUND = '''

def round_bf16(x, out):
    """Numbers of bf16 in float32: x rounded to the nearest, of two equally near to the even one; NaN stays NaN."""
    strange = np.isnan(x)
    np.copyto(out, x, casting="unsafe")
    bits = out.view(np.uint32)
    odd = bits >> np.uint32(16)
    odd &= np.uint32(1)
    odd += np.uint32(0x7fff)
    bits += odd
    bits &= np.uint32(0xffff0000)
    np.copyto(out, np.nan, where=strange)
'''
