"""The text of a whole module: head, functions, `bind`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...plan import ALIGN
from ...program import Program
from ..names import headline
from .frame import DRAW, HEAD, ROUND

if TYPE_CHECKING:
    from . import Module


def module_text(module: Module, program: Program, outputs: Mapping[str, str]) -> str:
    """The module. outputs: what they are called in it."""
    head = (
        f'"""{headline(program, "numpy")}\n\n'
        f"{len(program.launches)} launches of {len(program.functions)} functions, {program.threads} threads, "
        f"{program.arena_bytes} bytes of memory.\n"
        'BLAS should use one thread while the pool has several.\n"""\n'
    )
    parts = [head, HEAD.lstrip("\n")]
    if any("draw(" in written.text for _, written, _ in module.functions.values()):
        parts.append(DRAW.lstrip("\n").rstrip() + "\n")
    if any("round_bf16(" in written.text for _, written, _ in module.functions.values()):
        parts.append(ROUND.lstrip("\n").rstrip() + "\n")
    computed = {node.op.name: node.op for kernel in module.plan.kernels for node in kernel.attrs["body"].order}
    helpers = [op.written("numpy").helper for _, op in sorted(computed.items()) if op.spelled]
    parts += [f"{helper.strip()}\n" for helper in helpers if helper]
    constants: dict[str, str] = {}
    for _, written, _ in module.functions.values():
        constants.update(written.constants)
    if constants:
        parts.append("\n".join(f"{name} = {text}" for name, text in constants.items()) + "\n")
    for title, written, _ in module.functions.values():
        slots = ",\n    ".join(f"({s.offset}, {s.dtype!r}, {s.shape}, {s.order})" for s in written.slots)
        table = f"{title}_scratch = (\n    {slots},\n)\n" if slots else f"{title}_scratch = ()\n"
        parts.append(written.text.replace("NAME", title, 1) + "\n\n" + table)
    parts.append(_bind(module, outputs, program.arena_bytes))
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts)


def _bind(module: Module, outputs: Mapping[str, str], arena: int) -> str:
    lines = [
        "def bind(inputs, state, pool=None):",
        '    """Bind all arrays: (outputs, calls to make when the state was set, calls of a step).',
        "",
        "    inputs, state: arrays by name, row-major, which the calls read (and, of state, write) in place.",
        "    pool: runs a list of calls on threads and waits for them; without it they run one after the other.",
        '    """',
        f"    arena = np.zeros({arena + ALIGN}, np.uint8)",
        f"    arena = arena[-arena.ctypes.data % {ALIGN}:]",
        "    prepare, step = [], []",
    ]
    lines += [f"    {line}" for line in module.bound]
    lines.append(f"    outputs = {{{', '.join(f'{k!r}: {v}' for k, v in outputs.items())}}}")
    lines.append("    return outputs, prepare, step")
    return "\n".join(lines) + "\n"
