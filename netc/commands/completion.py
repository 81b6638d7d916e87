"""`netc completion`: the shell's script that completes commands, flags and files; made by click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion", short_help="Print the shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  netc completion bash >> ~/.bashrc
    zsh:   netc completion zsh >> ~/.zshrc
    fish:  netc completion fish > ~/.config/fish/completions/netc.fish
    """
    from ..__main__ import cli

    kind = get_completion_class(shell)
    assert kind is not None
    made = kind(cli, {}, "netc", "_NETC_COMPLETE")
    # Not `made.source()`, which starts bash to ask for its version.
    click.echo(made.source_template % made.source_vars())
