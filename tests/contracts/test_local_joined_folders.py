"""Two folders as one bucket: both are listed and read, and of two files with one name the first folder's counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.local.blobs import DirectoryBlobStore
from shared.domain.errors import BlobNotFoundError


@pytest.fixture
def store(tmp_path: Path) -> DirectoryBlobStore:
    for name, text in {
        "first/a/1/x": "1",
        "first/b": "1",
        "second/a/2/x": "2",
        "second/b": "2",
        "second/.c": "2",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    roots, beside = {"models": tmp_path / "first"}, {"models": tmp_path / "second"}
    return DirectoryBlobStore(roots, frozenset(roots), beside=beside)


def test_the_files_of_both_folders_are_listed_once_and_sorted(store: DirectoryBlobStore) -> None:
    assert [info.ref.name for info in store.list("models")] == ["a/1/x", "a/2/x", "b"]
    assert [info.ref.name for info in store.list("models", "a/2")] == ["a/2/x"]


@pytest.mark.parametrize(("name", "text"), [("a/1/x", b"1"), ("a/2/x", b"2"), ("b", b"1")])
def test_a_file_is_read_from_the_folder_that_has_it(store: DirectoryBlobStore, name: str, text: bytes) -> None:
    assert store.read(store.stat("models", name).ref) == text


def test_a_file_that_neither_folder_has_is_not_found(store: DirectoryBlobStore) -> None:
    with pytest.raises(BlobNotFoundError):
        store.stat("models", "a/3/x")


def test_folders_that_do_not_exist_are_empty(tmp_path: Path) -> None:
    roots = {"models": tmp_path / "none"}
    assert list(DirectoryBlobStore(roots, frozenset(roots), beside=roots).list("models")) == []
