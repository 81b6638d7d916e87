"""Peephole rewriting of a prototxt's tree: a BatchNorm and the Scale behind it are one `batch_norm` that learns.

What is computed is the same but for the order of operations, so the graph is another: values are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...grammar import tree
from .chains import reads

# What a Scale says that a batch norm says as well.
KEPT = ("weight", "bias", "lr", "decay")


def merged(file: tree.File) -> tuple[tree.File, dict[str, str]]:
    """The tree with both as one, which has the BatchNorm's name; and these names, by those of the Scales."""
    moved: dict[str, str] = {}
    items = [
        replace(item, body=_body(item.body, moved)) if isinstance(item, tree.NetDef) else item
        for item in file.definitions
    ]
    return replace(file, definitions=tuple(items)), moved


def _body(body: Sequence[tree.AnyStatement], moved: dict[str, str]) -> tuple[tree.AnyStatement, ...]:
    times = reads(body)
    found: list[tree.AnyStatement] = []
    for number, item in enumerate(body):
        before = found[-1] if found else None
        one = _one(before, item) if times.get(number - 1) == 1 else None
        if one is None:
            found.append(item)
            continue
        assert isinstance(before, tree.Bind)
        moved[_name(item)] = _name(before)
        found[-1] = one
    return tuple(found)


def _one(before: tree.AnyStatement | None, item: tree.AnyStatement) -> tree.Bind | None:
    """Both statements as one; None where they are anything else."""
    if not isinstance(before, tree.Bind) or not isinstance(item, tree.Bind):
        return None
    norm, scale = before.value, item.value
    if not isinstance(norm, tree.Call) or not isinstance(scale, tree.Call) or not (_name(before) and _name(item)):
        return None
    if (norm.callee.name, scale.callee.name) != ("batch_norm", "scale"):
        return None
    said = {arg.name.name: arg for arg in scale.args if arg.name is not None}
    first = scale.args[0].value if scale.args else None
    reads_it = isinstance(first, tree.Name) and first.name == before.targets[0].name
    tied = any(isinstance(arg.value, tree.Path | tree.String) for arg in (*norm.args, *scale.args))
    plain = all(key in KEPT for key in said) and "bias" in said and _says(said["bias"].value)
    flat = [arg for arg in norm.args if arg.name is not None and arg.name.name == "affine"]
    if not reads_it or tied or not plain or not flat or len(scale.args) != len(said) + 1:
        return None
    args = [arg for arg in norm.args if arg not in flat]
    args += [arg for arg in said.values() if not isinstance(arg.value, tree.Boolean)]  # there is a bias anyway
    return replace(item, value=replace(norm, args=tuple(args)))


def _says(value: tree.Expr) -> bool:
    """Whether a bias is there."""
    return not (isinstance(value, tree.Name) and value.name in ("none", "false")) and not (
        isinstance(value, tree.Boolean) and not value.value
    )


def _name(item: tree.AnyStatement) -> str:
    call = item.value if isinstance(item, tree.Bind) else None
    label = call.label if isinstance(call, tree.Call) else None
    return "" if label is None else label.name if isinstance(label, tree.Name) else label.value
