"""Ingest decides once, whatever the bus and the stores do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Never

import pytest

from functions.ingest.schemas import parse_storage_event, requested_options
from shared.domain.errors import InputChangedError, InvalidMessageError, InvalidOptionError, UnavailableError
from shared.domain.submission import EntryKind, Requester, State, Topic
from shared.records.messages import AnnotationRequest
from tests.fakes.calls import FailNext, nothing
from tests.services.house import House, refusing_verdict


def events(house: House) -> list[dict[str, Any]]:
    return [json.loads(message.data) for message in house.bus.messages(Topic.EVENTS)]


def test_a_good_file_is_queued_and_its_job_published(house: House) -> None:
    stored = house.accept()
    assert stored.value.state is State.QUEUED
    assert stored.value.outbox == ()
    assert len(house.bus.messages(Topic.JOBS)) == 1


def test_ten_deliveries_are_one_submission_validated_once(house: House) -> None:
    ids = {house.accept().value.id for _ in range(10)}
    assert len(ids) == 1
    assert len(house.validated) == 1
    assert len(house.bus.messages(Topic.JOBS)) == 1


def test_a_refused_file_is_recorded_with_its_reason_and_told(house: House) -> None:
    house.verdict = refusing_verdict()
    record = house.accept(who="lims-7").value
    assert record.state is State.REJECTED
    assert record.failure is not None
    assert (record.failure.code, record.failure.hint) == ("NO_USABLE_MATRIX", "give counts")
    (event,) = house.bus.messages(Topic.EVENTS)
    assert b"celldrop.submission.rejected.v1" in event.data
    assert b"lims-7" in event.data
    assert house.bus.messages(Topic.JOBS) == []


def test_a_bucket_that_no_uri_could_hold_is_quoted_in_the_source(house: House) -> None:
    house.ingest.handle_request(AnnotationRequest(bucket="my bucket/☃#", name="a.h5ad", correlation_id="c"), "7")
    (event,) = events(house)
    assert event["source"] == "//celldrop/my%20bucket%2F%E2%98%83%23"
    assert event["data"]["source"]["bucket"] == "my bucket/☃#"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": "sha256:" + "0" * 64}, "MODEL_NOT_FOUND"),
        ({"model": "nobody"}, "MODEL_NOT_FOUND"),
        ({"tasks": "zero"}, "INVALID_OPTION"),
        ({"x": "1"}, "INVALID_OPTION"),
    ],
)
def test_a_request_that_cannot_be_met_is_rejected(house: House, options: dict[str, str], code: str) -> None:
    record = house.accept(options).value
    assert record.state is State.REJECTED
    assert record.failure is not None
    assert record.failure.code == code


def test_a_file_replaced_before_it_was_read_is_rejected(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*_: object) -> Never:
        raise InputChangedError("the object was replaced")

    monkeypatch.setattr(house, "verdict", None)
    ingest = replace(house.ingest, validate=changed)
    stored = ingest.submit(house.drop())
    assert stored.value.failure is not None
    assert stored.value.failure.code == "INPUT_CHANGED"


def test_a_crash_before_the_create_leaves_nothing(house: House) -> None:
    house.store.hook = FailNext("status.create", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.accept()
    assert house.store.find() == []
    assert house.accept().value.state is State.QUEUED


def test_a_create_whose_answer_was_lost_is_found_by_the_redelivery(house: House) -> None:
    house.store.hook = FailNext("status.create.done", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.accept()
    assert [entry.kind for entry in house.only().outbox] == [EntryKind.JOB, EntryKind.ACCEPTED]
    assert house.accept().value.outbox == ()
    assert len(house.bus.messages(Topic.JOBS)) == 1
    assert len(house.validated) == 1


def test_a_publish_whose_answer_was_lost_is_published_again_under_the_same_id(house: House) -> None:
    house.bus.hook = FailNext("bus.publish.done", UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        house.accept()
    house.accept()
    first, second = house.bus.messages(Topic.JOBS)
    assert (first.id, first.data) == (second.id, second.data)


def test_requesters_join_and_are_each_recorded_once(house: House) -> None:
    for who in ("a", "b", "a"):
        house.accept(who=who)
    assert [requester.correlation_id for requester in house.only().requesters] == ["a", "b"]


def test_any_number_may_ask_and_each_is_told_once_of_the_end(house: House) -> None:
    for number in range(200):
        house.accept(who=f"order-{number}")
        house.accept(who=f"order-{number // 2}")
    record = house.only()
    assert (record.pages, len(record.requesters)) == (3, 8)
    house.bus.take(Topic.EVENTS)
    house.cancel()
    house.reconcile.sweep()
    told = [[who["correlation_id"] for who in event["data"]["requesters"]] for event in events(house)]
    assert [len(names) for names in told] == [64, 64, 64, 8]
    assert sorted(name for names in told for name in names) == sorted(f"order-{number}" for number in range(200))
    assert len({event["id"] for event in events(house)}) == 4


def test_who_asks_again_and_again_costs_no_write(house: House) -> None:
    for number in range(100):
        house.accept(who=f"order-{number}")
    version = house.store.find()[0].version
    for _ in range(3):
        for number in (0, 99):
            house.accept(who=f"order-{number}")
    assert house.store.find()[0].version == version


def test_who_was_named_in_an_old_record_is_told_however_many_they_are(house: House) -> None:
    stored = house.accept()
    crowd = tuple(Requester(f"order-{number}") for number in range(1000))
    house.store.replace(replace(stored.value, requesters=crowd), if_version=stored.version)
    house.accept(who="one more")
    assert (house.only().pages, house.only().requesters) == (1, (Requester("one more"),))
    house.bus.take(Topic.EVENTS)
    house.cancel()
    house.reconcile.sweep()
    assert [len(event["data"]["requesters"]) for event in events(house)] == [1000, 1]


def test_an_accepted_submission_is_told_to_who_asked(house: House) -> None:
    record = house.accept(who="lims-7").value
    (event,) = events(house)
    assert (event["type"], event["id"]) == ("celldrop.submission.accepted.v1", f"{record.id}/accepted/1")
    assert event["data"] == {
        "schema_version": 1,
        "submission_id": record.id,
        "source": {"bucket": "inbox", "name": "sample.h5ad", "generation": house.source.generation},
        "requesters": [{"correlation_id": "lims-7", "source": ""}],
        "state": "QUEUED",
        "model": "m@1",
    }


def test_a_mere_drop_is_told_as_accepted_too(house: House) -> None:
    house.accept()
    assert [(event["type"], event["data"]["requesters"]) for event in events(house)] == [
        ("celldrop.submission.accepted.v1", [])
    ]


def test_who_joins_what_is_already_running_is_told_that_it_is_accepted(house: House) -> None:
    house.accept(who="a")
    house.deliver()
    house.later(minutes=1)
    house.accept(who="b")
    first, second = events(house)
    assert [who["correlation_id"] for who in second["data"]["requesters"]] == ["a", "b"]
    assert first["id"] != second["id"]
    assert (second["time"], second["data"]["state"]) == (first["time"], "QUEUED")


def test_an_accepted_event_says_the_same_however_late_it_is_told(house: House) -> None:
    def lose_every_answer(moment: str) -> None:
        if moment == "bus.publish.done":
            raise UnavailableError("no answer")

    house.bus.hook = lose_every_answer
    with pytest.raises(UnavailableError):
        house.accept(who="a")
    house.bus.hook = nothing
    house.later(hours=1)
    house.cancel()
    house.reconcile.sweep()
    told = [message for message in house.bus.messages(Topic.EVENTS) if "accepted" in message.attributes["ce-type"]]
    assert len(told) == 2
    assert told[0] == told[1]


def test_who_asks_after_the_end_is_told_again(house: House) -> None:
    house.verdict = refusing_verdict()
    house.accept(who="a")
    house.accept(who="b")
    first, second = house.bus.messages(Topic.EVENTS)
    assert first.id != second.id
    assert b'"b"' not in first.data
    assert b'"a"' in second.data
    assert b'"b"' in second.data


def test_a_rerun_token_makes_a_new_submission(house: House) -> None:
    house.accept()
    house.ingest.submit(house.drop(rerun="again"))
    assert len(house.store.find()) == 2


@pytest.mark.parametrize(
    "name",
    [
        "folder/",
        "gcloud/tmp/parallel_composite_uploads/see_gcloud_storage_cp_help_for_details/x_a.h5ad_0",
        "gsutil/tmp/parallel_composite_uploads/for_details_see/gsutil_help_cp/abc_a.h5ad_1",
    ],
)
def test_pieces_of_uploads_and_folders_are_not_drops(house: House, name: str) -> None:
    generation = house.blobs.write("inbox", name, [b"piece"]).ref.generation
    event = parse_storage_event({"bucket": "inbox", "name": name, "generation": str(generation)})
    assert house.ingest.data.drop_of(event) is None


def test_an_ordinary_name_is_never_taken_for_a_piece_of_an_upload(house: House) -> None:
    generation = house.blobs.write("inbox", "my_component_1.h5ad", [b"cells"]).ref.generation
    event = parse_storage_event({"bucket": "inbox", "name": "my_component_1.h5ad", "generation": str(generation)})
    assert house.ingest.data.drop_of(event) is not None


def test_options_ride_on_metadata_and_on_the_path() -> None:
    metadata = {"celldrop-top-k": "3", "celldrop-rerun": "7", "other": "x"}
    assert requested_options("lab/model=lung/a.h5ad", metadata) == ({"top_k": "3", "model": "lung"}, "7")


def test_metadata_wins_over_the_path() -> None:
    assert requested_options("model=lung/a.h5ad", {"celldrop-model": "gut"}) == ({"model": "gut"}, None)


def test_a_path_that_gives_two_main_models_is_refused_with_both() -> None:
    assert requested_options("model=lung/b/model=lung/a.h5ad", {}) == ({"model": "lung"}, None)
    with pytest.raises(InvalidOptionError, match=r"model twice, as 'lung' and 'gut' \(model=lung/Model=gut/a\.h5ad\)"):
        requested_options("model=lung/Model=gut/a.h5ad", {})


@pytest.mark.parametrize(
    "data", [None, {}, {"bucket": "b", "name": "n"}, {"bucket": "b", "name": "n", "generation": "x"}]
)
def test_a_malformed_event_is_named_as_such(data: object) -> None:
    with pytest.raises(InvalidMessageError):
        parse_storage_event(data)


def test_an_event_for_a_generation_that_is_gone_is_not_a_drop(house: House) -> None:
    stale = parse_storage_event({"bucket": "inbox", "name": "sample.h5ad", "generation": "1"})
    assert house.ingest.data.drop_of(stale) is None
