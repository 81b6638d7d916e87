"""Memory planning: the order of launches, where values lie, and how long each is live.

Concats hold their operands; next values of state are written over the old ones, after all their readers; all else lies
in one arena. The target adds the scratch of its kernels and packs all of it (`compiler.plan.pack`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...compiler import ops
from ...compiler.graph import Graph, GraphError, Node, reached
from ...compiler.kernel import bodies, made_in, narrow, operand_number
from ...compiler.plan import Begins, Home, Orders, Pitches, Plan
from ...compiler.program import Commit
from ..fusion.materialize import Span, base_of, state_span
from ..prepared import Prepared
from ..training.update import GRADIENTS


def plan(
    graph: Graph, *, threads: int, inner: bool, orders: Orders | None = None, pitches: Pitches | None = None
) -> Plan:
    """The plan of a graph of kernels (see `fuse`). orders: as `layout` chose them; without, some axes are free."""
    homes = homes_of(graph)
    edges = _edges(graph, homes)
    prepare = prepared(graph, homes)
    kernels = _launch_order(graph, edges, prepare, _sent(graph, homes))
    orders = orders if orders is not None else _orders(graph, homes, inner)
    lives = _lives(graph, homes, kernels, prepare)
    begins = _begins(graph, homes, kernels)
    return Plan(tuple(kernels), frozenset(prepare), homes, orders, lives, threads, inner, begins, pitches or {})


def size_of(node: Node) -> int:
    """The bytes of a stored value."""
    if node.op is ops.item and narrow(made_in(node)):
        return node.type.count
    return node.type.numpy_dtype.itemsize * node.type.count


def homes_of(graph: Graph) -> dict[Node, Home]:
    """The memory of each item and concat."""
    homes: dict[Node, Home] = {}
    for name, value in graph.updates.items():
        homes[value] = Home("state", name)
    for node in graph.order:
        if node.op is ops.concat:
            homes.setdefault(node, Home("arena"))
            start = 0
            for x in node.inputs:
                base = base_of(x)
                if state_span(base) is None:
                    homes[base] = Home("part", parent=node, start=start)
                start += int(x.shape[node.attrs["axis"]])
        elif node.op is ops.item:
            homes.setdefault(node, Home("arena"))
    return homes


def stored_below(node: Node) -> Iterator[Node]:
    """The items, inputs and states that an operand of a kernel is a view of, through concats."""
    found = reached([node], lambda x: () if x.op is ops.item else x.inputs)
    return (x for x in found if x.op is ops.item or not x.inputs)


def _edges(graph: Graph, homes: dict[Node, Home]) -> dict[Node, dict[Node, None]]:
    """Which kernels must run before each kernel: the makers of its operands, the readers of what it overwrites."""
    before: dict[Node, dict[Node, None]] = {k: {} for k in bodies(graph)}
    readers: dict[str, list[tuple[Node, Span]]] = {}
    for kernel in before:
        for x in kernel.inputs:
            span = state_span(x)
            if span is not None:
                readers.setdefault(span.state, []).append((kernel, span))
            for below in stored_below(x):
                if below.op is ops.item:
                    before[kernel][below.inputs[0]] = None
    for node, home in homes.items():
        if node.op is ops.item and (span := written_span(node, home, homes)) is not None:
            for reader, read in readers.get(span.state, ()):
                if reader is not node.inputs[0] and read.meets(span):
                    before[node.inputs[0]][reader] = None
    return before


def written_span(node: Node, home: Home, homes: dict[Node, Home]) -> Span | None:
    """The part of a state that a value is written over, or None."""
    if home.space == "state":
        return Span(home.name, 0, node.type.count)
    if home.space == "part" and home.parent is not None:
        outer = homes[home.parent]
        if outer.space == "state":
            return Span(outer.name, home.start, home.start + node.type.count)
    return None


def commits(plan: Plan) -> tuple[Commit, ...]:
    """When each part of the flat state is written, in the order of the launches of a step."""
    launches = {kernel: k for k, kernel in enumerate(k for k in plan.kernels if k not in plan.prepare)}
    found = [
        Commit(launches[node.inputs[0]], span.state, span.start, span.stop)
        for node, home in plan.homes.items()
        if node.op is ops.item and (span := written_span(node, home, plan.homes)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (one.launch, one.state, one.start)))


def prepared(graph: Graph, homes: dict[Node, Home]) -> set[Node]:
    """The kernels that only unchanging state decides: they run when the state was set, not at each call."""
    placed = {n.inputs[0] for n, home in homes.items() if n.op is ops.item and home.space != "arena"}
    once = Prepared(graph.updates, placed)
    return {kernel for kernel in bodies(graph) if once(kernel)}


def _sent(graph: Graph, homes: dict[Node, Home]) -> set[Node]:
    """The kernels that make gradients which other processes may wait for."""
    written = ((node, written_span(node, home, homes)) for node, home in homes.items() if node.op is ops.item)
    return {node.inputs[0] for node, span in written if span is not None and span.state == GRADIENTS}


def _launch_order(
    graph: Graph, before: dict[Node, dict[Node, None]], prepare: set[Node], sent: set[Node]
) -> list[Node]:
    """Of the kernels that are ready, one of what is sent, then the one that frees most; of equals the graph's first."""
    place = {k: i for i, k in enumerate(before)}
    waiting = {k: len(needs) for k, needs in before.items()}
    after: dict[Node, list[Node]] = {k: [] for k in before}
    users = Counter(need for needs in before.values() for need in needs)
    made = Counter[Node]()
    for k, needs in before.items():
        for need in needs:
            after[need].append(k)
    for node in graph.order:
        if node.op is ops.item:
            made[node.inputs[0]] += size_of(node)
    ready = [k for k, n in waiting.items() if not n]
    order: list[Node] = []
    while ready:

        def cost(k: Node) -> tuple[bool, bool, int, int]:
            freed = sum(made[need] for need in before[k] if users[need] == 1)
            grows = made[k] - freed
            return k not in prepare, k not in sent, min(grows, 0), place[k]

        best = min(ready, key=cost)
        ready.remove(best)
        order.append(best)
        for need in before[best]:
            users[need] -= 1
        for k in after[best]:
            waiting[k] -= 1
            if not waiting[k]:
                ready.append(k)
    if len(order) < len(before):
        raise GraphError("kernels wait for each other: a state would be overwritten before it is read")
    return order


