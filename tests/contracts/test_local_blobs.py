"""What the directory blob store promises beyond the contract: names, hands, crashes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.local.blobs import DirectoryBlobStore
from shared.adapters.local.names import is_keepable, path_of
from shared.domain.errors import (
    BlobNotFoundError,
    InternalError,
    InvalidNameError,
    SettingsError,
    UnavailableError,
)
from shared.domain.submission import ObjectRef
from shared.ports.blobs import ByteRange

CRASHER = Path(__file__).with_name("crash_at_every_step.py")
HOSTILE = [
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "a/",
    "",
    ".",
    "a/./b",
    ".celldrop/locks/00",
    "a/.hidden",
    "a\0b",
    "a\nb",
    "\udcff",
    "ä" * 128,
    "/".join(["a" * 200] * 6),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def store(root: Path) -> DirectoryBlobStore:
    return DirectoryBlobStore({"results": root})


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def dropped(inbox: Path) -> DirectoryBlobStore:
    return DirectoryBlobStore({"inbox": inbox}, in_place=frozenset({"inbox"}))


# --- Names ---


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_and_touches_nothing(store: DirectoryBlobStore, tmp_path: Path, name: str) -> None:
    for attempt in (
        lambda: store.write("results", name, [b"x"]),
        lambda: store.stat("results", name),
        lambda: store.read(ObjectRef("results", name, 1)),
        lambda: store.delete("results", name),
    ):
        with pytest.raises(InvalidNameError) as caught:
            attempt()
        assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=30))
def test_every_name_is_kept_inside_or_refused(name: str) -> None:
    root = Path("/srv/results")
    try:
        path = path_of(root, name, hidden=False)
    except InvalidNameError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(root)
    assert path.relative_to(root).as_posix() == name


@pytest.mark.parametrize("prefix", ["../", "/etc/", "a/../../", "..", "/"])
def test_a_prefix_lists_nothing_outside(store: DirectoryBlobStore, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    store.write("results", "a/x", [b"x"])
    assert list(store.list("results", prefix)) == []


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a")])
def test_a_name_cannot_be_both_a_folder_and_an_object(store: DirectoryBlobStore, first: str, second: str) -> None:
    store.write("results", first, [b"kept"])
    with pytest.raises(InvalidNameError, match="both a folder and an object"):
        store.write("results", second, [b"lost"])
    assert [info.ref.name for info in store.list("results")] == [first]


def test_an_unknown_bucket_is_named_with_those_that_are_known(store: DirectoryBlobStore) -> None:
    with pytest.raises(BlobNotFoundError, match="expected one of results"):
        store.stat("nowhere", "x")


# --- Objects as files ---


def test_a_person_sees_only_the_objects(store: DirectoryBlobStore, root: Path) -> None:
    store.write("results", "id/report.html", [b"<p>"])
    store.write("results", "id/report.html", [b"<p>again"])
    assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == ["id"]
    assert [path.name for path in (root / "id").iterdir()] == ["report.html"]


def test_a_file_changed_by_hand_is_another_generation_without_checksum(store: DirectoryBlobStore, root: Path) -> None:
    info = store.write("results", "x", [b"ours"], content_type="text/plain", metadata={"k": "v"})
    (root / "x").write_bytes(b"mine")
    found = store.stat("results", "x")
    assert found.ref != info.ref
    assert (found.crc32c, found.metadata, store.read(found.ref)) == (None, {}, b"mine")
    with pytest.raises(BlobNotFoundError):
        store.read(info.ref)


def test_a_file_put_by_hand_can_be_replaced_over_its_generation(store: DirectoryBlobStore, root: Path) -> None:
    root.mkdir()
    (root / "x").write_bytes(b"mine")
    found = store.stat("results", "x")
    replaced = store.write("results", "x", [b"ours"], if_generation=found.ref.generation)
    assert store.read(replaced.ref) == b"ours"


def test_reading_a_folder_makes_nothing_in_it(store: DirectoryBlobStore, root: Path) -> None:
    root.mkdir()
    (root / "x").write_bytes(b"mine")
    store.read(store.stat("results", "x").ref)
    assert [info.ref.name for info in store.list("results")] == ["x"]
    assert [path.name for path in root.iterdir()] == ["x"]


def test_a_deleted_objects_empty_folders_go_with_it(store: DirectoryBlobStore, root: Path) -> None:
    store.write("results", "a/b/c", [b"x"])
    store.write("results", "a/d", [b"x"])
    store.delete("results", "a/b/c")
    assert [path.name for path in (root / "a").iterdir()] == ["d"]


def test_a_moved_bucket_keeps_its_generations(store: DirectoryBlobStore, root: Path, tmp_path: Path) -> None:
    info = store.write("results", "x", [b"data"], metadata={"k": "v"})
    subprocess.run(["cp", "-a", root, tmp_path / "restored"], check=True)
    restored = DirectoryBlobStore({"results": tmp_path / "restored"})
    assert restored.stat("results", "x") == info


@pytest.mark.parametrize("times", [[5, 5, 5, 5], [9, 5, 1, 9]], ids=["one tick", "set back"])
def test_generations_grow_whatever_the_clock_says(root: Path, times: list[int]) -> None:
    left = iter(t * 1000 for t in times)
    store = DirectoryBlobStore({"b": root}, clock_ns=lambda: next(left))
    generations = []
    for _ in times:
        generations.append(store.write("b", "x", [b"same"]).ref.generation)
        store.delete("b", "x")
    assert generations == sorted(set(generations))


def test_what_is_kept_hidden_does_not_grow_with_overwriting(store: DirectoryBlobStore, root: Path) -> None:
    for _ in range(5):
        store.write("results", "x", [b"same"])
    hidden = [path for path in (root / ".celldrop").rglob("*") if path.is_file() and path.parent.name != "locks"]
    assert len(hidden) == 1


# --- Folders that are only read ---


def test_a_dropped_file_is_read_where_it_lies(dropped: DirectoryBlobStore, inbox: Path) -> None:
    (inbox / "s.h5ad").write_bytes(b"0123456789")
    first, second = dropped.stat("inbox", "s.h5ad"), dropped.stat("inbox", "s.h5ad")
    assert first == second
    assert (first.size_bytes, first.crc32c, first.metadata) == (10, None, {})
    assert dropped.read_many(first.ref, [ByteRange(5, 2), ByteRange(0, 1)]) == [b"56", b"0"]
    assert [path.name for path in inbox.iterdir()] == ["s.h5ad"]


def test_generations_of_dropped_files_are_exact_in_javascript(dropped: DirectoryBlobStore, inbox: Path) -> None:
    (inbox / "s.h5ad").write_bytes(b"x")
    assert 2**52 <= dropped.stat("inbox", "s.h5ad").ref.generation < 2**53


def _rewrite(path: Path) -> None:
    path.write_bytes(b"changed!")


def _swap(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _set_back(path: Path) -> None:
    """Other bytes of the same number, and the old times."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(b"changed!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_rewrite, _swap, _touch, _set_back, Path.unlink])
