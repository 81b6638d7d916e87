"""Executables that know their net, and show it in a notebook: what `netc.compile` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ..compiler.kinds import number, optional, table, word, words
from ..compiler.net import RATE, STEP
from ..grammar.source import UserError
from ..runtime.executable import ArrayEngine, Executable
from ..runtime.sharing import Turn
from .binding import on_state, written
from .looking import Looking

if TYPE_CHECKING:
    from ..compiler.types import TensorType
    from ..driver import Compilation
    from ..report.overview import Summary
    from ..runtime.state import State

Array = npt.NDArray[Any]


class Compiled(Executable):
    """A program with the compilation it came from. `compiled(image=x)` runs it; `state` holds what it learned."""

    def __init__(self, made: Compilation, state: State) -> None:
        super().__init__(made.program, state, made.request.device)
        self.compilation = made
        self._looking = Looking(made, self)

    def take(self, made: Compilation) -> None:
        """Run another program of the same net, on the same state and arrays."""
        inside = type(self._engine) is ArrayEngine  # others place arrays themselves, and are copied to and from
        self.use(written(made, tuple(self._given[1]) if inside else ()))

    def _rebind(self) -> None:
        self.take(self.compilation.keeping(self._looking.kept))

    def _adopt(self, state: State) -> None:
        made = on_state(self.compilation, state)
        self.compilation, self._state = made, state
        self._looking = Looking(made, self)
        self.take(made)

    def clone(self) -> Self:
        other = super().clone()
        other._looking = Looking(self.compilation, other)
        return other

    def _begin(self, times: int = 1) -> None:
        self._looking.begin(known=times == 1)
        super()._begin(times)

    def _end(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Without what is only kept to be looked at, or only netc knows (`.objective`)."""
        found = self._looking.end(super()._end(outputs))
        return {name: array for name, array in found.items() if not name.startswith(".")}

    def __call__(self, /, *arrays: npt.ArrayLike, **feeds: npt.ArrayLike) -> dict[str, Array]:
        """Run it on arrays by name, or on arrays in the order in which the net declares its inputs."""
        return self.run(self._in_order(arrays, feeds))

    def _in_order(
        self, arrays: Sequence[npt.ArrayLike], feeds: Mapping[str, npt.ArrayLike]
    ) -> dict[str, npt.ArrayLike]:
        given = self._given[0]
        order = [name for name in self.compilation.net.inputs if name in self.program.inputs and name not in given]
        if len(arrays) > len(order):
            wants = f"the inputs {', '.join(order)}" if order else "no inputs"
            raise UserError(f"{self.program.name} is fed {len(arrays)} arrays for {wants}")
        if twice := [name for name in order[: len(arrays)] if name in feeds]:
            raise UserError(f"{self.program.name} is fed `{twice[0]}` twice: in its place and by name")
        return {**dict(zip(order, arrays, strict=False)), **feeds}

    def value(self, name: str) -> Array:
        """A value of the last pass, by layer (`conv1`) or bound name, or the loss's gradient by one (`conv1.grad`).

        What was fused away is computed once more, on the feeds, parameters, statistics and random numbers of that pass;
        nothing is updated by that. From then on the program keeps it.
        """
        return self._looking.values([word("name", name)])[name]

    def values(self, *names: str) -> dict[str, Array]:
        """Several values of the last pass; what was fused away is computed by one program."""
        return self._looking.values([word("names", name) for name in names])

    def run_layers(
        self,
        feeds: Mapping[str, npt.ArrayLike],
        *,
        start: str | None = None,
        end: str | None = None,
        outputs: Sequence[str] | None = None,
        gradients: Sequence[str] = (),
    ) -> dict[str, Array]:
        """Run the layers from `start` to `end`, both included; without one from the first, or to the last.

        They read what is fed by the name of a value, and else what the last pass made. outputs: without them what `end`
        makes, or the program's outputs. gradients: inputs of the part, parameters or values whose gradients are
        returned as `<name>.grad`: of the sum of the values `v` for which `v.grad` is fed, each times that. In training
        mode statistics of these layers are updated, parameters never.
        """
        asked = words("outputs", outputs) if outputs is not None else None
        first, last = optional(word, "start", start), optional(word, "end", end)
        return self._looking.part(table("feeds", feeds), first, last, asked, words("gradients", gradients))

    @cached_property
    def summary(self) -> Summary:
        """Layers, shapes, parameters, operations and memory."""
        from ..report.overview import summarize

        return summarize(self.compilation.net, self.program)

    def picture(self, stage: str = "graph") -> str:
        """The net (`graph`), or its kernels (`fused`), as SVG."""
        from ..report.show import picture

        return picture(self.compilation, word("stage", stage))

    @property
    def _outputs(self) -> dict[str, TensorType]:
        """What a call returns."""
        return {k: type_ for k, type_ in self.program.returned.items() if k not in self._looking.kept}

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type_}" for name, type_ in self.program.inputs.items() if name[0] != ".")
        outputs = ", ".join(f"{name}: {type_}" for name, type_ in self._outputs.items() if name[0] != ".")
        return f"<{self.program.name} ({self.program.mode}), {self.program.target}: {inputs} -> {outputs}>"

    def _repr_html_(self) -> str:
        from html import escape

        return (
            f"<p><code>{escape(repr(self))}</code></p>{self.summary._repr_html_()}"
            f"<details><summary>graph</summary>{self.picture()}</details>"
        )


