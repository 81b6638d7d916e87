"""What `netc.compile` returns: executables that know the net they came from, and show it in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ..compiler.net import RATE, STEP
from ..runtime.executable import Executable
from ..runtime.sharing import Turn

if TYPE_CHECKING:
    from ..driver import Compilation
    from ..report.overview import Summary
    from ..runtime.state import State

Array = npt.NDArray[Any]


class Compiled(Executable):
    """A program with the compilation it came from. `compiled(image=x)` runs it; `state` holds what it learned."""

    def __init__(self, made: Compilation, state: State) -> None:
        super().__init__(made.program, state, made.request.device)
        self.compilation = made

    def run(self, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Run the program: its outputs by name, without those that only netc knows (`.objective`)."""
        return {name: array for name, array in super().run(feeds).items() if not name.startswith(".")}

    @cached_property
    def summary(self) -> Summary:
        """Layers, shapes, parameters, operations and memory."""
        from ..report.overview import summarize

        return summarize(self.compilation.net, self.program)

    def picture(self, stage: str = "graph") -> str:
        """The net (`graph`), or its kernels (`fused`), as SVG."""
        from ..report.show import picture

        return picture(self.compilation, stage)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type_}" for name, type_ in self.program.inputs.items() if name[0] != ".")
        outputs = ", ".join(f"{name}: {type_}" for name, type_ in self.program.outputs.items() if name[0] != ".")
        return f"<{self.program.name} ({self.program.mode}), {self.program.target}: {inputs} -> {outputs}>"

    def _repr_html_(self) -> str:
        from html import escape

        return (
            f"<p><code>{escape(repr(self))}</code></p>{self.summary._repr_html_()}"
            f"<details><summary>graph</summary>{self.picture()}</details>"
        )


class Step(Compiled):
    """A training step that follows its `train` block: the schedule's rate, and an update after every so many batches.

    A call takes a batch and returns losses and metrics; the update is committed to `state`. A rate of one's own is fed
    as `**{".rate": 0.1}`.
    """

    def __init__(self, made: Compilation, state: State) -> None:
        super().__init__(made, state)
        self.spec = made.training
        update = made.apply_program
        self._update = Executable(update, state, made.request.device) if update is not None else None
        self._whole = Turn()  # the rate goes by the counter, and an update follows its last batch

    def clone(self) -> Self:
        other = super().clone()
        other._update = self._update.clone() if self._update is not None else None
        return other  # with the same turn: steps on one state come one after the other

    def run(self, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
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
        from ..runtime.schedules import rate

        spec = self.spec
        # After the last batch of an update the counter stands at the next one.
        done = self._batches // spec.accumulate - (1 if spec.accumulate > 1 else 0)
        return {**feeds, RATE: np.float32(rate(spec.schedule, float(spec.solver["lr"]), done, spec.steps))}
