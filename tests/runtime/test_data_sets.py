"""Data sets by name: where they are looked for, the digits that come with netc, fetching, and what is said about it."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.runtime.data import open_data, opening
from netc.runtime.data.catalogue import DATASETS, Dataset, RemoteFile, cache_folder
from netc.runtime.data.fetch import fetch, list_datasets
from netc.runtime.data.make_digits import main as make_digits
from netc.runtime.data.mnist import EMBEDDED, files_of
from netc.runtime.data.source import Mode
from support.data_files import first, idx_bytes, pixels, spec, write_idx

SHARED = Path(os.environ.get("NETC_SHARED") or Path(__file__).parents[2] / "../shared")
RAW_MD5 = {
    "train-images": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels": "a25bea736e30d166cdddb491f175f624",
    "t10k-images": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.fixture(autouse=True)
def no_data_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has fetched nothing and set nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NETC_DATA", raising=False)
    monkeypatch.setattr(opening, "_said", set())


@pytest.fixture
def full_mnist() -> Path:
    folder = SHARED / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip("the shared folder with the full MNIST is not here")
    return folder


@pytest.mark.parametrize(("split", "per_class"), [("train", 500), ("test", 100)])
def test_the_embedded_digits(split: Mode, per_class: int) -> None:
    count = 10 * per_class
    batch = first("mnist", split=split, batch=count)
    assert batch["image"].shape == (count, 1, 28, 28)
    assert np.bincount(batch["label"]).tolist() == [per_class] * 10
    assert 0.12 < batch["image"].mean() / 255 < 0.14  # MNIST's mean is 0.1307
    assert len(np.unique(batch["label"][:100])) == 10  # mixed, not class by class
    assert EMBEDDED.stat().st_size < 1_500_000


def test_that_embedded_digits_are_used_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        first("mnist", split="train", batch=1)
    said = capsys.readouterr().err
    assert said == "netc: using the 5,000 embedded digits for training; `netc data fetch mnist` gets all 60,000\n"
    notes: list[str] = []
    open_data(spec("mnist", split="test", batch=1), mode="test", notify=notes.append).close()
    assert notes == ["using the 1,000 embedded digits for testing; `netc data fetch mnist` gets all 10,000"]


def write_mnist(folder: Path, records: int) -> None:
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", pixels(records, 28, 28))
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(records, dtype=np.uint8) % 10)


def records_of(name: str, data_dir: Path | None = None) -> int:
    with open_data(spec(name, batch=1), mode="train", data_dir=data_dir) as opened:
        return opened.records


def test_the_folders_that_are_looked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert records_of("mnist") == 5000
    write_mnist(cache_folder("mnist"), 10)
    assert records_of("mnist") == 10
    write_mnist(tmp_path / "named", 20)
    monkeypatch.setenv("NETC_DATA", str(tmp_path / "named"))
    assert records_of("mnist") == 20
    write_mnist(tmp_path / "given" / "mnist", 30)
    assert records_of("mnist", tmp_path / "given") == 30
    assert records_of("mnist", tmp_path / "absent") == 20


def test_fashion_mnist_never_takes_the_files_of_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path / "given", 10)
    with pytest.raises(UserError, match="`netc data fetch fashion_mnist` gets it"):
        records_of("fashion_mnist", tmp_path / "given")
    write_mnist(tmp_path / "given" / "fashion_mnist", 20)
    assert records_of("fashion_mnist", tmp_path / "given") == 20


def test_cifar10_that_is_nowhere() -> None:
    with pytest.raises(UserError, match="`netc data fetch cifar10` gets it"):
        records_of("cifar10")


def test_what_is_listed(tmp_path: Path) -> None:
    write_mnist(tmp_path / "fashion_mnist", 10)
    found = {info.name: info for info in list_datasets(tmp_path)}
    assert list(found) == ["mnist", "fashion_mnist", "cifar10"]
    assert found["mnist"].where == "embedded (5,000 + 1,000)"
    assert found["mnist"].size == 11_594_722
    assert found["fashion_mnist"].where == str(tmp_path / "fashion_mnist")
    assert found["cifar10"].where == ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address and the folder that it serves."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/", folder
        http.shutdown()
        thread.join()


NOWHERE = "http://127.0.0.1:9/"


def remote(path: Path) -> RemoteFile:
    content = path.read_bytes()
    return RemoteFile(path.name, len(content), hashlib.sha256(content).hexdigest())


def offer(monkeypatch: pytest.MonkeyPatch, name: str, mirrors: tuple[str, ...], *files: RemoteFile) -> None:
    """Replace a data set's files and addresses."""
    real = DATASETS[name]
    changed = Dataset(name, real.what, real.terms, real.folders, files, mirrors, real.unpacked)
    monkeypatch.setitem(DATASETS, name, changed)