def test_a_dropped_file_that_changed_cannot_be_read_as_it_was(
    dropped: DirectoryBlobStore, inbox: Path, change: object
) -> None:
    path = inbox / "s.h5ad"
    path.write_bytes(b"original")
    pinned = dropped.stat("inbox", "s.h5ad").ref
    assert callable(change)
    change(path)
    with pytest.raises(BlobNotFoundError):
        dropped.read(pinned, ByteRange(0, 4))


def test_a_file_that_gets_another_name_meanwhile_stays_the_same(
    dropped: DirectoryBlobStore, inbox: Path, tmp_path: Path
) -> None:
    path = inbox / "s.h5ad"
    path.write_bytes(b"original")
    (tmp_path / "first").hardlink_to(path)
    pinned = dropped.stat("inbox", "s.h5ad").ref
    (tmp_path / "second").hardlink_to(path)
    assert dropped.read(pinned) == b"original"


def test_a_dropped_file_that_changes_under_the_read_is_noticed(
    dropped: DirectoryBlobStore, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inbox / "s.h5ad"
    path.write_bytes(b"original")
    pinned = dropped.stat("inbox", "s.h5ad").ref
    pread = os.pread

    def slow_pread(descriptor: int, n: int, offset: int) -> bytes:
        path.write_bytes(b"x")
        return pread(descriptor, n, offset)

    monkeypatch.setattr(os, "pread", slow_pread)
    with pytest.raises(BlobNotFoundError):
        dropped.read(pinned)


def test_a_bucket_that_is_only_read_is_never_written(dropped: DirectoryBlobStore, inbox: Path) -> None:
    with pytest.raises(InternalError):
        dropped.write("inbox", "x", [b"x"])
    with pytest.raises(InternalError):
        dropped.delete("inbox", "x")
    assert list(inbox.iterdir()) == []


def test_the_whole_disk_can_be_a_bucket(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    path = tmp_path / ".cache" / "größe.h5ad"
    path.write_bytes(b"data")
    store = DirectoryBlobStore({"files": Path("/")}, in_place=frozenset({"files"}))
    info = store.stat("files", str(path).removeprefix("/"))
    assert store.read(info.ref) == b"data"


def test_only_files_in_sight_are_listed(dropped: DirectoryBlobStore, inbox: Path) -> None:
    (inbox / "a.h5ad").write_bytes(b"x")
    (inbox / ".a.h5ad.part").write_bytes(b"x")
    (inbox / "model=pbmc").mkdir()
    (inbox / "model=pbmc" / "b.h5ad").symlink_to(inbox / "a.h5ad")
    (inbox / "circle").symlink_to(inbox)
    os.mkfifo(inbox / "pipe")
    os.close(os.open(os.fsencode(inbox) + b"/\xff.h5ad", os.O_CREAT | os.O_WRONLY))
    assert [info.ref.name for info in dropped.list("inbox")] == ["a.h5ad", "model=pbmc/b.h5ad"]
    assert [info.ref.name for info in dropped.list("inbox", "model=")] == ["model=pbmc/b.h5ad"]


# --- Folders that other users put files in ---


@pytest.fixture
def guarded(inbox: Path) -> DirectoryBlobStore:
    return DirectoryBlobStore({"inbox": inbox}, dropped=frozenset({"inbox"}))


def test_a_file_in_a_folder_is_read_without_links_too(guarded: DirectoryBlobStore, inbox: Path) -> None:
    (inbox / "a" / "b").mkdir(parents=True)
    (inbox / "a" / "b" / "s.h5ad").write_bytes(b"data")
    (info,) = guarded.list("inbox")
    assert info == guarded.stat("inbox", "a/b/s.h5ad")
    assert guarded.read_many(info.ref, [ByteRange(2, 2), ByteRange(0, 1)]) == [b"ta", b"d"]


@pytest.mark.parametrize("name", ["link", "folder/s.h5ad", "circle", "dangling", "pipe"])
def test_a_link_is_no_object_where_others_put_files(
    guarded: DirectoryBlobStore, inbox: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "s.h5ad").write_bytes(b"private")
    (inbox / "link").symlink_to(tmp_path / "s.h5ad")
    (inbox / "folder").symlink_to(tmp_path)
    (inbox / "circle").symlink_to(inbox / "circle")
    (inbox / "dangling").symlink_to("nowhere")
    os.mkfifo(inbox / "pipe")
    pinned = DirectoryBlobStore({"b": tmp_path}, frozenset({"b"})).stat("b", "s.h5ad").ref.generation
    with pytest.raises(BlobNotFoundError):
        guarded.stat("inbox", name)
    with pytest.raises(BlobNotFoundError):
        guarded.read(ObjectRef("inbox", name, pinned))
    assert list(guarded.list("inbox")) == []


def test_an_inbox_that_became_a_link_holds_nothing(guarded: DirectoryBlobStore, inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "s.h5ad").write_bytes(b"private")
    inbox.rmdir()
    inbox.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BlobNotFoundError):
        guarded.stat("inbox", "s.h5ad")


def test_reading_without_links_keeps_no_file_open(guarded: DirectoryBlobStore, inbox: Path) -> None:
    (inbox / "a").mkdir()
    (inbox / "a" / "s.h5ad").write_bytes(b"data")
    before = len(list(Path("/dev/fd").iterdir()))
    for name in ("a/s.h5ad", "a/b/missing", "missing/x", "a"):
        with suppress(BlobNotFoundError):
            guarded.read(guarded.stat("inbox", name).ref)
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("name", ["pipe", "folder"])
def test_what_is_no_file_is_no_object(dropped: DirectoryBlobStore, inbox: Path, name: str) -> None:
    os.mkfifo(inbox / "pipe")
    (inbox / "folder").mkdir()
    with pytest.raises(BlobNotFoundError):
        dropped.stat("inbox", name)
    with pytest.raises(BlobNotFoundError):
        dropped.read(ObjectRef("inbox", name, 1))


# --- When something breaks ---


def test_killed_at_any_step_a_write_leaves_the_old_object_or_the_new(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, CRASHER, tmp_path / "b"], check=True, capture_output=True, timeout=120)
    outcome = json.loads(run.stdout)
    found: list[str] = outcome["found"]
    n_old = found.count("old")
    assert n_old > 5
    assert found == ["old"] * n_old + ["new"] * (len(found) - n_old)
    assert set(outcome["drafts"]) == {0}
    # The card of the object itself, and at most one for each writer that was killed.
    grown = [after - before for before, after in pairwise(outcome["cards"])]
    assert outcome["cards"][0] == 1
    assert set(grown) == {0, 1}
    assert sum(grown) < 5


