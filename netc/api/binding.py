"""Arrays and states of the caller in the place of a program's own: written in place, and shared with their version."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from ..compiler.net import SEED, STEP
from ..compiler.program import BOUND, Program
from ..grammar.source import UserError
from ..passes.training.flatten import flat_layout

if TYPE_CHECKING:
    from ..driver import Compilation
    from ..runtime.state import State


def written(made: Compilation, names: Collection[str]) -> Program:
    """The program that writes these outputs into arrays it is given, as it writes the next values of state."""
    if not names:
        return made.program
    graph = made.simplified
    kept = {name: node for name, node in graph.outputs.items() if name not in names}
    out = {BOUND + name: graph.outputs[name] for name in names}
    program = made.lower(made.fuse(graph.with_roots(kept, {**graph.updates, **out})))
    return replace(
        program,
        outputs={name: node.type for name, node in graph.outputs.items()},
        state={name: type_ for name, type_ in program.state.items() if name not in out},
        updates=tuple(name for name in program.updates if name not in out),
        bound=tuple(names),
    )


def on_state(made: Compilation, state: State) -> Compilation:
    """The compilation for a state that another program made, which gets what it lacks of a solver's state.

    UserError that says what does not fit: a tensor that is missing or of another type, or that learns at another rate.
    """
    from ..runtime.state import State

    if not isinstance(state, State):
        raise UserError(f"`state` takes that of another executable (`exe.state`), not {type(state).__name__}")
    problems = []
    for info in made.net.state:
        held = state.infos.get(info.name)
        if held is None and info.kind not in ("counter", "carried"):
            problems.append(f"{info.name} is not in it")
        elif held is not None and held.type != info.type:
            problems.append(f"{info.name} is {held.type} in it, here {info.type}")
        elif held is not None and made.learns and (held.lr, held.decay) != (info.lr, info.decay):
            problems.append(f"{info.name} learns with lr: {held.lr:g}, decay: {held.decay:g} in it, here with others")
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"the state does not fit `{made.net.name}`: {'; '.join(problems[:5])}{more}")
    counters = flat_layout([info for info in made.net.state if info.name not in state.infos])
    own = [info for info in state.infos.values() if not info.name.startswith(".") or info.name in (SEED, STEP)]
    layout = [*own, *counters]
    found = type(made)(made.experiment, made.request, layout=layout, spec=made.spec)
    seeds = (made.request.seed, made.spec.seed if made.spec else 0)
    state.extend(found.state, next(seed for seed in seeds if seed is not None))
    return found
