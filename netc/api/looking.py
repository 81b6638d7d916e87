"""Looking into a compiled net: values that were fused away, and runs of a part of its layers.

A value that the program does not return is computed once more, by the smallest program that makes it, on the feeds,
the parameters, the statistics and the random numbers of the last pass, and without updates. From then on the program
returns it too, so that looking again costs a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from ..grammar.source import UserError, suggest
from ..passes.segment import is_gradient, layers, values
from ..passes.training.gradient import GRADIENT
from ..request import names as names_of
from ..runtime.executable import Executable
from ..runtime.moment import Moment

if TYPE_CHECKING:
    from ..driver import Compilation
    from .compiled import Compiled

Array = npt.NDArray[Any]
PARTS = 16  # programs of parts that are held at a time


class Looking:
    """What can be seen of an executable's last pass, and the programs of its parts."""

    def __init__(self, made: Compilation, executable: Compiled) -> None:
        self._made = made
        self._executable = executable
        self._moment = Moment(executable.state)
        self._ran = False
        self._asked: list[str] = []  # in the program from the next pass on
        self._kept: tuple[str, ...] = ()  # in the program now
        self._values: dict[str, Array] = {}
        self._parts: dict[tuple[Any, ...], Executable] = {}

    def begin(self, *, known: bool = True) -> None:
        """A pass begins. known: whether one can look into it, which is a single one."""
        if tuple(self._asked) != self._kept:
            self._kept = tuple(self._asked)
            self._executable.take(self._made.keeping(self._kept))
        self._values.clear()
        self._moment.begin()
        self._ran = known

    def end(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """What a pass returned, without what was only kept to be looked at."""
        self._values = {name: outputs[name] for name in self._kept}
        return {name: array for name, array in outputs.items() if name not in self._values}

    @property
    def kept(self) -> tuple[str, ...]:
        """The values that the program returns only to be looked at."""
        return self._kept

    def values(self, names: Sequence[str]) -> dict[str, Array]:
        """Values of the last pass by name, as copies."""
        with self._executable.alone():
            return self._found(names)

    def _found(self, names: Sequence[str]) -> dict[str, Array]:
        if not self._ran:
            raise UserError(f"`{self._made.net.name}` has not run yet: there is no pass to look into")
        net, fed = self._made.net, self._executable.fed()
        self._values |= {name: fed[name].copy() for name in names if name in fed and name not in self._values}
        returned = [name for name in names if self._returned(name)]
        if any(name not in self._values for name in returned):
            fetched = self._executable.outputs()
            self._values |= {name: fetched[name] for name in returned}
        missing = [name for name in dict.fromkeys(names) if name not in self._values]
        if missing:
            self._values |= self._look(missing)
            self._asked += [name for name in missing if not is_gradient(net, name)]
        return {name: self._values[name].copy() for name in names}

    def _returned(self, name: str) -> bool:
        """Whether the program's last outputs hold a value: one may be a view of state that was written since."""
        program = self._executable.program
        return name in program.outputs and (bool(program.updates) or not self._moment.changed)

    def _look(self, names: Sequence[str]) -> dict[str, Array]:
        """Values by the smallest program that makes them, on what the last pass was fed and read."""
        made = self._made
        gradients = [name.removesuffix(GRADIENT) for name in names if is_gradient(made.net, name)]
        look = self._loaded(("look", *names), lambda made: made.part(lambda net: values(net, names), gradients))
        fed = self._executable.fed()
        if lacking := [name for name in look.program.inputs if name not in fed]:
            raise UserError(
                f"{' and '.join(names)} depend on the input {', '.join(lacking)}, which this program is not fed: "
                "name them among the outputs when it is compiled"
            )
        with self._moment.restored():
            found = look.run_alone({name: fed[name] for name in look.program.inputs}, fed)
        return {name: found[name] for name in names}

    def part(
        self,
        feeds: Mapping[str, npt.ArrayLike],
        start: str | None,
        end: str | None,
        outputs: Sequence[str] | None,
        gradients: Sequence[str],
    ) -> dict[str, Array]:
        """Layers from `start` to `end` on what is fed, and else on values of the last pass."""
        net = self._made.net
        seeds = [name.removesuffix(GRADIENT) for name in feeds if is_gradient(net, name)]
        outputs, gradients = None if outputs is None else names_of(outputs), names_of(gradients)
        key = (start, end, outputs, gradients, tuple(seeds))
        executable = self._loaded(
            key, lambda made: made.part(lambda net: layers(net, start, end, outputs=outputs, seeds=seeds), gradients)
        )
        found = executable.run(self._fed(executable, feeds))
        return {name: array for name, array in found.items() if not name.startswith(".")}

    def _fed(self, executable: Executable, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, npt.ArrayLike]:
        """The inputs of a part: given under any of their names, else values of the last pass."""
        net, inputs = self._made.net, executable.program.inputs
        names = {node: name for name, node in net.named.items() if name in inputs}
        given: dict[str, npt.ArrayLike] = {}
        for name, array in feeds.items():
            own = name if name in inputs else names.get(net.named[name]) if name in net.named else None
            if own is None:
                near = suggest(name, inputs) or f"it reads {', '.join(inputs)}"
                raise UserError(f"this part of `{net.name}` reads no `{name}`; {near}")
            given[own] = array
        missing = [name for name in inputs if name not in given]
        if missing and not self._ran:
            raise UserError(
                f"this part of `{net.name}` reads {', '.join(missing)}: feed them, or run the whole net first"
            )
        return {**(self.values(missing) if missing else {}), **given}

    def _loaded(self, key: tuple[Any, ...], make: Callable[[Compilation], Compilation]) -> Executable:
        """The program of a part, on the executable's state; UserError where the state lacks what it reads."""
        key = tuple(sorted(self._executable.sizes.items())), *key
        found = self._parts.pop(key, None)
        if found is None:
            program, state = make(self._made.resized(self._executable.sizes)).program, self._executable.state
            if lacking := [name for name in program.state if name not in state.buffers]:
                raise UserError(
                    f"that needs {', '.join(lacking)}, which the state of this program does not hold: "
                    "name a value that depends on them among the outputs when it is compiled"
                )
            found = Executable(program, state, self._executable.device)
        self._parts[key] = found  # the last one used is the last
        while len(self._parts) > PARTS:
            self._parts.pop(next(iter(self._parts)))
        return found