def test_a_living_writer_is_left_alone(store: DirectoryBlobStore, root: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first "
        DirectoryBlobStore({"results": root}).write("results", "y", [b"another process's first write"])
        yield b"second"

    info = store.write("results", "x", chunks())
    assert store.read(info.ref) == b"first second"
    assert store.stat("results", "x") == info


@pytest.mark.parametrize("left", [b"", b"\0" * 20, b"x" * 20, b"9" * 20, b"12\0", b"\xff" * 400])
def test_a_lock_whose_content_was_lost_does_not_stop_writing(
    store: DirectoryBlobStore, root: Path, left: bytes
) -> None:
    first = store.write("results", "x", [b"first"])
    for path in (root / ".celldrop" / "locks").iterdir():
        path.write_bytes(left)
    back = DirectoryBlobStore({"results": root}, clock_ns=lambda: 1_000_000)
    second = back.write("results", "x", [b"second"], if_generation=first.ref.generation)
    assert second.ref.generation > first.ref.generation
    assert back.read(second.ref) == b"second"


def test_a_lock_that_is_a_link_is_not_written_through(store: DirectoryBlobStore, root: Path, tmp_path: Path) -> None:
    store.write("results", "x", [b"first"])
    (tmp_path / "precious").write_bytes(b"precious")
    for path in (root / ".celldrop" / "locks").iterdir():
        path.unlink()
        path.symlink_to(tmp_path / "precious")
    with pytest.raises(UnavailableError):
        store.write("results", "x", [b"second"])
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_what_dead_writers_left_is_swept_at_the_next_first_write(store: DirectoryBlobStore, root: Path) -> None:
    leftover = root / ".celldrop" / "drafts" / "dead"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    store.write("results", "x", [b"x"])
    assert list(leftover.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.ENOSPC, "Free some space"), (errno.EROFS, "writable"), (errno.EIO, "Check the disk")]
)
def test_a_disk_that_refuses_is_said_with_what_to_do(
    store: DirectoryBlobStore, monkeypatch: pytest.MonkeyPatch, code: int, hint: str
) -> None:
    old = store.write("results", "x", [b"old"])

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UnavailableError) as caught:
        store.write("results", "x", [b"new"])
    assert hint in caught.value.hint
    assert store.read(old.ref) == b"old"


