"""The public data sets that netc knows by name: what they are, where they are looked for, and where they can be got.

Looked for in the folder of `--data`, then that of `NETC_DATA`, then the cache that `netc data fetch` fills. Checksums
are those of the files that their authors published.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...compiler.program import UserError


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its length in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """A data set: what it is and its terms in a line, the folders it may lie in, its files and where copies are."""

    name: str
    what: str
    terms: str
    folders: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...]
    unpacked: tuple[str, ...] = ()
    """The files that an archive holds, where `files` is one archive."""

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.files)


DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            what="60,000 + 10,000 handwritten digits, 28 x 28, 10 classes",
            terms="Y. LeCun, C. Cortes; commonly described as CC BY-SA 3.0",
            folders=("mnist", "MNIST/raw", "."),
            files=(
                RemoteFile(
                    "train-images-idx3-ubyte.gz",
                    9912422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                RemoteFile(
                    "train-labels-idx1-ubyte.gz",
                    28881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                RemoteFile(
                    "t10k-images-idx3-ubyte.gz",
                    1648877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                RemoteFile(
                    "t10k-labels-idx1-ubyte.gz",
                    4542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        Dataset(
            name="fashion_mnist",
            what="60,000 + 10,000 articles of clothing, 28 x 28, 10 classes",
            terms="Zalando SE, MIT",
            folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
            files=(
                RemoteFile(
                    "train-images-idx3-ubyte.gz",
                    26421880,
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                RemoteFile(
                    "train-labels-idx1-ubyte.gz",
                    29515,
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                RemoteFile(
                    "t10k-images-idx3-ubyte.gz",
                    4422102,
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                RemoteFile(
                    "t10k-labels-idx1-ubyte.gz",
                    5148,
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
            mirrors=(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
        ),
        Dataset(
            name="cifar10",
            what="50,000 + 10,000 photographs, 3 x 32 x 32, 10 classes",
            terms="A. Krizhevsky, V. Nair, G. Hinton; no licence stated, cite the report of 2009",
            folders=("cifar10", "cifar-10-batches-bin", "."),
            files=(
                RemoteFile(
                    "cifar-10-binary.tar.gz",
                    170052171,
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ),
            ),
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            unpacked=(*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
        ),
    )
}


def cache_folder(name: str) -> Path:
    """Where `netc data fetch` keeps a data set."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("netc", appauthor=False)) / "data" / name


def given_folders(data_dir: Path | None) -> list[Path]:
    """The folders that the user named: by `--data`, by `NETC_DATA`."""
    named = os.environ.get("NETC_DATA", "")
    try:
        return [*([data_dir] if data_dir else []), *([Path(named).expanduser()] if named else [])]
    except RuntimeError:
        raise UserError(f"NETC_DATA is {named}: there is no such home folder") from None


def locate(name: str, data_dir: Path | None) -> list[Path]:
    """The folders that there are in which a data set's files may lie, the first one first."""
    dataset = DATASETS[name]
    folders = [given / folder for given in given_folders(data_dir) for folder in dataset.folders]
    return [folder for folder in (*folders, cache_folder(name)) if folder.is_dir()]
