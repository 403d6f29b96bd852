"""Which object names can be files, and why others cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.local.names import is_keepable, path_of
from shared.domain.errors import InvalidNameError

ROOT = Path("/srv/results")


@pytest.mark.parametrize("name", ["a", "a/b", "a.b/c..d", "a b/ü", "a" * 255, "...", "a\\b"])
def test_a_name_is_a_path_below_the_root(name: str) -> None:
    hidden = name.startswith(".")
    assert path_of(ROOT, name, hidden=hidden) == ROOT / name
    assert is_keepable(name, hidden=hidden)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "has the segment ''"),
        ("/etc", "has the segment ''"),
        ("a//b", "has the segment ''"),
        ("a/", "has the segment ''"),
        (".", "has the segment '.'"),
        ("a/..", "has the segment '..'"),
        ("../a", "has the segment '..'"),
        ("a\0b", "contains a line break or a NUL"),
        ("a\nb", "contains a line break or a NUL"),
        ("a\rb", "contains a line break or a NUL"),
        ("a\udc80", "is not UTF-8"),
        ("a/" + "ü" * 128, "has a segment of 256 bytes, over 255"),
    ],
)
@pytest.mark.parametrize("hidden", [False, True])
def test_a_name_that_no_file_below_the_root_can_have_is_refused(name: str, problem: str, *, hidden: bool) -> None:
    assert not is_keepable(name, hidden=hidden)
    with pytest.raises(InvalidNameError) as caught:
        path_of(ROOT, name, hidden=hidden)
    assert f" {problem}" in caught.value.found
    assert caught.value.where == str(ROOT)


@pytest.mark.parametrize("name", [".a", "a/.b", "a/.b/c"])
def test_a_hidden_name_is_for_the_program_itself(name: str) -> None:
    assert path_of(ROOT, name, hidden=True) == ROOT / name
    with pytest.raises(InvalidNameError, match="reserved"):
        path_of(ROOT, name, hidden=False)


def test_a_long_name_is_shown_in_part() -> None:
    with pytest.raises(InvalidNameError) as caught:
        path_of(ROOT, "n" * 201 + "/." + "h" * 41, hidden=False)
    assert f"'{'n' * 200}'" in caught.value.found
    assert f"'.{'h' * 39}'" in caught.value.found


def test_a_name_is_as_long_as_cloud_storage_lets_it() -> None:
    longest = "/".join(["n" * 204] * 5)
    assert len(longest) == 1024
    assert is_keepable(longest, hidden=False)
    with pytest.raises(InvalidNameError, match="is 1025 bytes long, over 1024"):
        path_of(ROOT, longest + "n", hidden=False)
    assert is_keepable(longest + "n", hidden=True)
