"""Where data sets are found: your folder, the cache, a download that is checked."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pooch
import pytest

from landscape.data_store.errors import LandscapeError, UsageError
from landscape.training import datasets
from landscape.training.datasets import (
    CIFAR10_ARCHIVE,
    CIFAR100_ARCHIVE,
    SOURCES,
    TRAIN_LABELS,
    Source,
    find,
    listed,
)
from tests.support.data_files import written


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache, so that no test sees or fills the real one."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "user_cache_dir", lambda name: str(folder / name))
    return folder / "landscape" / "data"


def test_your_folder_comes_before_the_cache_and_its_dataset_folder_before_itself(
    tmp_path: Path, cache: Path
) -> None:
    places = [tmp_path / "mnist", tmp_path, cache / "mnist"]
    for place in reversed(places):
        path = written(place / TRAIN_LABELS, b"")
        assert find(tmp_path, "mnist", TRAIN_LABELS) == path
    assert find(None, "mnist", TRAIN_LABELS) == cache / "mnist" / TRAIN_LABELS


def test_other_names_of_a_file_are_accepted_best_first(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10"
    subset = written(folder / "cifar-10-binary-subset.tar.gz", b"")
    assert find(tmp_path, "cifar-10", CIFAR10_ARCHIVE) == subset
    (folder / "cifar-10-batches-py").mkdir()
    assert find(tmp_path, "cifar-10", CIFAR10_ARCHIVE) == folder / "cifar-10-batches-py"
    (folder / "cifar-10-batches-bin").mkdir()
    assert find(tmp_path, "cifar-10", CIFAR10_ARCHIVE) == folder / "cifar-10-batches-bin"
    whole = written(folder / CIFAR10_ARCHIVE, b"")
    assert find(tmp_path, "cifar-10", CIFAR10_ARCHIVE) == whole
    fine = written(tmp_path / "cifar-100" / "cifar-100-python.tar.gz", b"")
    assert find(tmp_path, "cifar-100", CIFAR100_ARCHIVE) == fine
    unpacked = written(tmp_path / "mnist" / "train-labels-idx1-ubyte", b"")
    assert find(tmp_path, "mnist", TRAIN_LABELS) == unpacked


def test_a_folder_that_does_not_exist_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the data folder .*nowhere does not exist; give"):
        find(tmp_path / "nowhere", "mnist", TRAIN_LABELS)
    with pytest.raises(UsageError, match=r"the data folder .*file does not exist"):
        find(written(tmp_path / "file", b""), "mnist", TRAIN_LABELS)


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        find(tmp_path, "mnits", TRAIN_LABELS)
    with pytest.raises(UsageError, match="unknown file of mnist 'train-labels'; did you mean"):
        find(tmp_path, "mnist", "train-labels")


NAMES = [(dataset, name) for dataset, files in SOURCES.items() for name in files]


@pytest.mark.parametrize(("dataset", "name"), NAMES)
@pytest.mark.parametrize("given", [True, False], ids=["folder", "cache"])
def test_without_a_network_the_error_says_which_file_from_where_and_where_to(
    dataset: str,
    name: str,
    given: bool,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    place = tmp_path / dataset if given else cache / dataset
    address = SOURCES[dataset][name].address
    sentence = (
        f"{name} of {dataset} could not be downloaded from {address} (ConnectionError); "
        f"put the file into {place}, which does not exist"
    )
    with pytest.raises(LandscapeError, match=f"^{re.escape(sentence)}$"):
        find(tmp_path if given else None, dataset, name)
    written(place / name, b"")
    assert find(tmp_path if given else None, dataset, name) == place / name


def test_a_folder_with_the_wrong_files_is_told_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    for name in ("train.csv", "test.csv", ".DS_Store"):
        written(tmp_path / "mnist" / name, b"label")
    wanted = r"train-labels-idx1-ubyte\.gz of mnist .*mnist, which holds test\.csv, train\.csv$"
    with pytest.raises(LandscapeError, match=wanted):
        find(tmp_path, "mnist", TRAIN_LABELS)


def test_a_list_of_names_stays_short() -> None:
    assert listed([]) == listed([".hidden"]) == "nothing"
    assert listed(["b", "a"]) == "a, b"
    assert listed(str(number) for number in range(9)) == "0, 1, 2, 3, 4, 5 and 3 more"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served on the loopback address, from which MNIST's labels are to come."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    checksum = hashlib.sha256(b"official").hexdigest()
    address = f"http://127.0.0.1:{server.server_port}/{TRAIN_LABELS}"
    monkeypatch.setitem(SOURCES["mnist"], TRAIN_LABELS, Source(address, checksum, ()))
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_goes_into_the_cache_and_happens_once(
    mirror: Path, tmp_path: Path, cache: Path
) -> None:
    written(mirror / TRAIN_LABELS, b"official")
    path = find(tmp_path, "mnist", TRAIN_LABELS)
    assert path == cache / "mnist" / TRAIN_LABELS
    assert path.read_bytes() == b"official"
    (mirror / TRAIN_LABELS).unlink()
    assert find(tmp_path, "mnist", TRAIN_LABELS) == path


def test_a_download_with_a_wrong_checksum_is_refused_and_not_kept(
    mirror: Path, tmp_path: Path, cache: Path
) -> None:
    written(mirror / TRAIN_LABELS, b"changed on the way")
    with pytest.raises(LandscapeError, match=r"\(the checksum is not the official one\); put the"):
        find(tmp_path, "mnist", TRAIN_LABELS)
    assert not list((cache / "mnist").iterdir())


def test_a_file_that_is_not_on_the_server_is_a_failed_download(
    mirror: Path, tmp_path: Path
) -> None:
    with pytest.raises(LandscapeError, match=r"could not be downloaded .* \(HTTPError\); put"):
        find(tmp_path, "mnist", TRAIN_LABELS)
