"""What a file describes, resolved and checked: the nets, data and training that the rest of netc asks for by name."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...grammar import tree
from ...grammar.source import Source, SourceError, UserError, suggest
from ..caffe.options import Records
from ..host import HostLayer
from ..spec import DataSpec, TrainSpec
from .module import Function, Module, NetEntry
from .names import Counts


@dataclass(eq=False)
class Experiment:
    """A file with its imports.

    nets, blocks, ops, consts and data are all that the file sees, imported ones too; trains are its own, in order.
    imports are the other files by path. warnings are those of the whole file.
    python: the layers in Python that its nets have made. records: opens data for the shapes of their records.
    """

    module: Module
    data: Mapping[str, DataSpec]
    trains: tuple[TrainSpec, ...]
    warnings: tuple[SourceError, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    python: dict[Hashable, HostLayer] = field(default_factory=dict)
    records: Records | None = None

    @property
    def source(self) -> Source:
        return self.module.source

    @property
    def file(self) -> tree.File:
        return self.module.file

    @property
    def nets(self) -> dict[str, NetEntry]:
        return {name: entry.value for name, entry in self.module.nets.items()}

    @property
    def blocks(self) -> dict[str, Function]:
        return {n: e.value for n, e in self.module.functions.items() if e.value.kind == "block"}

    @property
    def ops(self) -> dict[str, Function]:
        return {n: e.value for n, e in self.module.functions.items() if e.value.kind == "op"}

    @property
    def consts(self) -> dict[str, Any]:
        return {name: entry.value for name, entry in self.module.consts.items()}

    @property
    def imports(self) -> dict[str, Module]:
        return dict(self.module.imports)

    def net(self, name: str) -> NetEntry:
        """The net of a name; UserError where there is none."""
        if name not in self.module.nets:
            near = suggest(name, self.module.nets) or f"it has {', '.join(self.module.nets) or 'none'}"
            raise UserError(f"{self.source.path} has no net `{name}`; {near}")
        return self.module.nets[name].value

    def default_net(self) -> str:
        """The net of the last `train` block, else the last net of the file itself, else the last imported one."""
        if self.trains:
            return self.trains[-1].net
        own = [name for name, _ in self.module.own("nets")]
        names = own or list(self.module.nets)
        if not names:
            raise UserError(f"{self.source.path} has no net")
        return names[-1]

    def block_of(self, net: str | None) -> TrainSpec | None:
        """The first `train` block of a net (without a name: of the file's own net); UserError for no net of a name."""
        name = self.net(net).definition.name.name if net is not None else self.default_net() if self.trains else None
        return next((spec for spec in self.trains if spec.net == name), None)

    def tested(self, net: str) -> tuple[DataSpec, ...]:
        """The data that the last `train` block of a net, else of all, tests on, or learns from.

        Of a file without such a block, as Caffe's nets are, its last data.
        """
        of_net = [train for train in self.trains if net in (train.net, *(test.net for test in train.tests))]
        for spec in reversed(of_net or self.trains):
            return (spec.tests[-1].data,) if spec.tests else spec.data
        return tuple(self.data.values())[-1:]

    def shapes(self, net: str) -> Mapping[str, tuple[int, ...]]:
        """The shapes of records, by column, of the data that a net learns from or is tested on, where they say them."""
        trains = [train for train in self.trains if net in (train.net, *(test.net for test in train.tests))]
        data = [one for train in trains for one in (*train.data, *(test.data for test in train.tests))]
        return self.records(data) if self.records is not None else {}

    def batch(self, net: str) -> int | None:
        """The batch of the data that the last `train` block of a net reads."""
        for train in reversed(self.trains):
            if train.net == net and train.data:
                return int(train.data[0].get("batch"))
        return None
