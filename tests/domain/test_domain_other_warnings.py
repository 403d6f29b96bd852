"""What is said of further models: every warning about a model, and its name once."""

from __future__ import annotations

import pytest

from shared.domain.verdict import Finding, OtherModel, Severity, Verdict


def finding(code: str, message: str) -> Finding:
    return Finding(code, Severity.WARNING, message)


@pytest.mark.parametrize("code", ["LOW_SCORES", "UNFAMILIAR_CELLS", "WEAK_MODEL", "MISSING_GENES", "SHALLOW_CELLS"])
def test_what_is_said_of_a_further_model_stays_where_the_main_model_has_the_same(code: str) -> None:
    same, file = finding(code, "it is only 0.30"), finding("UNKNOWN_TARGET_SUM", "the total is not known")
    verdict = Verdict(findings=(same, file), others=(OtherModel("two@1", findings=(same, file)),))
    assert [(name, one.code) for name, one in verdict.other_warnings] == [("two@1: ", code)]


def test_a_further_model_that_the_words_name_is_not_named_before_them() -> None:
    found = finding("MISSING_GENES", "the file lacks half of what two@1 tells labels apart by")
    assert Verdict(others=(OtherModel("two@1", findings=(found,)),)).other_warnings == (("", found),)