def _begins(graph: Graph, homes: dict[Node, Home], kernels: list[Node]) -> dict[Node, Begins]:
    """Of the flat values that are concats, as all gradients are: since when each part is needed.

    A large gradient that is computed late leaves its memory to activations until then.
    """
    when = {k: i for i, k in enumerate(kernels)}
    found: dict[Node, Begins] = {}
    for node in graph.order:
        bases = [base_of(x) for x in node.inputs] if node.op is ops.concat and node.type.rank == 1 else []
        parts = [homes.get(base) for base in bases]
        if bases and homes[node].space == "arena" and all(p and p.parent is node for p in parts):
            items = [[x for x in stored_below(base) if x.op is ops.item] for base in bases]
            written = [min((when[x.inputs[0]] for x in some), default=0) for some in items]
            found[node] = tuple((p.start, at) for p, at in zip(parts, written, strict=True) if p)
    return found


def _orders(graph: Graph, homes: dict[Node, Home], inner: bool) -> dict[Node, tuple[int, ...]]:
    """The orders of axes that are decided before any kernel is written: state, views of parts, concats."""
    orders: dict[Node, tuple[int, ...]] = {}
    for node in graph.order:
        if node.op is ops.concat:
            rank = len(node.shape)
            plain = all(base_of(x) is x for x in node.inputs)
            if rank >= 3 and plain and homes[node].space == "arena":
                orders[node] = (*range(1, rank), 0) if inner else (1, 0, *range(2, rank))
            else:
                orders[node] = tuple(range(rank))
        elif node in homes and homes[node].space == "state":
            orders[node] = tuple(range(len(node.shape)))
    for node, wanted in flattened(graph, inner):
        if node in homes and homes[node].space == "arena":
            orders.setdefault(node, wanted)
    return orders


def flattened(graph: Graph, inner: bool) -> Iterator[tuple[Node, tuple[int, ...]]]:
    """Values whose readers join or split their axes behind the batch, and the order in which that is a view."""
    for kernel, body in bodies(graph).items():
        for node in body.order:
            if node.op is not ops.reshape or node.inputs[0].op is not ops.input_:
                continue
            x = node.inputs[0]
            operand = kernel.inputs[operand_number(x)]
            rank = len(x.shape)
            joins = [n for n in x.shape if n != 1] != [n for n in node.shape if n != 1]
            if operand.op is ops.item and joins and rank >= 2:
                same_batch = node.shape[:1] == x.shape[:1]
                yield operand, (*range(1, rank), 0) if inner and same_batch else tuple(range(rank))


def _lives(
    graph: Graph, homes: dict[Node, Home], kernels: list[Node], prepare: set[Node]
) -> dict[Node, tuple[int, int]]:
    """The first and last launch that needs each value in the arena; what is prepared or an output stays."""
    when = {k: i for i, k in enumerate(kernels)}
    end = len(kernels)
    lives: dict[Node, tuple[int, int]] = {}

    def owner(node: Node) -> Node | None:
        home = homes[node]
        while home.space == "part" and home.parent is not None:
            node, home = home.parent, homes[home.parent]
        return node if home.space == "arena" else None

    def extend(node: Node, at: int) -> None:
        for below in stored_below(node):
            if below.op is ops.item and (held := owner(below)) is not None:
                low, high = lives.get(held, (at, at))
                lives[held] = min(low, at), max(high, at)

    for node in graph.order:
        if node.op is ops.item:
            extend(node, when[node.inputs[0]])
        elif node.op is ops.kernel:
            for x in node.inputs:
                extend(x, when[node])
                if node not in prepare and any(b.op is ops.item and b.inputs[0] in prepare for b in stored_below(x)):
                    extend(x, 0)
                    extend(x, end)
    for value in graph.outputs.values():
        extend(value, end)
    return lives
