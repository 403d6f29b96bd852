"""What the platform documents or is reported to do, and what the product makes of it: a row each, with its proof."""

from __future__ import annotations

from collections.abc import Iterable

from tests.platform.behaviour import Behaviour
from tests.platform.behaviours_protocol import PROTOCOL_BEHAVIOURS
from tests.platform.behaviours_settings import SETTINGS_BEHAVIOURS

STATUS_CODES = "https://cloud.google.com/storage/docs/json_api/v1/status-codes"


_STORAGE = "platform/test_platform_storage.py::"
_DOORS = "platform/test_platform_doors.py::"
_SERVING = "status/test_serving_connections.py::"
_REFUSED = _STORAGE + "test_a_drop_that_storage_refuses_is_rejected_with_the_reason_and_what_to_do"

DOOR_BEHAVIOURS = (
    Behaviour(
        "An object under a customer-supplied key: its metadata is told (200), its bytes are not (400)",
        "https://cloud.google.com/storage/docs/encryption/customer-supplied-keys",
        "`REJECTED` `OBJECT_REFUSED`: upload it without the key",
        _REFUSED,
    ),
    Behaviour(
        "A requester pays bucket answers 400 where no project is named",
        "https://cloud.google.com/storage/docs/requester-pays",
        "`REJECTED` `OBJECT_REFUSED`: turn it off, or copy the file to the inbox",
        _REFUSED,
    ),
    Behaviour(
        "An object whose Cloud KMS key is disabled answers 400",
        "https://cloud.google.com/storage/docs/encryption/customer-managed-keys",
        "`REJECTED` `OBJECT_REFUSED`: enable the key's version",
        _REFUSED,
    ),
    Behaviour(
        "A request names what any of these three refuse",
        STATUS_CODES,
        "`REJECTED` `OBJECT_REFUSED` in an outcome event to whoever asked",
        _STORAGE + "test_a_request_for_what_storage_refuses_is_told_as_an_outcome",
    ),
    Behaviour(
        "Object names have 1,024 bytes, not characters, and no line break; anything else answers 400",
        "https://cloud.google.com/storage/docs/objects#naming",
        "A request ends as `REJECTED` `INVALID_NAME`",
        _STORAGE + "test_a_request_for_a_name_that_no_object_has_is_told_as_an_outcome",
    ),
    Behaviour(
        "A name may hold anything else: blanks, `%2F`, `//`, `..`, a tab, marks of direction, two forms of one letter",
        "https://cloud.google.com/storage/docs/objects#naming",
        "Taken as it is, dropped or asked for",
        _STORAGE + "test_an_odd_name_is_taken_as_it_is",
    ),
    Behaviour(
        "Any other 400 of an object",
        STATUS_CODES,
        "`REJECTED` `OBJECT_REFUSED` in the service's words; acknowledged",
        _STORAGE + "test_another_400_is_recorded_in_the_words_of_the_service",
    ),
    Behaviour(
        "A new grant takes minutes to be known everywhere; until then 403",
        "https://cloud.google.com/iam/docs/access-change-propagation",
        "Delivered again for an hour from when the event was sent, then `REJECTED` `ACCESS_DENIED`",
        _STORAGE + "test_a_right_that_is_missing_is_waited_for_and_then_recorded",
    ),
    Behaviour(
        "Eventarc delivers an event again for 24 hours, and then drops it",
        "https://cloud.google.com/eventarc/docs/retry-events",
        "After 20 hours (a request: 2) of a storage that does not answer: `REJECTED` `UNAVAILABLE`",
        _STORAGE + "test_a_storage_that_is_down_for_hours_still_leaves_a_record",
    ),
    Behaviour(
        "Eventarc's subscription waits ten seconds for an answer, and delivers again meanwhile",
        "https://cloud.google.com/eventarc/docs/retry-events",
        "A file that takes longer is looked at twice, and is one submission; a line of the operations guide extends it",
        "services/test_ingest_deliveries.py::"
        "test_a_delivery_while_the_first_is_still_looked_at_makes_no_second_submission",
    ),
    Behaviour(
        "Eventarc and Pub/Sub deliver again whatever is not answered 2xx, a fault of ours among it",
        "https://cloud.google.com/pubsub/docs/push",
        "Delivered again for an hour from when the event was sent, then `REJECTED` `INTERNAL`",
        _DOORS + "test_a_fault_of_ours_is_tried_again_and_recorded_before_the_event_is_gone",
    ),
    Behaviour(
        "Only the bucket with a trigger sends events; a newer object elsewhere has none",
        "https://cloud.google.com/eventarc/docs/run/route-trigger-cloud-storage",
        "`REJECTED` `INPUT_CHANGED`: a file elsewhere must be asked for again",
        _STORAGE + "test_a_file_that_was_replaced_in_a_bucket_without_a_trigger_is_to_be_asked_for_again",
    ),
    Behaviour(
        "A trigger may be made for other events of a bucket: deleted, archived, metadata updated",
        "https://cloud.google.com/eventarc/docs/reference/supported-events",
        "Acknowledged and logged: no drop, no second submission",
        _STORAGE + "test_an_event_of_a_trigger_for_something_else_is_no_drop",
    ),
    Behaviour(
        "Keys of custom metadata keep the case that they are written in",
        "https://cloud.google.com/storage/docs/metadata#custom-metadata",
        "`Celldrop-Top-K` and `celldrop_top_k` are `celldrop-top-k`; two that differ in value are refused",
        _STORAGE + "test_an_option_is_known_however_its_key_is_written",
    ),
    Behaviour(
        "gcsfuse makes an empty object first, then the whole one: two events",
        "https://github.com/GoogleCloudPlatform/gcsfuse/issues/312",
        "The empty one is refused and says so; the whole one is annotated",
        _STORAGE + "test_an_empty_first_object_of_gcsfuse_is_refused_and_the_whole_one_annotated",
    ),
    Behaviour(
        "In a mounted bucket temporary files are objects: `.gcsfuse_tmp/…`, `._x`, `.x.h5ad.Ab12Cd`, `x.part`",
        "https://github.com/GoogleCloudPlatform/gcsfuse/blob/master/docs/semantics.md",
        "Ignored by name, without a record",
        _STORAGE + "test_what_programs_make_beside_a_file_is_no_drop",
    ),
    Behaviour(
        "A CloudEvent may have any type of value anywhere, nest without end, or be no UTF-8",
        "https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md",
        "Acknowledged and logged, or taken; never 5xx",
        _DOORS + "test_whatever_is_posted_is_answered_by_decision",
    ),
    Behaviour(
        "CloudEvents may come in batches",
        "https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md",
        "Each event has its turn, whatever becomes of the others",
        _DOORS + "test_one_event_that_must_come_again_costs_a_batch_no_other",
    ),
    Behaviour(
        "A token's header and claims may hold anything until its signature is checked",
        "https://datatracker.ietf.org/doc/html/rfc8725",
        "`401`",
        _DOORS + "test_a_token_of_any_shape_is_refused",
    ),
    Behaviour(
        "Browsers, scanners and TLS clients send heads that cannot be read",
        "https://datatracker.ietf.org/doc/html/rfc9112",
        "`celldrop serve` answers 400 with a problem, and prints nothing",
        _SERVING + "test_a_head_that_cannot_be_read_is_answered_and_nothing_is_printed",
    ),
    Behaviour(
        "Clients keep connections open and say nothing",
        "https://datatracker.ietf.org/doc/html/rfc9112#section-9.5",
        "At most 64 at a time, the longest silent making room; given up after 15 s",
        _SERVING + "test_connections_that_ask_for_nothing_make_room",
    ),
    Behaviour(
        "Spreadsheets run a cell that begins with `=`, `+`, `-` or `@`",
        "https://owasp.org/www-community/attacks/CSV_Injection",
        "An apostrophe in front, in `annotations.csv.gz` alone",
        "outputs/test_outputs_merging.py::test_what_a_spreadsheet_would_run_is_neutralised_in_the_csv_alone",
    ),
    Behaviour(
        "A terminal obeys control characters, in names of files too",
        "https://cwe.mitre.org/data/definitions/150.html",
        "Spelt out, in words, logs and JSON",
        "pipeline/test_pipeline_words.py::test_no_control_character_of_a_path_reaches_the_terminal",
    ),
)

