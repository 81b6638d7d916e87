"""The zoo: the folder where a user's model packages lie, and how one gets there, by a path or by https.

Relies on pooch for the transfer, which is bounded in bytes and never leaves https.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..compiler.program import UserError, printable
from .data.catalogue import given_folders
from .package import LARGEST, LARGEST_MANIFEST, SUFFIX, check_name

TIMEOUT_SECONDS = 30
MOST = LARGEST + 2 * LARGEST_MANIFEST  # bytes of one file that is fetched


def zoo_folder() -> Path:
    """`zoo` in the folder that NETC_DATA names, else in the user's folder of data."""
    import platformdirs

    given = given_folders(None)
    return (given[0] if given else Path(platformdirs.user_data_dir("netc", appauthor=False))) / "zoo"


def is_address(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def name_at(address: str) -> str:
    """The name of the file at an address; UserError for one that is not https, or ends in no name of a package."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme.lower() != "https":
        raise UserError(f"{printable(address, 100)}: packages are fetched by https://")
    name = unquote(parts.path.rpartition("/")[2])
    if not name.endswith(SUFFIX):
        raise UserError(f"{printable(address, 100)}: ends in no name of a package, which is NAME{SUFFIX}")
    return check_name(name, "the address")


def download(address: str, path: Path, most: int = MOST) -> None:
    """Write what is at an address; UserError where that fails, is more than `most` bytes, or leads away from https."""
    import pooch

    def hop(response: Any, **_: Any) -> None:
        to = response.headers.get("location", "")
        if is_address(to) and not to.lower().startswith("https://"):
            raise UserError(f"{printable(address, 100)}: leads away from https")

    with path.open("wb") as out:
        try:
            pooch.HTTPDownloader(timeout=TIMEOUT_SECONDS, hooks={"response": hop})(address, _Bounded(out, most), None)
        except UserError:
            raise
        except Exception as error:  # pooch and requests raise many kinds; every one means: not from here
            reason = printable(str(error).splitlines()[0], 120) if str(error) else "no reason given"
            raise UserError(f"{printable(address, 100)}: cannot be fetched: {type(error).__name__}: {reason}") from None


class _Bounded:
    """A file that takes so many bytes."""

    def __init__(self, out: Any, most: int) -> None:
        self._out, self._left, self._most = out, most, most

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise UserError(f"what is fetched has more than {self._most:,} bytes")
        self._out.write(data)

    def flush(self) -> None:
        self._out.flush()
