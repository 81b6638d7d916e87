"""Installing a package of pure Python into a folder, as pip would: its modules, and its metadata with entry points."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path


def install(project: Path, site: Path) -> None:
    """What a project's folder holds, put into `site`: the folder named as the project is, with `_` for `-`."""
    said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = said["name"].replace("-", "_")
    shutil.copytree(project / package, site / package)
    declare(site, said["name"], said["entry-points"], said["version"])


def declare(site: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "1.0") -> None:
    """The metadata of a package, with or without its modules."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = (
        line
        for group, entries in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    )
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
