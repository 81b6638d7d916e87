"""The translation unit of a program: head, helpers, kernels, and the step that calls them in order.

The runtime knows two functions, `prepare` and `step`. Both take a table of pointers (the arena, then inputs, state and
constants in the program's order) and a number of threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ....grammar.source import printable
from ...program import Buffer, Launch, Program
from ..names import Names, first_notes, headline
from . import vectors
from .dialect import TYPES
from .spelling import HELPERS, RENAMED, helpers

if TYPE_CHECKING:
    from ..loops.storage import Storage

KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
asm typeof bool true false
"""
HEAD = """
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
"""
TICK = """
/* The time now, behind so many launches; and tell who wants to know that the last of them is done. */
static void tick(int64_t *nanoseconds, void (*done)(int), int k) {
    #pragma omp master
    {
        if (nanoseconds) {
            struct timespec now;
            timespec_get(&now, TIME_UTC);
            nanoseconds[k] = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        }
        if (done && k)
            done(k - 1);
    }
}
"""


# A text as long as this is compiled in so many parts, side by side: `-DPART=0` and so on. Without, it is one.
LONG, PARTS = 150_000, 4
SHARED = """
#ifdef PART
#define KERNEL __attribute__((visibility("hidden"))) void
#else
#define KERNEL static void
#endif
"""


def reserved() -> tuple[str, ...]:
    """Names that the text uses itself."""
    own = ("prepare", "step", "tick", "KERNEL", "PART", "memory", "nanoseconds", "threads", "done", "arena")
    return (*KEYWORDS.split(), *HELPERS, *RENAMED, *own)


def memories(program: Program) -> list[tuple[str, str]]:
    """The memories of a program in the order in which its functions take them: each a space and a name in it."""
    spaces = (("input", program.inputs), ("state", program.state), ("constant", program.constants))
    return [("arena", ""), *((space, name) for space, table in spaces for name in table)]


def file_text(storage: Storage, program: Program) -> str:
    """The text of a program of whose kernels `storage` knows the notes."""
    steps = sum(launch.phase == "step" for launch in program.launches)
    counts = f"{steps} launches a step of {len(program.functions)} functions, {program.arena_bytes} bytes of memory."
    head = _comment(headline(program, "C"), counts)
    functions = [f"{_comment(*first_notes(storage.comments[f.name]))}\n{f.source}" for f in program.functions]
    own = {name: text for _, one in storage.written.values() for name, text in one.helpers}
    parts = [
        head + HEAD.rstrip("\n"),
        *vectors.helpers("".join([*own.values(), *functions])),
        *helpers([*own.values(), *functions]),
    ]
    phases = [_phase(program, phase) for phase in ("prepare", "step")]
    long = sum(map(len, functions)) > LONG
    parts += [*own.values(), TICK, *(_in_parts(functions, phases) if long else (*functions, *phases))]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _in_parts(functions: Sequence[str], phases: Sequence[str]) -> Iterator[str]:
    """The functions of kernels, shared out to parts that are equally long, and the phases in the first."""
    yield SHARED
    heads = [line for text in functions for line in re.findall(r"^static void (.*) \{$", text, re.MULTILINE)]
    yield "\n".join(f"KERNEL {head};" for head in heads)
    sizes = [0] * PARTS
    texts: list[list[str]] = [[] for _ in sizes]
    for text in sorted(functions, key=len, reverse=True):
        k = sizes.index(min(sizes))
        sizes[k] += len(text)
        texts[k].append(text)
    for k, some in enumerate(texts):
        own = [re.sub(r"^static void ", "KERNEL ", text, flags=re.MULTILINE).strip("\n") for text in some]
        yield "\n\n".join([f"#if !defined(PART) || PART == {k}", *own, *(phases if k == 0 else ()), "#endif"])


def _comment(*lines: str) -> str:
    """Lines as a comment, which no name in them ends."""
    text = "\n   ".join(printable(line).replace("*/", "* /") for line in lines)
    return f"/* {text} */"


def _phase(program: Program, phase: str) -> str:
    """The function that runs all launches of a phase on their buffers."""
    launches = [launch for launch in program.launches if launch.phase == phase]
    used = {name for launch in launches for name in launch.arguments}
    order, names = {one: k for k, one in enumerate(memories(program))}, Names(reserved())
    local: dict[str, str] = {}
    lines = []
    for buffer in program.buffers:
        if buffer.name in used:
            local[buffer.name] = names.fresh(buffer.name)
            lines.append(_pointer(buffer, local[buffer.name], order))
    calls = ["tick(nanoseconds, done, 0);"] if launches else []
    for k, launch in enumerate(launches):
        calls += [_call(launch, local), f"tick(nanoseconds, done, {k + 1});"]
    if calls:
        # One team for all kernels: each shares out its loop, and ends when all threads have done their part.
        lines += ["#pragma omp parallel num_threads(threads)", "{", *(f"    {line}" for line in calls), "}"]
    what = "what depends on the state alone" if phase == "prepare" else "a step"
    told = _comment(
        f"Compute {what} on so many threads, which changes no bit.",
        "nanoseconds: if given, the time before the first launch and behind each.",
        "done: if given, called behind each with its number.",
    )
    body = "\n".join(f"    {line}" for line in lines)
    takes = "void *const *memory, int64_t *nanoseconds, int threads, void (*done)(int)"
    return f"{told}\nvoid {phase}({takes}) {{\n{body}\n}}"


def _pointer(buffer: Buffer, name: str, order: dict[tuple[str, str], int]) -> str:
    """The statement that says where a buffer is."""
    outside = buffer.space in ("input", "state", "constant")
    which = order[(buffer.space, buffer.base or buffer.name) if outside else ("arena", "")]
    kind = TYPES[buffer.stored or buffer.type.dtype]
    start = f"(char *)memory[{which}] + {buffer.offset}" if buffer.offset else f"memory[{which}]"
    return f"{kind} *{name} = {f'({kind} *)({start})' if buffer.offset else start};"


def _call(launch: Launch, local: dict[str, str]) -> str:
    return f"{launch.function}({', '.join(local[name] for name in launch.arguments)});"
