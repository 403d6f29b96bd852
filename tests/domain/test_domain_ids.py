"""A submission's id: stable over duplicate deliveries, different over anything that matters."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.submission import ObjectRef, submission_id

TEXT = st.text(min_size=1, max_size=20)
OPTIONS = st.dictionaries(st.sampled_from(["model", "tasks", "scores", "matrix"]), TEXT, max_size=4)
SOURCES = st.builds(ObjectRef, TEXT, TEXT, st.integers(0, 2**60))
IDENTITY = st.tuples(SOURCES, OPTIONS, st.none() | TEXT)


@given(IDENTITY)
def test_the_same_request_has_the_same_id_whatever_the_order_of_its_options(
    request: tuple[ObjectRef, dict[str, str], str | None],
) -> None:
    source, options, rerun = request
    again = dict(reversed(options.items()))
    assert submission_id(source, options, rerun) == submission_id(source, again, rerun)


@given(IDENTITY, IDENTITY)
def test_requests_that_differ_in_anything_have_different_ids(
    one: tuple[ObjectRef, dict[str, str], str | None], other: tuple[ObjectRef, dict[str, str], str | None]
) -> None:
    assume(one != other)
    assert submission_id(*one) != submission_id(*other)


def test_an_id_never_changes_between_releases() -> None:
    source = ObjectRef("inbox", "sample.h5ad", 1700000000000000)
    assert submission_id(source, {"model": "pbmc-sorted"}) == "97101b03b299338c3b01460aae933ebd"


def test_ids_are_safe_as_names_of_folders_and_documents() -> None:
    assert submission_id(ObjectRef("b", "../x", 1), {}).isalnum()
