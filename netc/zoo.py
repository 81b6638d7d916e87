"""The zoo: model packages are made, and held to what they say, by their hashes and by their own figures.

A package's figures are the means of its net's losses and metrics on its own sample, computed from the packed files
alone, so that whoever has the package computes the same.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compiler.build import load
from .compiler.build.nets import checked_sizes
from .driver import Compilation
from .grammar.source import UserError
from .preprocessing import Preprocessing, preprocessing
from .request import Request
from .runtime.atomic import new_folder, replace_file
from .runtime.package import MANIFEST, SUFFIX, Manifest, Package, Rule, check_name, sized, write_package
from .weights import Weights

Notify = Callable[[str], None]
TOLERANCE = 1e-4


def silent(_: str) -> None:
    """Nothing is told."""


@dataclass(frozen=True)
class SampleFigures:
    """What a net computes on a sample, and from what. rules: what happens to records before."""

    net: str
    records: int
    metrics: Mapping[str, float]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class PackageCheck:
    """A package beside what it says. files: whether each is the one that was packed. found: the figures, if all are."""

    manifest: Manifest
    files: Mapping[str, bool]
    found: Mapping[str, float]

    def holds(self, name: str) -> bool:
        """Whether a figure is what the manifest says."""
        said, found = self.manifest.metrics[name], self.found.get(name, math.nan)
        return abs(found - said) <= self.manifest.tolerance * max(1.0, abs(said))

    @property
    def good(self) -> bool:
        return all(self.files.values()) and all(map(self.holds, self.manifest.metrics))

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc zoo check --json`."""
        said = self.manifest
        return {
            "name": said.name,
            "good": self.good,
            "files": [{"name": name, "bytes": said.files[name][0], "same": same} for name, same in self.files.items()],
            "records": said.records,
            "tolerance": said.tolerance,
            "metrics": [
                {"name": name, "said": value, "found": self.found.get(name), "holds": self.holds(name)}
                for name, value in said.metrics.items()
            ],
        }


def pack(
    net: Path,
    weights: Path,
    out: Path,
    *,
    licence: str,
    labels: Path | None = None,
    sample: Path | None = None,
    more: Sequence[Path] = (),
    which: str | None = None,
    tolerance: float = TOLERANCE,
    notify: Notify = silent,
) -> Manifest:
    """Make a package of files, and measure it on the sample. more: other files that the net reads, or that go along.

    UserError for files that cannot be read, of one name, or that do not suffice: the net is built from the copies.
    """
    from .api.inference import read_labels

    read_labels(labels)
    if not (licence.isprintable() and 0 < len(licence) <= 200):
        raise UserError("--licence wants a line of at most 200 characters, such as BSD-2-Clause")
    if out.suffix != SUFFIX:
        raise UserError(f"{out}: a package is called NAME{SUFFIX}")
    check_name(out.name, str(out))
    files: dict[str, Path] = {}
    for path in (net, weights, *(one for one in (labels, sample) if one is not None), *more):
        if path.name.lower() in {name.lower() for name in files}:
            raise UserError(f"two files of the package are called {path.name}")
        files[check_name(path.name, str(path))] = path
    sums = {name: sized(path) for name, path in files.items()}
    with tempfile.TemporaryDirectory(prefix="netc-zoo-") as folder:
        for name, path in files.items():
            shutil.copyfile(path, Path(folder, name))
        measured = measure(Path(folder), net.name, weights.name, sample.name if sample else None, which, notify)
        if lacking := [one.mean for one in measured.rules if isinstance(one.mean, str) and one.mean not in files]:
            raise UserError(
                f"{net}: takes off the mean in {lacking[0]}, which is no file of the package; --with adds it"
            )
        manifest = Manifest(
            name=out.stem,
            licence=licence,
            file=net.name,
            net=measured.net,
            weights=weights.name,
            labels=labels.name if labels else None,
            sample=sample.name if sample else None,
            records=measured.records,
            metrics=measured.metrics,
            tolerance=tolerance,
            transform=measured.rules,
            files=sums,
        )
        write_package(out, manifest, {name: Path(folder, name) for name in files})
    return manifest


