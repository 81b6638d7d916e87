"""Facts that stand in two places, since one cannot import the other: they agree."""

from __future__ import annotations

import inspect

import netc
from netc import numbers as numbers_module
from netc.compiler.codegen.target import TARGETS
from netc.deployment import launchers, standalone
from netc.passes.lowering.machines import DEVICES
from netc.passes.training.scaling import Scaling
from netc.runtime.triton.compile.architectures import KNOWN


def test_every_architecture_is_in_every_table_with_the_same_figures() -> None:
    assert tuple(KNOWN) == TARGETS["triton"].archs
    on_cpus = {way.arch for row in TARGETS.values() for way in row.ways}
    assert DEVICES.keys() - on_cpus == KNOWN.keys()
    for name, known in KNOWN.items():
        assert (DEVICES[name].shared, DEVICES[name].width) == (known.shared, known.lanes), name
        assert known.backend == name.partition(":")[0]


def test_both_launchers_know_from_when_on_code_is_for_one_architecture() -> None:
    assert launchers.EXACT == standalone.EXACT


def test_the_scale_of_the_loss_grows_as_often_by_default_everywhere() -> None:
    defaults = {inspect.signature(call).parameters["scale_growth"].default for call in (netc.compile, netc.train)}
    assert defaults == {numbers_module.GROWTH, numbers_module.Numbers().growth, Scaling().growth}
