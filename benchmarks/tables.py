"""The tables of the pages, from what the benchmarks and the attack kept, so that no figure is typed.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGES = (
    *(ROOT / "docs" / name for name in ("performance.md", "reliability.md")),
    ROOT / "README.md",
    ROOT / "examples/imagenet/README.md",
)
PHOTOS = 1_281_167  # of ILSVRC 2012 to learn from
BEGIN, END = (
    "<!-- made by benchmarks/tables.py: begin {name} -->\n",
    "<!-- made by benchmarks/tables.py: end {name} -->\n",
)


def tables() -> dict[str, str]:
    """Each kept result as a table of Markdown, by the name of its file."""
    made = {}
    for path in sorted(RESULTS.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        maker = _maker(kept)
        if maker is not None:
            made[path.stem] = _head(kept) + maker(kept["results"])
            if maker is _peers:
                made[f"{path.stem}-short"] = _head(kept) + _short(kept["results"])
    for group, maker in (("readers", _readers), ("nets", _nets), ("machine", _machine)):
        made[f"attack-{group}"] = maker(json.loads((RESULTS / "attack.json").read_text(encoding="utf-8"))[group])
    return made


def _maker(kept: dict[str, Any]) -> Any:
    first = kept["results"][0] if isinstance(kept, dict) and kept.get("results") else {}
    by_key = {"speed": _peers, "fused_ms": _fusion, "recipes": _imagenet, "cache": _starts, "kernels": _roofline}
    return next((maker for key, maker in by_key.items() if key in first), None)


def _head(kept: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    load = ", ".join(f"{one:.1f}" for one in kept["load"])
    return f"{kept['processor']}, {kept['cores']} cores, load {load}, {kept['date']}; {versions}.\n\n"


NAMES = {"torch": "PyTorch", "compile": "torch.compile", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}


def _peers(rows: list[dict[str, Any]]) -> str:
    others = [peer for peer in NAMES if any(peer in row["ms"] for row in rows)]
    asked = rows[0]["target"] != "numpy"
    measured = any("bytes_most" in row for row in rows)
    heads = ["netc, ms (least)", *(NAMES[peer] for peer in others), "speed beside the fastest (half of the rounds)"]
    heads += ["asked"] * asked + ["MB at most, netc and PyTorch"] * measured
    lines = [f"| step, batch | threads | {' | '.join(heads)} |", f"|---|---:|{'---:|' * len(heads)}"]
    for row in rows:
        cells = [_step(row), str(row["threads"])]
        for who in ("netc", *others):
            cells.append(f"{row['ms'][who]:.2f} ({row['least_ms'][who]:.2f})" if who in row["ms"] else "")
        low, high = row["speed_quartiles"][row["fastest"]]
        cells.append(f"**{row['speed'][row['fastest']]:.2f}** ({low:.2f} to {high:.2f})")
        cells += [str(row["asked"])] * asked
        held = [f"{row['bytes_most'][who] / 1e6:,.0f}" for who in ("netc", "torch") if who in row.get("bytes_most", {})]
        cells += [" and ".join(held)] * measured
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _starts(rows: list[dict[str, Any]]) -> str:
    """From the start of a process to its first result."""
    lines = ["| net, batch | cache | s (least) | of the processor, s | asked, s |", "|---|---|---:|---:|---:|"]
    for row in rows:
        times = f"**{row['s']:.2f}** ({row['least_s']:.2f}) | {row['processor_s']:.2f} | {row['asked_s']}"
        lines.append(f"| {row['net']} forward, {row['batch']} | {row['cache']} | {times} |")
    return "\n".join(lines) + "\n"


def _roofline(rows: list[dict[str, Any]]) -> str:
    """A step's kernels of arithmetic and of memory, and those that take the longest."""
    rates = (
        f"{rows[0]['flops_per_s'] / 1e9:.0f} GFLOP/s in a product, {rows[0]['bytes_per_s'] / 1e9:.1f} GB/s in a copy"
    )
    lines = [
        f"One core: {rates}.",
        "",
        "| step, batch | kernels of | ms | of the machine's rate |",
        "|---|---|---:|---:|",
    ]
    for row in rows:
        for kind, words in (("operations", "arithmetic"), ("memory", "passes over memory")):
            if row[kind]["share"] is not None:
                share = f"{row[kind]['ms']:.2f} | **{100 * row[kind]['share']:.0f} %**"
                lines.append(f"| {_step(row)} | {words} | {share} |")
    lines += [
        "",
        "| step, batch | the longest kernels | ms | GFLOP/s | GB/s | of the bound |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        for one in sorted(row["kernels"], key=lambda one: -one["ms"])[:5]:
            cells = f"{one['ms']:.3f} | {one['gflops']:.0f} | {one['gb_per_s']:.1f} | {100 * one['share']:.0f} %"
            lines.append(f"| {_step(row)} | {one['kernel']} | {cells} |")
    return "\n".join(lines) + "\n"


def _step(row: dict[str, Any]) -> str:
    name, mode, batch = row["case"].split("-")
    return f"{name} {'training' if mode == 'train' else 'forward'}, {batch}"


def _fusion(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| net | batch | fused, ms | unfused, ms | unfused / fused | kernels | memory |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        kernels = f"{row['fused_kernels']} of {row['unfused_kernels']}"
        memory = f"{100 * row['fused_bytes'] / row['unfused_bytes']:.0f} %"
        times = f"{row['fused_ms']:.2f} | {row['unfused_ms']:.2f} | **{row['ratio']:.2f}**"
        lines.append(f"| {row['net']} ({row['mode']}) | {row['batch']} | {times} | {kernels} | {memory} |")
    return "\n".join(lines) + "\n"


def _imagenet(rows: list[dict[str, Any]]) -> str:
    """What a full run takes: by the recipes' own numbers, and by what was measured of one core."""
    lines = [
        "| recipe | steps of so many photos | photos (passes) | GFLOP a photo: forward, learning | EFLOP in all "
        "| photos/s, one core here | so, days | hours at 10 TFLOP/s, at 100 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows[0]["recipes"]:
        total = row["learning"] * row["photos"]
        cells = [
            row["recipe"].rpartition("/")[2],
            f"{row['steps']:,} x {row['batch']}",
            f"{row['photos'] / 1e6:,.1f} M ({row['photos'] / PHOTOS:.0f})",
            f"{row['forward'] / 1e9:.2f}, {row['learning'] / 1e9:.1f}",
            f"{total / 1e18:.2f}",
            f"{row['photos_per_s']:.1f}",
            f"{row['photos'] / row['photos_per_s'] / 86400:,.0f}",
            f"{total / 1e13 / 3600:,.0f}, {total / 1e14 / 3600:,.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| of one core here | photos/s | all of ImageNet, hours |", "|---|---:|---:|"]
    for row in rows[0]["reading"]:
        hours = PHOTOS / row["photos_per_s"] / 3600
        lines.append(f"| {row['what']} | {row['photos_per_s']:,.0f} | {hours:.1f} |")
    return "\n".join(lines) + "\n"


def _short(rows: list[dict[str, Any]]) -> str:
    """The first page's table of peers: two threads, the nets that people know, times alone."""
    known = ("lenet-train-64", "cifar10_full-train-64", "caffenet-test-8", "googlenet-test-8", "resnet18-test-8")
    chosen = [row for row in rows if row["case"] in known and row["threads"] == max(one["threads"] for one in rows)]
    others = [peer for peer in NAMES if any(peer in row["ms"] for row in chosen)]
    heads = ["netc, ms", *(NAMES[peer] for peer in others), "speed beside the fastest"]
    lines = [f"| step, batch | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for row in chosen:
        times = [f"{row['ms'][who]:.1f}" if who in row["ms"] else "" for who in ("netc", *others)]
        speed = f"**{row['speed'][row['fastest']]:.2f}**"
        lines.append(f"| {' | '.join([_step(row), *times, speed])} |")
    return "\n".join(lines) + "\n"


def _readers(rows: list[dict[str, Any]]) -> str:
    """Hostile files by reader."""
    return _cases("| reader | tried | read | refused | faults | seed | day |", rows)


def _nets(rows: list[dict[str, Any]]) -> str:
    """Random nets by what they are compared with."""
    return _cases("| nets | tried | agreed | not comparable | faults | seed | day |", rows)


def _cases(head: str, rows: list[dict[str, Any]]) -> str:
    lines = [head, "|---|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        counts = (row["tried"], row["read"], row["refused"], sum(row["faults"].values()))
        lines.append(f"| {row['name']} | {' | '.join(f'{n:,}' for n in counts)} | {row['seed']} | {row['date']} |")
    return "\n".join(lines) + "\n"


def _machine(rows: list[dict[str, Any]]) -> str:
    """Faults of the machine by what is written: how many were tried of each kind, and what was lost."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    lines = [f"| what is written | {' | '.join(kinds)} | killed | lost |", "|---|" + "---:|" * (len(kinds) + 2)]
    for name in [*dict.fromkeys(row["scenario"] for row in rows), ""]:
        own = [row for row in rows if name in ("", row["scenario"])]
        tried = [sum(row["tried"] for row in own if row["kind"] == kind) for kind in kinds]
        ends = [sum(row.get(key, 0) for row in own) for key in ("killed", "lost")]
        lines.append(f"| {name or 'all'} | {' | '.join(f'{n:,}' for n in (*tried, *ends))} |")
    return "\n".join(lines) + "\n"


def with_tables(text: str, made: dict[str, str]) -> str:
    """A page with each table between its two marks; a `KeyError` for marks without a result."""
    for name in [line.split()[5] for line in text.splitlines() if line.startswith(BEGIN.partition("{")[0])]:
        begin, end = BEGIN.format(name=name), END.format(name=name)
        head, _, rest = text.partition(begin)
        text = head + begin + made[name] + end + rest.partition(end)[2]
    return text


def main() -> int:
    sys.path.insert(0, str(ROOT))  # netc need not be installed
    from netc.runtime.atomic import write_text

    for page in PAGES:
        write_text(page, with_tables(page.read_text(encoding="utf-8"), tables()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
