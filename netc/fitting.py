"""Rematerialization until a program fits into memory: what `--max-memory` asks for.

`passes.training.checkpoint_choice` says which layers may be recomputed, and about what that saves. How much memory a
program needs is known when it is compiled; so the likely choices are compiled, the least work first, until one fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .grammar.source import UserError
from .passes.training.checkpoint_choice import Recomputation, choices
from .report.tables import operations, size
from .runtime.memory import available

if TYPE_CHECKING:
    from .driver import Compilation

# Programs that are compiled at most, of a net of hundred layers each in a second or two: of those that may be enough,
# and of the others, to say what is the least.
MOST_TRIES, MOST_OTHERS = 12, 4


@dataclass(frozen=True)
class Fit:
    """What was chosen. layers: of the net. before, after: bytes of memory. work, of: operations, more and of a step."""

    regions: Mapping[str, int]
    layers: int
    before: int
    after: int
    work: int
    of: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "recomputed": [*self.regions],
            "bytes_before": self.before,
            "bytes": self.after,
            "operations_more": self.work,
        }

    def __str__(self) -> str:
        if not self.regions:
            return f"{size(self.after)} of memory: nothing is computed again"
        return (
            f"{size(self.after)} of memory instead of {size(self.before)}: {len(self.regions)} of {self.layers} layers "
            f"are computed again in the backward pass, {operations(self.work)} more "
            f"({100 * self.work / max(1, self.of):.1f} % of a step)"
        )


def memory_of(made: Compilation) -> int:
    """The bytes of all arrays of a step: values meanwhile, inputs, outputs and state."""
    program = made.program
    tables = (program.inputs, program.outputs, {info.name: info.type for info in made.state})
    return program.arena_bytes + sum(int(type_.nbytes) for table in tables for type_ in table.values())


def fits_machine(made: Compilation) -> None:
    """UserError where a program would not fit into the memory of this machine."""
    # What lies in the arena lies where the program runs.
    need = memory_of(made) - (0 if made.request.device == "cpu" else made.program.arena_bytes)
    if need > 0.8 * available():  # what else runs here needs some as well
        sizes = ", ".join(f"{name}={int(size)}" for name, size in made.program.dims.items())
        raise UserError(
            f"{made.program.name} needs {need / 1e9:.1f} GB of memory{f' for {sizes}' if sizes else ''}, "
            f"this machine has {available() / 1e9:.1f} GB; smaller dimensions need less"
        )


def fit(made: Compilation, limit: int) -> Fit:
    """What a program recomputes to need at most so many bytes; UserError where no choice that was tried fits."""
    plain = made.recomputing({})
    before, of = memory_of(plain), _operations(plain)
    best = Fit({}, len(made.net.layers), before, before, 0, of)
    if before > limit and any(name == "gradient" for name, _ in plain.pipeline):
        for choice in _likely(plain, limit):
            tried = made.recomputing(choice.regions)
            found = Fit(choice.regions, best.layers, before, memory_of(tried), max(0, _operations(tried) - of), of)
            best = min(best, found, key=lambda one: one.after)
            if best.after <= limit:
                break
    if best.after > limit:
        again = f" (and {size(before)} where nothing is computed again)" if best.regions else ""
        sizes = ", ".join(f"{name}={int(n)}" for name, n in made.net.dims.items())
        raise UserError(
            f"{made.net.name} needs {size(best.after)} of memory{f' for {sizes}' if sizes else ''}{again}, "
            f"{size(best.after - limit)} more than --max-memory allows; smaller dimensions need less"
        )
    return best


def _likely(plain: Compilation, limit: int) -> list[Recomputation]:
    """The choices that hold less than all with less work: first some that may be enough, the least work first."""
    own = [layer.name for layer in plain.net.layers if layer.name not in plain.net.regions]
    nothing, *found = choices(plain.simplified, [*plain.net.graph.outputs], own)
    likely, least = [], nothing.held
    for choice in found:
        if choice.held < least:
            least = choice.held
            likely.append(choice)
    enough = [choice for choice in likely if memory_of(plain) - nothing.held + choice.held <= limit]
    return [*_some(enough, MOST_TRIES), *_some([choice for choice in likely if choice not in enough], MOST_OTHERS)]


def _some(found: list[Recomputation], most: int) -> list[Recomputation]:
    """At most so many, evenly, with the last."""
    step = max(1, -(-len(found) // most))
    return found[::-step][::-1]


def _operations(made: Compilation) -> int:
    return sum(launch.flops for launch in made.program.launches if launch.phase == "step")