def measure(
    folder: Path, file: str, weights: str, sample: str | None, which: str | None, notify: Notify = silent
) -> SampleFigures:
    """The means of a net's losses and metrics on a sample, by files in a folder; none without a sample.

    UserError where the net computes neither, or anything does not fit together.
    """
    from .api.feeding import BATCH, Feed
    from .api.inference import read_arrays, records_in
    from .api.training import inputs_of
    from .runtime.evaluate import evaluate

    experiment = load(folder / file)
    name = which or experiment.default_net()
    guess = min(BATCH, records_in(folder / sample) if sample else 1) or 1  # so that the net is built once
    dims = {"N": guess} if "N" in checked_sizes(experiment.net(name)) else {}
    made = Compilation(experiment, Request(net=name, dims=dims, measured=sample is not None, update=False))
    before = preprocessing(experiment, name, made.net.inputs)
    rules = tuple(_rule(one) for one in before.values() if not one.plain)
    figures = [*made.net.losses, *made.net.metrics]
    if sample is not None and not figures:
        raise UserError(f"the net `{name}` has no loss and no metric in test mode, so a sample has nothing to say")
    arrays = read_arrays(folder / sample, inputs_of(made), before) if sample else {}
    made = made.sized(min(BATCH, min(map(len, arrays.values())))) if arrays else made
    state = made.new_state()
    for line in Weights((folder / weights,)).load(state):
        notify(line)
    if sample is None:
        return SampleFigures(name, 0, {}, rules)
    with Feed(sample, arrays).open(inputs_of(made), shuffle=False, seed=0, mode="test") as stream:
        means = evaluate(made.executables(state)[-1], stream, figures)
    assert means is not None
    values, records = means
    if wrong := [key for key, value in values.items() if not math.isfinite(value)]:
        raise UserError(f"{sample}: `{wrong[0]}` is not finite on it")
    return SampleFigures(name, records, values, rules)


def _rule(one: Preprocessing) -> Rule:
    mean = one.mean
    if mean is None:
        mean = ()
    elif isinstance(mean, int | float):
        mean = (float(mean),)
    elif not isinstance(mean, str):
        mean = tuple(map(float, mean))
    return Rule(one.input, one.scale, mean, tuple(one.crop))


def check(path: Path) -> PackageCheck:
    """A package held to its hashes and, where these are right, to its figures; UserError for what is no package."""
    package = Package(path)
    said, sums = package.manifest, package.sums()
    if not all(sums.values()):
        return PackageCheck(said, sums, {})
    with tempfile.TemporaryDirectory(prefix="netc-zoo-") as folder:
        package.unpack(Path(folder))
        found = measure(Path(folder), said.file, said.weights, said.sample, said.net)
    if (found.net, found.records, found.rules) != (said.net, said.records, said.transform):
        raise UserError(f"{path}: its net, or what it does to records, is not what the manifest says")
    if found.metrics.keys() != said.metrics.keys():
        raise UserError(f"{path}: its net computes {', '.join(found.metrics)}, not {', '.join(said.metrics)}")
    return PackageCheck(said, sums, found.metrics)


def unpack(path: Path, folder: Path) -> Manifest:
    """The files of a package in a new folder, each with its hash checked."""
    package = Package(path)
    with new_folder(folder) as part:
        package.unpack(part)
    return package.manifest


def listed(folder: Path) -> list[tuple[Path, Manifest | str]]:
    """The packages in a folder, by name; in the place of a manifest what is wrong with one."""
    if not folder.is_dir():
        return []
    paths = [one for one in folder.iterdir() if one.suffix == SUFFIX or (one / MANIFEST).is_file()]
    return [(path, _manifest(path)) for path in sorted(paths)]


def _manifest(path: Path) -> Manifest | str:
    try:
        return Package(path).manifest
    except UserError as error:
        return str(error)


def fetch(source: str, folder: Path, sha256: str | None = None, notify: Notify = silent) -> tuple[Path, PackageCheck]:
    """Get a package by https or from a path into a folder, where it comes to lie if its check succeeds.

    sha256: of the file. UserError where one lies there already, or anything is not as it should be.
    """
    from .runtime.package_fetch import download, is_address, name_at

    far = is_address(source)
    path = Path(source)
    if not far and path.is_dir() and sha256 is not None:
        raise UserError(f"{path}: is a folder, and --sha256 is that of a file")
    name = name_at(source) if far else path.name if path.suffix == SUFFIX else f"{path.resolve().name}{SUFFIX}"
    target = folder / check_name(name, source)
    if target.exists():
        raise UserError(f"{target}: is there already; remove it to fetch it again")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from None
    verdicts: list[PackageCheck] = []

    def write(part: Path) -> None:
        if far:
            notify(f"fetching {source}")
            download(source, part)
        elif path.is_dir():
            said = Package(path).manifest
            part.unlink()
            write_package(part, said, {one: path / one for one in said.files})
        else:
            sized(path)  # a pipe would be waited for
            shutil.copyfile(path, part)
        if sha256 is not None and sized(part)[1] != sha256.lower():
            raise UserError(f"{source}: its SHA-256 is {sized(part)[1]}, not {sha256}")
        verdict = check(part)
        if not verdict.good:
            raise UserError(f"{source}: is not what its manifest says; `netc zoo check` of it shows how")
        verdicts.append(verdict)

    replace_file(target, write)
    return target, verdicts[0]