def test_a_bucket_whose_place_is_taken_by_a_file_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    store = DirectoryBlobStore({"b": tmp_path / "taken"})
    with pytest.raises(UnavailableError):
        store.write("b", "x", [b"x"])
    assert list(store.list("b")) == []


def test_a_disk_that_keeps_coarse_times_is_refused(store: DirectoryBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    utime = os.utime

    def coarse(path: int, *, ns: tuple[int, int]) -> None:
        utime(path, ns=(ns[0] // 10**9 * 10**9, ns[1] // 10**9 * 10**9))

    monkeypatch.setattr(os, "utime", coarse)
    with pytest.raises(SettingsError, match="microsecond"):
        store.write("results", "x", [b"x"])
    assert list(store.list("results")) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("n" * 255, True),
        ("n" * 256, False),
        ("\u00e9" * 127 + "n", True),
        ("\u00e9" * 128, False),
        ("/".join(["n" * 204] * 5), True),
        ("/".join(["n" * 204] * 5) + "n", False),
    ],
    ids=["segment", "longer segment", "segment of two bytes", "longer of two bytes", "name", "longer name"],
)
def test_a_name_may_be_as_long_as_cloud_storage_and_file_systems_let_it(name: str, kept: bool) -> None:
    assert is_keepable(name, hidden=False) is kept


def test_a_hidden_name_may_be_longer_than_cloud_storage_lets_it() -> None:
    assert is_keepable("/".join(["n" * 255] * 5), hidden=True)
