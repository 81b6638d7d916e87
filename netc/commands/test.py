"""`netc test`: the means of losses and metrics over test data."""

from __future__ import annotations

from pathlib import Path

import click

from ..numbers import Numbers
from .options import (
    as_json,
    choice_of_machine,
    choice_of_numbers,
    choice_of_program,
    choice_of_schedules,
    data_folder,
    dimensions,
    net_file,
    print_json,
    ready,
    settings_of,
)


@click.command("test", short_help="Means of losses and metrics on test data.")
@net_file
@click.option(
    "--weights", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Else those of the last run."
)
@choice_of_program(mode=None)
@choice_of_machine()
@choice_of_numbers
@choice_of_schedules()
@data_folder
@as_json
def command(
    file: Path,
    weights: tuple[Path, ...],
    net: str | None,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    target: str,
    device: str,
    threads: int | None,
    seed: int | None,
    numbers: Numbers,
    data_dir: Path | None,
    json_: bool,
) -> None:
    """Test a trained net on the data of its `test:` lines; each record counts once."""
    from ..api.training import Options, open_experiment, test_experiment

    ready(target, device)
    options = Options(
        net=net,
        seed=seed,
        batch=batch,
        dims=dimensions(None, dims),
        settings=settings_of(settings),
        threads=threads,
        data_dir=data_dir,
        target=target,
        numbers=numbers,
        device=device,
    )
    tested = test_experiment(open_experiment(file, options), options, list(weights) or None)
    if json_:
        print_json(tested.as_dict())
        return
    for name, (values, records) in tested.results.items():
        means = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        click.echo(f"{name}: {means} ({records:,} records)")
    click.echo(f"weights: {', '.join(map(str, tested.weights))}")
