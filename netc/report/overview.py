"""Model summary: the layers of a net with shapes, parameters, operations and memory, and the totals of its program."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .tables import Table, operations, size

if TYPE_CHECKING:
    from ..compiler.net import Net
    from ..compiler.program import Program


@dataclass(frozen=True)
class LayerRow:
    """One layer: what it is, the types that leave it, its own parameters, its operations in one forward pass."""

    name: str
    kind: str
    tops: tuple[str, ...]
    params: int
    flops: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "tops": list(self.tops),
            "params": self.params,
            "flops": self.flops,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class Summary:
    """A net in numbers.

    params counts learned numbers, shared ones once. flops are those of a forward pass, a multiply-add counted as two.
    activation_bytes is what all layers' results take, peak_bytes what the compiled program needs beside its state.
    """

    net: str
    mode: str
    batch: int | None
    params: int
    statistics: int
    flops: int
    activation_bytes: int
    peak_bytes: int
    layers: tuple[LayerRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc summary --json`."""
        return {
            "net": self.net,
            "mode": self.mode,
            "batch": self.batch,
            "params": self.params,
            "flops": self.flops,
            "activation_bytes": self.activation_bytes,
            "peak_bytes": self.peak_bytes,
            "layers": [row.as_dict() for row in self.layers],
        }

    def table(self) -> Table:
        rows = [
            [
                row.name,
                row.kind,
                " ".join(row.tops),
                f"{row.params:,}" if row.params else "",
                operations(row.flops) if row.flops else "",
                size(row.bytes),
            ]
            for row in self.layers
        ]
        batch = f", batch {self.batch}" if self.batch is not None else ""
        foot = ["total", "", "", f"{self.params:,}", operations(self.flops), size(self.activation_bytes)]
        title = f"{self.net} ({self.mode}{batch})"
        return Table(title, ["layer", "kind", "result", ">parameters", ">forward", ">memory"], rows, foot)

    def text(self) -> str:
        """The totals in two lines."""
        kept = f", {self.statistics:,} running statistics" if self.statistics else ""
        return (
            f"{self.params:,} parameters ({size(4 * self.params)} as f32){kept}\n"
            f"{size(self.peak_bytes)} of working memory in the compiled program, beside parameters, inputs and outputs"
        )

    def __str__(self) -> str:
        return f"{self.table()}\n{self.text()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{self.table().html()}<p>{self.text()}</p>"


def summarize(net: Net, program: Program) -> Summary:
    """The summary of a built net and of the program that was compiled from it."""
    flops: Counter[str] = Counter()
    for node in net.graph.order:
        flops[node.scope] += node.op.flops(node.result, *(x.result for x in node.inputs), **node.attrs)
    counts = {info.name: info for info in net.state}
    seen: set[str] = set()
    rows = []
    for layer in net.layers:
        own = [name for name in layer.params if name in counts and name not in seen]
        seen.update(own)
        learned = sum(counts[name].type.count for name in own if counts[name].kind == "parameter")
        rows.append(
            LayerRow(
                layer.name,
                layer.kind,
                tuple(str(type_) for _, type_ in layer.tops),
                learned,
                flops[layer.name],
                sum(type_.nbytes for _, type_ in layer.tops),
            )
        )
    state = {"parameter": 0, "statistic": 0}
    for info in net.state:
        if info.kind in state:
            state[info.kind] += info.type.count
    return Summary(
        net=net.name,
        mode=net.mode,
        batch=int(net.dims["N"]) if "N" in net.dims else None,
        params=state["parameter"],
        statistics=state["statistic"],
        flops=sum(flops.values()),
        activation_bytes=sum(row.bytes for row in rows),
        peak_bytes=program.arena_bytes,
        layers=tuple(rows),
    )