BEHAVIOURS = (*DOOR_BEHAVIOURS, *PROTOCOL_BEHAVIOURS, *SETTINGS_BEHAVIOURS)
"""All rows; who adds others adds a tuple."""

TITLE = "## What the platform does, and what becomes of it"
_HEAD = f"""
{TITLE}

This table lists behaviour of the platform that is documented or was reported, how the pipeline responds, and the test
that shows it. States, codes and HTTP statuses in the third column are compared with what the test observes; the words
around them are written by hand. The tests give the described answers to the code through stand-ins, which are written
from the sources named here. None of the answers was recorded from a project of ours; `make prove-deployment` compares
with the real platform. This command writes the table to this page:
`CELLDROP_WRITE_DOCS=1 .venv/bin/python -m pytest tests/platform -k page`.

| the platform | source | celldrop | shown by |
|---|---|---|---|
"""


def section(rows: Iterable[Behaviour] = BEHAVIOURS) -> str:
    """The section of docs/reference/faults.md."""
    return _HEAD + "".join(f"{_row(row)}\n" for row in rows)


def _row(row: Behaviour) -> str:
    source = f"[{_name(row.source)}]({row.source})" if "://" in row.source else row.source
    return f"| {row.platform} | {source} | {row.product} | `{row.proof_name}` |"


def _name(address: str) -> str:
    """A short name of a page: the site, and the last part of its path."""
    site, _, path = address.partition("://")[2].partition("/")
    last = path.partition("#")[0].rstrip("/").rpartition("/")[2]
    return f"{site.removeprefix('www.').partition('.')[0]}: {last.removesuffix('.html').removesuffix('.md')}"