def test_fetching_from_the_second_mirror(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, served = server
    for part, content in (("images-idx3", pixels(4, 28, 28)), ("labels-idx1", np.zeros(4, np.uint8))):
        (served / f"train-{part}-ubyte").write_bytes(idx_bytes(content))
    offer(monkeypatch, "mnist", (NOWHERE, address), *(remote(path) for path in sorted(served.iterdir())))
    said: list[str] = []
    assert fetch("mnist", notify=said.append) == cache_folder("mnist")
    assert records_of("mnist") == 4
    assert len(said) == 4
    for path in served.iterdir():  # the files are kept: a second time nothing is asked for
        path.unlink()
    said.clear()
    fetch("mnist", notify=said.append)
    assert said == []
    (cache_folder("mnist") / "train-images-idx3-ubyte").write_bytes(b"spoilt")
    with pytest.raises(UserError, match="cannot fetch mnist"):
        fetch("mnist")


def test_a_file_that_is_not_the_published_one(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, served = server
    (served / "train-images-idx3-ubyte").write_bytes(b"one")
    offer(monkeypatch, "mnist", (address,), RemoteFile("train-images-idx3-ubyte", 3, "0" * 64))
    with pytest.raises(UserError, match="SHA-256 differs"):
        fetch("mnist")
    assert not list(cache_folder("mnist").iterdir())


def test_fetching_offline_says_where_to_put_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "mnist", (NOWHERE,), *DATASETS["mnist"].files)
    with pytest.raises(UserError) as caught:
        fetch("mnist")
    text = str(caught.value)
    assert "no connection" in text
    assert f"put train-images-idx3-ubyte.gz, {DATASETS['mnist'].files[1].name}" in text
    assert str(cache_folder("mnist")) in text
    assert "\n" not in text
    with pytest.raises(UserError, match="there is no data set `emnist`; there are mnist, fashion_mnist, cifar10"):
        fetch("emnist")


def test_an_archive_is_unpacked_by_name_only(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, served = server
    archive = served / "cifar.tar.gz"
    record = pixels(1, 3073) % 10
    with tarfile.open(archive, "w:gz") as tar:
        for name in (*DATASETS["cifar10"].unpacked, "../../outside.bin"):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = 3073
            tar.addfile(info, io.BytesIO(record.tobytes()))
    offer(monkeypatch, "cifar10", (address,), remote(archive))
    folder = fetch("cifar10")
    assert sorted(path.name for path in folder.iterdir()) == sorted(DATASETS["cifar10"].unpacked)
    assert records_of("cifar10") == 5
    archive.unlink()
    assert fetch("cifar10") == folder


def test_an_archive_that_lacks_a_file_or_is_none(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, served = server
    archive = served / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("data_batch_1.bin"), io.BytesIO())
    offer(monkeypatch, "cifar10", (address,), remote(archive))
    with pytest.raises(UserError, match=r"data_batch_2\.bin is missing in it"):
        fetch("cifar10")
    assert {info.name: info.where for info in list_datasets()}["cifar10"] == ""  # a part is not the data set
    archive.write_bytes(b"no archive")
    offer(monkeypatch, "cifar10", (address,), remote(archive))
    with pytest.raises(UserError, match=r"cifar\.tar\.gz: "):
        fetch("cifar10")


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be made"):
        fetch("mnist")


def test_the_embedded_digits_are_made_from_the_full_set(full_mnist: Path, tmp_path: Path) -> None:
    make_digits(full_mnist, tmp_path / "digits.npz")
    with np.load(tmp_path / "digits.npz") as made, np.load(EMBEDDED) as kept:
        assert made.files == kept.files
        for name in made.files:
            np.testing.assert_array_equal(made[name], kept[name])


def test_the_full_mnist(full_mnist: Path) -> None:
    import gzip

    for part, md5 in RAW_MD5.items():
        (path,) = full_mnist.glob(f"{part}*.gz")
        assert hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest() == md5
    assert files_of(full_mnist, "train") is not None
    data_dir = full_mnist.parent
    with open_data(spec("mnist", batch=600, scale=1 / 256), mode="train", data_dir=data_dir) as opened:
        assert opened.records == 60000
        counts, total = np.zeros(10, int), 0.0
        for batch in opened.one_pass():
            counts += np.bincount(batch.columns["label"], minlength=10)
            total += batch.weight * float(batch.columns["image"].mean(dtype=np.float64))
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert total / 60000 * 256 / 255 == pytest.approx(0.130660, abs=1e-6)
