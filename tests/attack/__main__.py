"""`python -m attack`: attack netc for so many seconds, or with so many cases of each kind; exit status 1 on a fault.

Each kind of case has its share of the time. The first case of a fault is made small and kept in `tests/attack/corpus`,
where `make test` reads it from then on. A file of results (`--json`) keeps, of each kind, what its last run came to.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from attack.differing import KINDS, attack_nets
from attack.machine import rows
from attack.readers import readers
from attack.reading import Pool, attack_reader
from attack.report import Count
from netc.runtime.atomic import write_text

SHRINK = 30.0  # seconds for a smaller case of a fault


def main() -> int:
    """Attack; print a line for each kind, write JSON where that is asked for."""
    table = readers()
    shares = {
        "machine": 0.0,
        **{name: row.share for name, row in table.items()},
        **{name: row.share for name, row in KINDS.items()},
    }
    parser = argparse.ArgumentParser(prog="attack", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="of all kinds together")
    parser.add_argument("--cases", type=int, default=0, help="of each kind, however long it takes")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="without one another each time")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--only", nargs="+", choices=list(shares), default=list(shares), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the counts there, over those of the same kinds")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    counts: list[Count] = []
    faults: list[dict[str, Any]] = []
    if "machine" in asked.only:
        faults = rows() or []
        for row in faults:
            print(f"{row['scenario']}, {row['kind']}: {row}", flush=True)
        if asked.json:
            keep(asked.json, machine=faults)
    total = sum(shares[name] for name in asked.only)

    def goes_on(name: str) -> Callable[[int], bool]:
        end = time.monotonic() + asked.seconds * shares[name] / total
        return lambda done: done < asked.cases if asked.cases else time.monotonic() < end

    with Pool() as pool:
        for name in asked.only:
            if name == "machine":
                continue
            if name in table:
                made = attack_reader(pool, table[name], asked.seed, goes_on(name), asked.first, shrink=SHRINK)
            else:
                made = attack_nets(name, asked.seed, goes_on(name), asked.first, shrink=SHRINK)
            counts.append(made)
            print(made.line(), flush=True)
            if asked.json:
                group = "readers" if name in table else "nets"
                keep(asked.json, **{group: [{**made.as_dict(), "seed": asked.seed}]})
    return int(any(count.faults for count in counts) or any(row["wrong"] for row in faults))


def keep(path: Path, **groups: list[dict[str, Any]]) -> None:
    """Put rows into a file of results, with the day, in the place of those of the same name (and kind of fault)."""
    kept: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for group, new in groups.items():
        known = {(row.get("name", row.get("scenario")), row.get("kind")): row for row in kept.get(group, [])}
        for row in new:
            key = row.get("name", row.get("scenario")), row.get("kind")
            known[key] = {**row, "date": date.today().isoformat()}
        kept[group] = list(known.values())
    write_text(path, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
