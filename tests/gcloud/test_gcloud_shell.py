"""What is read out of a piece of shell are the commands that a shell would run."""

from __future__ import annotations

import pytest

from tests.gcloud.shell import ANSWER, ShellError, commands_of


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ("a b  c", [["a", "b", "c"]]),
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a \\\n  b\nc", [["a", "b"], ["c"]]),
        ("a && b || c; d | e & f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("a # it's b\nc#d", [["a"], ["c#d"]]),
        ("X=1 Y='2 3' a", [["a"]]),
        ("X=$(a 'b c') d", [["a", "b c"], ["d"]]),
        ('a --b="c:$(d "e f")"', [["d", "e f"], ["a", f"--b=c:{ANSWER}"]]),
        ("a $(b (c) d) e", [["b"], ["c"], ["d"], ["a", ANSWER, "e"]]),
        ("a '$(b)' # $(c)", [["a", "$(b)"]]),
        ("a >b 2>&1 c <d", [["a", "c"]]),
        ("if ! a; then b; else c; fi", [["a"], ["b"], ["c"], ["fi"]]),
        ('a "$X" ${Y:-z}', [["a", "$X", "${Y:-z}"]]),
        ("", []),
    ],
)
def test_commands_are_read_as_a_shell_reads_them(script: str, commands: list[list[str]]) -> None:
    assert list(commands_of(script)) == commands


@pytest.mark.parametrize("script", ["a 'b", 'a "b'])
def test_a_quote_that_is_not_closed_is_an_error(script: str) -> None:
    with pytest.raises(ShellError, match="expected the quote to be closed"):
        list(commands_of(script))
