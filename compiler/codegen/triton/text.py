"""The text of a whole module: head, functions, and the table of launches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....grammar.source import printable, printable_lines
from ...program import Program
from ..names import first_notes, headline

if TYPE_CHECKING:
    from ..loops.storage import Storage

# Names that the text uses itself.
RESERVED = ("triton", "tl", "tanh", "tanh64", "power", "random_bits", "launches")


def module_text(storage: Storage, program: Program) -> str:
    """The text of a program of whose kernels `storage` knows the notes and the functions that they call."""
    steps = sum(launch.phase == "step" for launch in program.launches)
    head = (
        f'"""{headline(program, "Triton")}\n\n'
        f"{steps} launches a step of {len(program.functions)} functions, {program.arena_bytes} bytes of memory.\n"
        "`launches` says which function runs on which buffers, in order, and on how many programs.\n"
        '"""\n'
    )
    parts = [printable_lines(head), "import triton\nimport triton.language as tl\n"]
    helpers: dict[str, str] = {}
    for _, one in storage.written.values():
        helpers.update(one.helpers)
    parts += [text for _, text in sorted(helpers.items())]
    for function in program.functions:
        lines = [f"# {printable(note)}" for note in first_notes(storage.comments[function.name])]
        constants = ", ".join(f"{key}={value}" for key, value in function.constants)
        lines.append(f"# {constants}{', ' if constants else ''}warps={function.warps}, stages={function.stages}")
        parts.append("\n".join(lines) + "\n" + function.source)
    parts.append(_launches(program))
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


def _launches(program: Program) -> str:
    lines = ["# (function, programs, buffers); those of the phase `prepare` run when the state was set."]
    for phase in ("prepare", "step"):
        found = [launch for launch in program.launches if launch.phase == phase]
        if not found and phase == "prepare":
            continue
        lines.append(f"{'launches' if phase == 'step' else 'prepare'} = (")
        for launch in found:
            lines.append(f"    ({launch.function}, {launch.grid}, {launch.arguments}),")
        lines.append(")")
    return "\n".join(lines) + "\n"
