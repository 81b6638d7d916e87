"""`netc zoo`: model packages, with the hashes and the figures that they are held to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ..grammar.source import UserError
from .options import as_json, print_json, say, tell
from .usage import Commands

_FILE = click.Path(path_type=Path, dir_okay=False)
_PACKAGE = click.argument("package", type=click.Path(path_type=Path), metavar="FILE.netz|FOLDER")
DIFFERS = 1  # as of `netc verify`: it ran, and found a difference


@click.group("zoo", cls=Commands, short_help="Pack, check, fetch and list trained models.")
def command() -> None:
    """Trained models as packages: net, weights, labels, licence, sample, figures and hashes."""


@command.command("list", short_help="List packages.")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@as_json
def list_(folder: Path | None, json_: bool) -> None:
    """List the packages in FOLDER, else those that were fetched. Nothing is computed; `check` does that."""
    from ..runtime.package_fetch import zoo_folder
    from ..zoo import listed

    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    where = folder or zoo_folder()
    found = listed(where)
    if json_:
        rows = [
            {"path": str(path), "error": one, "package": None}
            if isinstance(one, str)
            else {"path": str(path), "error": None, "package": one.as_dict()}
            for path, one in found
        ]
        print_json("zoo.list/1", {"folder": str(where), "packages": rows})
        return
    from ..report.tables import Table, size

    cells = [
        [one.name, one.net, figures(one.metrics), f"{one.records:,}", size(one.size), one.licence]
        for _, one in found
        if not isinstance(one, str)
    ]
    if cells:
        Table("", ["name", "net", "figures", ">records", ">size", "licence"], cells).show()
    for _, one in found:
        if isinstance(one, str):
            tell(one)
    if not found:
        say(f"{where}: no packages")


@command.command("pack", short_help="Make a package.")
@click.argument("net_file", type=click.Path(path_type=Path), metavar="NET")
@click.option("--weights", type=_FILE, required=True, metavar="FILE", help="Of the net.")
@click.option("--licence", required=True, metavar="TEXT", help="Of the weights, such as BSD-2-Clause.")
@click.option("--labels", type=_FILE, metavar="FILE", help="Names of the classes, a line each.")
@click.option("--sample", type=_FILE, metavar="FILE.npz", help="Records with labels, to measure it on.")
@click.option("--with", "more", type=_FILE, multiple=True, metavar="FILE", help="What goes along: a mean, a text.")
@click.option("--net", "which", metavar="NAME", help="The net, where the file has several.")
@click.option("--tolerance", type=click.FloatRange(0, 1), default=1e-4, show_default=True, help="Of the figures.")
@click.option("-o", "--output", type=_FILE, required=True, metavar="OUT.netz")
@as_json
def pack(
    net_file: Path,
    weights: Path,
    licence: str,
    labels: Path | None,
    sample: Path | None,
    more: tuple[Path, ...],
    which: str | None,
    tolerance: float,
    output: Path,
    json_: bool,
) -> None:
    """Make a package of a net and its weights, and measure it on the sample.

    The sample has an array for each input of the net, as its data hold them. Its means of the net's losses and metrics
    are kept, to which `check` holds the package.
    """
    from ..zoo import pack as packed

    made = packed(
        net_file,
        weights,
        output,
        licence=licence,
        labels=labels,
        sample=sample,
        more=more,
        which=which,
        tolerance=tolerance,
        notify=tell,
    )
    if json_:
        print_json("zoo.pack/1", made.as_dict())
        return
    said = f"{figures(made.metrics)} ({made.records:,} records)" if made.sample else "no sample, so no figures"
    say(f"{output}: {made.net}: {said}")


@command.command("check", short_help="Hold a package to what it says.")
@_PACKAGE
@as_json
@click.pass_context
def check(ctx: click.Context, package: Path, json_: bool) -> None:
    """Check a package: its files by their hashes, then its figures on its sample; exit status 1 where one differs."""
    from ..zoo import check as checked

    found = checked(package)
    if json_:
        print_json("zoo.check/1", found.as_dict())
    else:
        from ..report.tables import Table

        said = found.manifest
        rows = [[name, "SHA-256", "as packed" if same else "differs", ""] for name, same in found.files.items()]
        for name, value in said.metrics.items():
            got = f"{found.found[name]:.6g}" if name in found.found else "not computed"
            rows.append([name, f"{value:.6g}", got, "holds" if found.holds(name) else "differs"])
        Table("", ["what", "said", "found", ""], rows).show()
        records = (
            f"{said.records:,} records, tolerance {said.tolerance:g}" if said.sample else "no sample, so no figures"
        )
        say(f"{said.name}: {'good' if found.good else 'differs'} ({records})")
    if not found.good:
        ctx.exit(DIFFERS)


@command.command("fetch", short_help="Get a package, and check it.")
@click.argument("source", metavar="URL|PATH")
@click.option("--sha256", metavar="HEX", help="That the file must have.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help="Else the user's."
)
@as_json
def fetch(source: str, sha256: str | None, output: Path | None, json_: bool) -> None:
    """Get a package by https, or from a path, into the folder of packages; it is kept if its check succeeds."""
    from ..runtime.package_fetch import zoo_folder
    from ..zoo import fetch as fetched

    path, found = fetched(source, output or zoo_folder(), sha256, tell)
    if json_:
        print_json("zoo.fetch/1", {"path": str(path), "check": found.as_dict()})
        return
    say(f"{path}: {figures(found.found) or 'hashes good, no figures'}")


@command.command("unpack", short_help="Unpack a package.")
@_PACKAGE
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Else named as the package.")
@as_json
def unpack(package: Path, output: Path | None, json_: bool) -> None:
    """Unpack a package into a new folder, each file checked by its hash; what is in it other commands take."""
    from ..zoo import unpack as unpacked

    folder = output or Path(package.stem)
    if not folder.parent.is_dir():
        raise UserError(f"{folder}: there is no such folder to make {folder.name} in")
    made = unpacked(package, folder)
    if json_:
        files = {key: str(folder / getattr(made, key)) for key in ("file", "weights")}
        files |= {key: getattr(made, key) and str(folder / getattr(made, key)) for key in ("labels", "sample")}
        print_json("zoo.unpack/1", {"folder": str(folder), "net": made.net, **files})
        return
    labels = f" --labels {folder / made.labels}" if made.labels else ""
    say(f"next: netc run {folder / made.file} INPUT --weights {folder / made.weights}{labels}")


def figures(metrics: Mapping[str, float]) -> str:
    """Figures in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
