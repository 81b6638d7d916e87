"""Commands of netc, run in this process."""

from __future__ import annotations

from click.testing import CliRunner

from netc.__main__ import cli


def run(*words: object) -> tuple[int, str, str]:
    """The exit status of a command, and what it writes to standard output and to standard error.

    Raises what it raises, which would be a traceback, and is none of its ways to exit.
    """
    result = CliRunner().invoke(cli, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
