"""Fault localization: of a pass the layer and the law that changed values, of layers beyond their budget the station.

A pass made of laws is run again without each law that it applied; one without which the values stay is the guilty one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..compiler.ops.rounding import Arithmetic
from ..passes.rules import fold_weights as weights
from ..passes.rules import simplify
from ..passes.rules.rewrite import Ledger, Rule
from .check import TAPPED, Checked, Fault, PassFault, check_kernels, pass_faults, values_of
from .compare import differing
from .subject import Subject

# Of the passes that are made of laws: the laws, as they are now.
LAWS: dict[str, Callable[[], Sequence[Rule]]] = {
    "simplify": lambda: simplify.RULES,
    "fold weights": lambda: (*weights.weight_rules(), *simplify.RULES),
}


def explained(subject: Subject, fault: PassFault) -> PassFault:
    """The fault of a pass with its layer and laws, as far as they can be told."""
    return replace(fault, layer=_layer(subject, fault), laws=tuple(_laws(subject, fault)))


def _layer(subject: Subject, fault: PassFault) -> str:
    """The first layer whose value differs, or the last of those whose gradients do, in the program with taps."""
    tapped = subject.tapped
    order = {row.name: i for i, row in enumerate(subject.made.net.layers)}
    for found in pass_faults(tapped.stages, subject.feeds):
        taps = [tapped.taps[name] for name, _ in found.values if name in tapped.taps]
        if found.name != fault.name:
            continue
        forward = [order[tap.layer] for tap in taps if tap.kind == "value" and tap.layer in order]
        backward = [order[tap.layer] for tap in taps if tap.kind == "gradient" and tap.layer in order]
        if forward or backward:
            return subject.made.net.layers[min(forward) if forward else max(backward)].name
    # Taps may keep the pass from doing what it did wrong.
    owners = {f"next {info.name}": info.layer for info in subject.made.layout}
    return next((owners[name] for name, _ in fault.values if owners.get(name)), "")


def _laws(subject: Subject, fault: PassFault) -> list[str]:
    if fault.name not in LAWS:
        return []
    names = list(subject.stations)
    before = subject.stations[names[names.index(fault.name) - 1]]
    rules, ledger = LAWS[fault.name](), Ledger()
    simplify.to_the_end(before, rules, ledger)
    wanted = values_of(before, subject.feeds)
    guilty = []
    for law in ledger.fired:
        without = simplify.to_the_end(before, [rule for rule in rules if rule.law != law])
        if not differing(wanted, values_of(without, subject.feeds)):
            guilty.append(law)
    return guilty


def faults_with_taps(subject: Subject, arithmetic: Arithmetic) -> list[Fault]:
    """The faults of the program with taps, where its layers are wrong though the program without them is right."""
    found: list[Fault] = [explained(subject, fault) for fault in pass_faults(subject.tapped.stages, subject.feeds)]
    checked: Checked = check_kernels(subject, subject.made, subject.tapped.final, arithmetic, TAPPED)
    return found + list(checked.faults)
