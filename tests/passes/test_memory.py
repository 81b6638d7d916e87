"""The memory plan: what lives together lies apart, state is overwritten last, the order frees what it can."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.plan import ALIGN, pack
from netc.passes.lowering.memory import plan
from support.numpy_program import tiles
from support.short_nodes import fed, state


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9), st.integers(0, 9)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_what_lives_together_lies_apart(found: list[tuple[int, int, int]]) -> None:
    blocks = [(size, min(a, b), max(a, b)) for size, a, b in found]
    offsets, end = pack(blocks)
    assert all(
        offset % ALIGN == 0 and offset + size <= end for offset, (size, _, _) in zip(offsets, blocks, strict=True)
    )
    for i, (size, first, last) in enumerate(blocks):
        for j, (other, a, b) in enumerate(blocks[:i]):
            if size and other and a <= last and first <= b:
                assert offsets[i] + size <= offsets[j] or offsets[j] + other <= offsets[i]


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)), min_size=1, max_size=4), max_size=12),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_parts_that_live_together_lie_apart(found: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    """Of each block parts of so many bytes, each needed since a launch; the block until its last one."""
    blocks, begins = [], {}
    for i, parts in enumerate(found):
        last = max(since for _, since in parts) + data.draw(st.integers(0, 4))
        blocks.append((sum(size for size, _ in parts), min(since for _, since in parts), last))
        begins[i] = tuple((sum(size for size, _ in parts[:k]), since) for k, (_, since) in enumerate(parts))
    offsets, end = pack(blocks, begins=begins)
    rectangles = []
    for i, offset in enumerate(offsets):
        assert not blocks[i][0] or (offset % ALIGN == 0 and offset + blocks[i][0] <= end)
        for (size, since), (start, _) in zip(found[i], begins[i], strict=True):
            rectangles.append((i, offset + start, offset + start + size, since, blocks[i][2]))
    for i, low, high, since, last in rectangles:
        for j, start, stop, begun, done in rectangles:
            apart = high <= start or stop <= low or low == high or start == stop
            assert i == j or apart or last < begun or done < since


def test_a_part_that_is_written_late_leaves_its_memory_until_then() -> None:
    gradients, early = (192, 0, 5), (128, 1, 2)
    assert pack([gradients, early]) == ([0, 192], 320)
    assert pack([gradients, early], begins={0: ((0, 0), (64, 3))}) == ([0, 64], 192)
    assert pack([gradients, early], begins={0: ((0, 0), (64, 2))}) == ([0, 192], 320)


def test_small_blocks_lie_closer() -> None:
    assert pack([(64, 0, 1), (20, 0, 1), (12, 0, 1)], small=64, unit=8) == ([0, 64, 88], 100)
    assert pack([(64, 0, 1), (20, 0, 1), (12, 0, 1)]) == ([0, 64, 128], 140)


def test_memory_is_used_again() -> None:
    assert pack([(64, 0, 1), (64, 1, 2), (64, 2, 3)]) == ([0, 64, 0], 128)


def test_readers_of_old_state_run_before_its_writer() -> None:
    x, w = fed("x", 300, 300), state("w", 300, 300)
    graph = Graph({"y": ops.dot(x, w)}, {"w": ops.mul(w, x)})
    fused = tiles(graph, enabled=False)
    placed = plan(fused.graph, threads=1, inner=False)
    kinds = [next(iter(k.attrs["body"].outputs.values())).op.name for k in placed.kernels]
    assert kinds == ["dot", "mul"]
    homes = {home.space for home in placed.homes.values()}
    assert homes == {"arena", "state"}


def test_a_value_that_is_needed_to_make_what_reads_the_old_state_is_copied() -> None:
    """The next w decides y, which also reads the old w: w cannot be overwritten at once."""
    w, v = state("w", 300, 300), state("v", 300, 300)
    following = ops.tanh(w)
    fused = tiles(Graph({"y": ops.dot(following, w)}, {"w": following, "v": ops.add(v, v)}), enabled=False)
    written = [fused.graph.updates[name] for name in ("w", "v")]
    made = [next(iter(x.inputs[0].attrs["body"].outputs.values())).op.name for x in written]
    assert made == ["reshape", "add"]


def test_a_concat_holds_its_operands() -> None:
    x, y = fed("x", 40, 50), fed("y", 40, 30)
    joined = ops.concat(ops.exp(x), ops.tanh(y), axis=1)
    fused = tiles(Graph({"z": ops.dot(joined, fed("w", 80, 7))}), enabled=False)
    homes = plan(fused.graph, threads=1, inner=False).homes
    parts = [home for home in homes.values() if home.space == "part"]
    assert sorted(home.start for home in parts) == [0, 50]


def test_what_only_state_decides_is_prepared() -> None:
    x, w, s = fed("x", 20, 30), state("w", 30, 30), state("s", 30, 30)
    fused = tiles(Graph({"y": ops.dot(x, ops.mul(ops.exp(w), s))}), enabled=False)
    placed = plan(fused.graph, threads=1, inner=False)
    assert len(placed.prepare) == 2
    assert [k in placed.prepare for k in placed.kernels] == [True, True, False]
    changing = tiles(Graph({"y": ops.dot(x, ops.mul(ops.exp(w), s))}, {"w": ops.neg(w)}), enabled=False)
    assert not plan(changing.graph, threads=1, inner=False).prepare


def test_the_order_frees_memory_early() -> None:
    """Two long branches: one is finished, and its large values freed, before the other is begun."""
    ends = []
    for name in ("a", "b"):
        x = fed(name, 64, 64)
        wide = ops.exp(ops.broadcast(ops.reshape(x, shape=(1, 64, 64)), shape=(20, 64, 64)))
        ends.append(ops.sum_(ops.tanh(wide), axes=(0, 1, 2)))
    fused = tiles(Graph({"y": ops.add(*ends)}), enabled=False)
    kernels = plan(fused.graph, threads=1, inner=False).kernels
    names = [next(iter(k.attrs["body"].outputs.values())).op.name for k in kernels]
    assert names == ["exp", "tanh", "sum", "exp", "tanh", "sum", "add"]
