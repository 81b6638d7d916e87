"""What the tests share: expected texts kept as files, and the folder of shared material."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.register_assert_rewrite("support")
pytest_plugins = ["support.turns"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected texts with what came out")


def pytest_configure() -> None:
    # Under nohup, or in the background of a shell without job control, these are ignored, by child processes as well.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ignored) is signal.SIG_IGN:
            signal.signal(ignored, signal.SIG_DFL)
    if "NETC_TESTS_KERNELS" not in os.environ:  # else this is a worker of xdist, which shares that of the run
        os.environ["NETC_TESTS_KERNELS"] = tempfile.mkdtemp(prefix="netc-kernels-")
        atexit.register(shutil.rmtree, os.environ["NETC_TESTS_KERNELS"], ignore_errors=True)
    gc.set_threshold(100_000, 10, 10)  # as the command line has it: tests make many objects that live, too
    os.environ.pop("COLUMNS", None)  # xdist hands on how wide its terminal is; a table would be cut to that
    os.environ.setdefault("NETC_CACHE", os.environ["NETC_TESTS_KERNELS"])  # and not the user's


def pytest_collection_finish() -> None:
    gc.freeze()  # ten thousand tests and all modules are there to the end, and need not be looked through


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """`golden(path, text)` compares a text with the file that holds the expected one, or rewrites that file."""
    update = bool(request.config.getoption("--update-golden"))

    def check(path: Path, text: str) -> None:
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} does not exist; run pytest --update-golden and read what it writes"
        assert text == path.read_text(encoding="utf-8")

    return check


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of nets, data and expected results that stands beside the repository; skips where it is absent."""
    folder = Path(os.environ.get("NETC_SHARED") or Path(__file__).parents[1] / ".." / "shared").resolve()
    if not folder.is_dir():
        pytest.skip("the shared folder is absent (NETC_SHARED names it)")
    return folder
