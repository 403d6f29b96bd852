"""The watched folder: each generation of each file is told once, and only when it is whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.inbox import SETTLE_S, Inbox
from shared.domain.errors import InputNotFoundError
from shared.domain.temporary import TEMPORARY_SUFFIXES


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def test_an_empty_folder_has_no_drops(inbox: Inbox) -> None:
    assert inbox.poll(0.0) == []


def test_a_file_is_told_once_it_has_settled(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    assert [inbox.poll(now) for now in (10.0, 11.0, 11.9, 12.0, 13.0, 99.0)] == [[], [], [], [path], [], []]


def test_a_file_that_grows_is_not_told(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    for second in range(20):
        path.write_bytes(b"x" * (second + 1))
        assert inbox.poll(float(second)) == []
    assert inbox.poll(19.0 + SETTLE_S) == [path]


def test_a_file_rewritten_at_the_same_size_is_not_told(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    inbox.poll(0.0)
    os.utime(path, ns=(1, 1))
    assert inbox.poll(2.0) == []
    assert inbox.poll(4.0) == [path]


def test_a_file_rewritten_at_the_same_size_whose_time_was_set_back_is_told_again(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    before = path.stat()
    assert [inbox.poll(now) for now in (0.0, 2.0, 3.0)] == [[], [path], []]
    _rewritten(path, b"xyz", before)
    assert [inbox.poll(now) for now in (4.0, 6.0, 7.0)] == [[], [path], []]


def _rewritten(path: Path, data: bytes, before: os.stat_result) -> None:
    """In place, with the old times set again, once the clock has moved on."""
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_gets_another_name_elsewhere_is_not_told_again(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.root.mkdir()
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    (tmp_path / "first").hardlink_to(path)
    inbox.poll(0.0)
    assert inbox.poll(2.0) == [path]
    (tmp_path / "second").hardlink_to(path)
    assert [inbox.poll(now) for now in (3.0, 6.0)] == [[], []]


def test_an_old_file_is_given_its_time_too(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    os.utime(path, (0, 0))
    assert inbox.poll(0.0) == []
    assert inbox.poll(2.0) == [path]


@pytest.mark.parametrize("suffix", TEMPORARY_SUFFIXES)
def test_a_file_renamed_into_place_is_told_at_once(inbox: Inbox, suffix: str) -> None:
    temporary = inbox.root / f"a.h5ad{suffix}"
    temporary.write_bytes(b"abc")
    assert inbox.poll(0.0) == []
    final = temporary.rename(inbox.root / "a.h5ad")
    assert inbox.poll(0.1) == [final]
    assert inbox.poll(9.0) == []


def test_a_file_renamed_while_it_still_grows_is_not_told(inbox: Inbox) -> None:
    temporary = inbox.root / "a.part"
    temporary.write_bytes(b"abc")
    inbox.poll(0.0)
    final = temporary.rename(inbox.root / "a.h5ad")
    final.write_bytes(b"abcd")
    assert inbox.poll(0.1) == []
    assert inbox.poll(2.1) == [final]


def test_a_second_name_of_a_file_being_written_is_not_told_at_once(inbox: Inbox) -> None:
    temporary = inbox.root / "a.part"
    temporary.write_bytes(b"abc")
    inbox.poll(0.0)
    os.link(temporary, inbox.root / "a.h5ad")
    assert inbox.poll(0.1) == []


def test_temporary_names_are_never_told(inbox: Inbox) -> None:
    for name in ("a.h5ad.part", "b.CRDOWNLOAD", "c.h5ad~", "d.tmp", ".hidden.h5ad", ".celldrop"):
        (inbox.root / name).write_bytes(b"abc")
    assert [inbox.poll(now) for now in (0.0, 5.0)] == [[], []]


def test_folders_are_watched_too_but_not_hidden_ones(inbox: Inbox) -> None:
    for folder in ("model=lung/day 1", ".trash/old", "deep/.git"):
        (inbox.root / folder).mkdir(parents=True)
        (inbox.root / folder / "a.h5ad").write_bytes(b"abc")
    inbox.poll(0.0)
    assert inbox.poll(2.0) == [inbox.root / "model=lung/day 1/a.h5ad"]


def test_a_replaced_file_is_told_again(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    inbox.poll(0.0)
    assert inbox.poll(2.0) == [path]
    path.write_bytes(b"defg")
    assert inbox.poll(3.0) == []
    assert inbox.poll(5.0) == [path]


def test_a_file_replaced_by_renaming_is_told_at_once(inbox: Inbox) -> None:
    path, new = inbox.root / "a.h5ad", inbox.root / "a.h5ad.tmp"
    path.write_bytes(b"abc")
    inbox.poll(0.0)
    inbox.poll(2.0)
    new.write_bytes(b"new")
    inbox.poll(3.0)
    new.rename(path)
    assert inbox.poll(3.5) == [path]


def test_a_file_that_could_not_be_taken_can_be_told_again(inbox: Inbox) -> None:
    path = inbox.root / "a.h5ad"
    path.write_bytes(b"abc")
    inbox.poll(0.0)
    assert inbox.poll(2.0) == [path]
    inbox.forget(path)
    assert inbox.poll(2.5) == [path]
    assert inbox.poll(3.0) == []


def test_forgetting_what_is_not_there_is_fine(inbox: Inbox) -> None:
    inbox.forget(inbox.root / "nothing.h5ad")
    assert inbox.poll(0.0) == []


def test_several_files_are_told_in_order(inbox: Inbox) -> None:
    for name in ("c.h5ad", "a.h5ad", "b/d.h5ad"):
        (inbox.root / name).parent.mkdir(exist_ok=True)
        (inbox.root / name).write_bytes(b"abc")
    inbox.poll(0.0)
    assert inbox.poll(2.0) == [inbox.root / name for name in ("a.h5ad", "b/d.h5ad", "c.h5ad")]


def test_links_and_pipes_are_not_drops(inbox: Inbox, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret.h5ad").write_bytes(b"abc")
    (inbox.root / "link.h5ad").symlink_to(elsewhere / "secret.h5ad")
    (inbox.root / "folder").symlink_to(elsewhere)
    (inbox.root / "loop").symlink_to(inbox.root)
    (inbox.root / "dangling.h5ad").symlink_to("nowhere")
    os.mkfifo(inbox.root / "pipe.h5ad")
    assert [inbox.poll(now) for now in (0.0, 5.0)] == [[], []]


def test_names_that_no_object_can_have_are_not_drops(inbox: Inbox) -> None:
    for name in (b"latin-\xe9.h5ad", b"line\nbreak.h5ad"):
        Path(os.fsdecode(os.fsencode(inbox.root) + b"/" + name)).write_bytes(b"abc")
    path = inbox.root / "größe \u202f1.h5ad"
    path.write_bytes(b"abc")
    inbox.poll(0.0)
    assert inbox.poll(2.0) == [path]


def test_a_folder_that_is_gone_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError) as caught:
        Inbox(tmp_path / "gone").poll(0.0)
    assert caught.value.hint


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "rename", "remove", "wait"]),
        st.sampled_from(["a.h5ad", "b.h5ad", "a.part"]),
        st.floats(0.0, 3.0),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_each_generation_is_told_at_most_once_and_in_the_end(
    steps: list[tuple[str, str, float]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inbox, now, told = Inbox(Path(folder)), 0.0, list[tuple[str, bytes]]()

        def poll() -> None:
            told.extend((path.name, path.read_bytes()) for path in inbox.poll(now))

        for n, (action, name, seconds) in enumerate(steps):
            _act(inbox.root, action, name, content=f"{n}".encode())
            now += seconds
            poll()
        for _ in range(2):
            now += SETTLE_S
            poll()
        there = {(path.name, path.read_bytes()) for path in inbox.root.iterdir() if path.suffix == ".h5ad"}
        assert there <= set(told)
        assert len(told) == len(set(told))
        assert all(name.endswith(".h5ad") for name, _ in told)


def _act(root: Path, action: str, name: str, *, content: bytes) -> None:
    path = root / name
    match action:
        case "write":
            path.write_bytes(content)
        case "rename" if path.exists():
            path.rename(root / "b.h5ad")
        case "remove":
            path.unlink(missing_ok=True)


def test_what_is_no_drop_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link.h5ad").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".hidden.h5ad").touch()
    (tmp_path / "a\nb.h5ad").touch()
    os.mkfifo(tmp_path / "pipe.h5ad")
    inbox = Inbox(tmp_path)
    assert inbox.poll(0.0) == []
    why = {str(path.relative_to(tmp_path)): words for path, words in inbox.ignored.items()}
    assert why == {
        "sub/link.h5ad": "it is a link; copy the file itself into the inbox",
        "a\nb.h5ad": "its name has a line break or is not UTF-8; rename it",
        "pipe.h5ad": "it is neither a file nor a folder",
    }
    (tmp_path / "sub" / "link.h5ad").unlink()
    inbox.poll(1.0)
    assert len(inbox.ignored) == 2
