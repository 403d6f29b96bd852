"""Options are read from text, or refused with what they take."""

from __future__ import annotations

from dataclasses import fields

import pytest

from shared.domain.errors import InvalidOptionError
from shared.domain.options import PARSERS, Options, Scores, parse_options
from shared.domain.plan import Objective


def test_every_option_has_a_parser_and_every_parser_an_option() -> None:
    assert set(PARSERS) == {field.name for field in fields(Options)}


def test_nothing_asked_for_gives_the_defaults() -> None:
    assert parse_options({}) == Options(
        model=None,
        matrix=None,
        scores=Scores.TOP,
        tasks=None,
        top_k=5,
        min_score=None,
        composition=True,
        max_error=0.05,
        map=True,
        objective=Objective.DEADLINE,
        truth=None,
    )


def test_every_option_is_read() -> None:
    asked = {
        "model": "m@1", "matrix": "raw", "scores": "full", "tasks": "7", "top_k": "3", "min_score": "0.5", "map": "off",
        "objective": "fastest", "composition": "off", "max_error": "0.1", "truth": "louvain",
    }  # fmt: skip
    assert parse_options(asked) == Options(
        "m@1",
        "raw",
        Scores.FULL,
        7,
        3,
        0.5,
        composition=False,
        max_error=0.1,
        map=False,
        objective=Objective.FASTEST,
        truth="louvain",
    )


@pytest.mark.parametrize(("asked", "columns"), [({}, {}), ({"truth": "off"}, {}), ({"truth": "x"}, {"truth": "x"})])
def test_the_columns_that_options_name_are_known(asked: dict[str, str], columns: dict[str, str]) -> None:
    assert parse_options(asked).columns == columns


@pytest.mark.parametrize(
    ("asked", "told_apart_by"),
    [
        ({}, None),
        ({"pseudobulk": "on"}, None),
        ({"pseudobulk": "on", "samples": "donor"}, "donor"),
        ({"pseudobulk": "batch", "samples": "donor"}, "batch"),
    ],
)
def test_pseudobulk_uses_the_column_of_samples_unless_it_names_its_own(
    asked: dict[str, str], told_apart_by: str | None
) -> None:
    options = parse_options(asked)
    assert options.pseudobulk_column == told_apart_by
    assert set(options.columns.values()) == set(asked.values()) - {"on"}


@pytest.mark.parametrize("name", ["map", "composition"])
def test_a_switch_is_on_or_off(name: str) -> None:
    assert getattr(parse_options({name: "on"}), name) is True
    assert getattr(parse_options({name: "off"}), name) is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("tasks", number) for number in ("1", "10000")),
        *(("top_k", number) for number in ("1", "100")),
        *(("min_score", number) for number in ("0", "1")),
        *((name, "m" * length) for name in ("model", "matrix", "truth") for length in (1, 200)),
    ],
)
def test_an_option_at_its_limit_is_taken(name: str, value: str) -> None:
    assert str(getattr(parse_options({name: value}), name)) in {value, f"{value}.0"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tasks", "0"),
        ("tasks", "10001"),
        ("top_k", "0"),
        ("min_score", "-0.01"),
        ("min_score", "1.01"),
        ("model", "m" * 201),
        ("matrix", "m" * 201),
        ("truth", "m" * 201),
        ("tasks", "many"),
        ("scores", "some"),
        ("min_score", "1.5"),
        ("min_score", "nan"),
        ("top_k", "101"),
        ("map", "maybe"),
        ("objective", "best"),
        ("model", ""),
        ("modle", "x"),
    ],
)
def test_a_bad_option_is_refused_with_what_was_expected(name: str, value: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        parse_options({name: value})
    assert name in caught.value.message
    assert caught.value.expected
