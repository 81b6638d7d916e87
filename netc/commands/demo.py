"""`netc demo`: what netc does, on the data that comes with it."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from ..weights import Weights
from .options import MACHINE, NUMBERS, SCHEDULES, net_file, program, ready, say, tell, weights_files
from .usage import Commands


@click.group(
    "demo", cls=Commands, short_help="Show what netc does, on data that comes with it.", invoke_without_command=True
)
@click.option("--steps", type=click.IntRange(1), help="Steps of training; else 1,000.")
@click.pass_context
def command(ctx: click.Context, steps: int | None) -> None:
    """Train LeNet on the digits that come with netc, then measure what fusion buys: about a minute."""
    if ctx.invoked_subcommand is None:
        from ..examples.demo import main

        main(steps)


@command.command("web", short_help="Show a trained classifier as a page in a browser.")
@net_file
@weights_files()
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False), help="Names of the classes, a line each.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is a free one.")
@click.option("--allow-url", is_flag=True, help="Fetch pictures whose address is given, from public addresses alone.")
@program(*MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, mode="test", records=True)
def web(
    file: Path, weights: Weights, labels: Path | None, host: str, port: int, allow_url: bool, request: Request
) -> None:
    """Serve a page that classifies pictures: of a file, drawn, of a camera. Ctrl-C ends it.

    Pictures that come at the same time are one batch of at most --batch. Nothing that is sent is written to a file.
    """
    from ..api.inference import read_labels
    from ..web.app import application, serve
    from ..web.predictor import Predictor

    ready(request)
    predictor = Predictor(file, request, weights, read_labels(labels), notify=tell)
    server = serve(application(predictor, addresses=allow_url), host, port)
    say(f"{predictor.name}: http://{host}:{server.effective_port}/ (Ctrl-C ends it)")
    try:
        server.run()
    finally:
        server.close()
        predictor.close()