class Step(Compiled):
    """A training step that follows its `train` block: the schedule's rate, and an update after every so many batches.

    A call takes a batch and returns losses and metrics; the update is committed to `state`. `rate=0.1` is a rate of
    one's own in the place of the schedule's; to a net with an input of that name it is fed as `**{".rate": 0.1}`.
    """

    def __init__(self, made: Compilation, state: State) -> None:
        super().__init__(made, state)
        self.spec = made.training
        self._update = self._updating()
        self._whole = Turn()  # the rate goes by the counter, and an update follows its last batch

    def _updating(self) -> Executable | None:
        """The update, where it follows several batches."""
        programs = self.compilation.programs[1:]
        return next((Executable(each, self.state, self.device) for each in programs), None)

    def _adopt(self, state: State) -> None:
        super()._adopt(state)
        self._update = self._updating()

    def clone(self) -> Self:
        other = super().clone()
        other._update = self._update.clone() if self._update is not None else None
        return other  # with the same turn: steps on one state come one after the other

    def __call__(self, /, *arrays: npt.ArrayLike, **feeds: npt.ArrayLike) -> dict[str, Array]:
        if "rate" in feeds and "rate" not in self.program.inputs:
            feeds[RATE] = np.float32(number("rate", feeds.pop("rate"), 0))
        return super().__call__(*arrays, **feeds)

    def run(self, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        feeds = table("feeds", feeds)
        with self._whole:
            if self._update is None:
                return super().run(self._with_rate(self, feeds))
            outputs = super().run({name: array for name, array in feeds.items() if name != RATE})
            if self._batches % self.spec.accumulate == 0:
                given = {RATE: feeds[RATE]} if RATE in feeds else {}
                self._update.run(self._with_rate(self._update, given))
            return outputs

    @property
    def _batches(self) -> int:
        """The batches that were taken."""
        return int(self.state.buffers[STEP])

    def _with_rate(self, executable: Executable, feeds: Mapping[str, npt.ArrayLike]) -> Mapping[str, npt.ArrayLike]:
        if RATE in feeds or RATE not in executable.program.inputs:
            return feeds
        from ..runtime.learning_rate import rate

        spec = self.spec
        # After the last batch of an update the counter stands at the next one.
        done = self._batches // spec.accumulate - (1 if spec.accumulate > 1 else 0)
        return {**feeds, RATE: np.float32(rate(spec.schedule, float(spec.solver["lr"]), done, spec.steps))}
