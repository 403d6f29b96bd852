"""What an error says, in sentences."""

from __future__ import annotations

import pytest

from shared.domain import reasons
from shared.domain.errors import CelldropError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CelldropError("it is gone"), "it is gone."),
        (CelldropError("the last one: it may not be read."), "the last one: it may not be read."),
        (CelldropError("it is gone.", where="inbox/a", expected="a file."), "it is gone (inbox/a); expected a file."),
        (CelldropError("values like 0.5, 1.5..."), "values like 0.5, 1.5..."),
    ],
)
def test_a_message_ends_in_one_full_stop_whatever_it_quotes(error: CelldropError, message: str) -> None:
    assert error.message == message


def test_the_end_of_all_attempts_quotes_the_last_problem_as_it_is() -> None:
    assert reasons.exhausted("the last one: it may not be read.").message == "the last one: it may not be read."
