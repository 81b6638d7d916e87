"""Conditional inclusion: which layers a net has in a state, by `include` and `exclude` rules of phase, level, stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..source import SourceError
from .message import Message

Phase = Literal["TRAIN", "TEST"]


@dataclass(frozen=True)
class NetState:
    """What rules are held against."""

    phase: Phase = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()

    def meets(self, rule: Message) -> bool:
        """Whether all that a NetStateRule asks for is so."""
        if rule.has("phase") and rule.get("phase") != self.phase:
            return False
        if rule.has("min_level") and self.level < rule.get("min_level"):
            return False
        if rule.has("max_level") and self.level > rule.get("max_level"):
            return False
        return set(rule.all("stage")) <= set(self.stages) and not set(rule.all("not_stage")) & set(self.stages)

    def keeps(self, layer: Message) -> bool:
        """Whether a layer is in the net: any `include` rule is met, or no `exclude` rule is."""
        includes, excludes = layer.messages("include"), layer.messages("exclude")
        if includes:
            return any(map(self.meets, includes))
        return not any(map(self.meets, excludes))


def check_rules(net: Message, report: Callable[[SourceError], None]) -> None:
    """Reports each layer that has rules of both kinds (E706)."""
    for layer in net.messages("layer"):
        if layer.has("include") and layer.has("exclude"):
            name = layer.get("name")
            message = f"layer `{name}` has `include` and `exclude` rules; a layer has rules of one kind"
            report(SourceError("E706", message, layer.place("exclude")))


def asks_for(net: Message, *fields: str) -> bool:
    """Whether any rule of a net names one of these fields: then what a state says of them matters."""
    layers = net.messages("layer")
    rules = [rule for layer in layers for kind in ("include", "exclude") for rule in layer.messages(kind)]
    return any(rule.has(field) for rule in rules for field in fields)
