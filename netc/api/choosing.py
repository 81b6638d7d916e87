"""Target selection by work: where nobody names a target, a run that is long enough is compiled by the C compiler.

numpy begins at once, C computes faster once a compiler has taken its seconds. What decides is how much there is to
compute, by the graph, so the same run takes the same target on each machine that has a compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..compiler.program import Program
from ..compiler.spec import TrainSpec
from ..driver import Compilation
from ..grammar.source import UserError
from ..targets import compiled_for

WORTH = 4e12  # operations of a run: about a minute of numpy on two cores, for a compiler's five to ten seconds
STEP = 3  # a step's operations by those of its forward pass: two gradients are as much work as the layer each


def work(spec: TrainSpec, step: Compilation) -> float:
    """The operations of all steps of a run, about: the same on however many processes."""
    nodes = step.net.graph.order
    forward = sum(node.op.flops(node.result, *(x.result for x in node.inputs), **node.attrs) for node in nodes)
    return float(STEP * forward * spec.steps * spec.accumulate * step.request.shares)


def by_work(
    spec: TrainSpec, step: Compilation, tests: Sequence[Compilation], notify: Callable[[str], None]
) -> tuple[Compilation, list[Compilation]]:
    """The programs of a run whose target was left to netc: those that it was given, or the same for C.

    They are compiled here, so that a compiler that is there but of no use is told of, and done without.
    """
    kept = step, list(tests)
    if not step.request.free or work(spec, step) < WORTH:
        return kept
    found = compiled_for(step.request.choice)
    if found is None or found.row.lacks():
        return kept
    from ..runtime.c.compiling import compiler, library

    told = f"{work(spec, step):.2g} operations, so"
    try:
        by = compiler()
        made = [one.on(target=found.target) for one in (step, *tests)]
        for program in [program for one in made for program in one.programs]:
            _check(program)
            library(program.source)
    except UserError as error:
        notify(f"{told} the target {found.target} would be taken, but {error}; the target is {step.request.target}")
        return kept
    notify(f"{told} the target is {found.target}, by {by.version} (--target {step.request.target} needs no compiler)")
    return made[0], made[1:]


def _check(program: Program) -> None:
    if program.parts:
        raise UserError("layers in Python stand between its programs")
