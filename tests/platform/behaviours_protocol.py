"""What the platform does to the protocol, by its documents or reports, and what the product makes of it: a row each."""

from __future__ import annotations

from tests.platform.behaviour import Behaviour

_DOORS = "services/test_function_doors.py::"
_DISPATCH = "services/test_dispatch_service.py::"
_JOBS = "contracts/test_gcp_jobs.py::"
_WORDS = "contracts/test_gcp_jobs_words.py::test_an_execution_is_told_with_its_problem"
_ERRORS = "contracts/test_gcp_blob_errors.py::"
_RECONCILE = "services/test_reconcile_service.py::"
_AT_LEAST_ONCE = "https://cloud.google.com/eventarc/docs/retry-events"
_RUN_ERRORS = "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/run"
_CONDITIONS = "https://cloud.google.com/run/docs/reference/rest/v2/Condition"
_METADATA = "https://github.com/googleapis/google-auth-library-python/issues/1562"

PROTOCOL_BEHAVIOURS = (
    Behaviour(
        "A storage event is delivered again, with the object's metadata patched in between",
        _AT_LEAST_ONCE,
        "One submission, with the options of the first delivery",
        _DOORS + "test_a_storage_event_means_the_same_at_every_delivery_whatever_the_metadata_says_by_then",
    ),
    Behaviour(
        "A message is delivered again, with the object overwritten in between",
        "https://cloud.google.com/pubsub/docs/subscription-overview",
        "One submission, of the generation that was the newest at the first delivery",
        _DOORS + "test_a_request_means_the_same_object_at_every_delivery",
    ),
    Behaviour(
        "A message is delivered again, after the object that it names has come",
        "https://cloud.google.com/pubsub/docs/subscription-overview",
        "The refusal of the first delivery stays; a new message is heard",
        _DOORS + "test_a_request_that_was_refused_stays_so_though_its_object_has_come",
    ),
    Behaviour(
        "`jobs.run` answers 400, 401, 403, 404 or 412: a grant takes minutes, jobs are replaced",
        "https://cloud.google.com/iam/docs/access-change-propagation",
        "The call is not repeated: a start that was refused, with what to do about it",
        _JOBS + "test_a_start_that_is_refused_is_not_tried_again",
    ),
    Behaviour(
        "A start goes on being refused in one of these ways",
        "https://cloud.google.com/iam/docs/access-change-propagation",
        "Tried again for two hours, without costing an attempt; then `FAILED` `START_REFUSED`",
        _DISPATCH + "test_a_start_that_goes_on_being_refused_ends_after_the_deadline",
    ),
    Behaviour(
        "`jobs.run` answers 408, 409 or 5xx, or not at all: an execution may have been started",
        _RUN_ERRORS,
        "Never asked twice; the lease decides",
        _JOBS + "test_a_start_whose_answer_is_lost_has_happened_once_and_is_not_known_to_have",
    ),
    Behaviour(
        "`jobs.run` answers 200 with a page of a proxy",
        "RFC 9110, 7.7; a captive portal",
        "The start counts as unanswered: the lease decides",
        _JOBS + "test_an_answer_that_is_not_the_apis_is_no_start_that_is_known_of",
    ),
    Behaviour(
        "An image, secret, key or network of a job is missing: the reason says so, on any condition",
        "https://github.com/PrefectHQ/prefect/pull/21712",
        "Handled like a start that is refused, not like a lack of capacity",
        _WORDS,
    ),
    Behaviour(
        "A quota for GPUs is only named in the text of `Completed`, with the reason INTERNAL",
        _CONDITIONS,
        "Handled like a lack of capacity",
        _WORDS,
    ),
    Behaviour(
        "A finalize-only execution is accepted and ends without having begun",
        _CONDITIONS,
        "Requested again under the same number, without costing a try",
        _RECONCILE + "test_a_finalizer_that_was_taken_on_and_never_began_costs_no_attempt",
    ),
    Behaviour(
        "The metadata server answers 404, 429, 500 or 503, which google-auth raises as a RefreshError",
        _METADATA,
        "`UNAVAILABLE`; no permission is reported as missing",
        _ERRORS + "test_trouble_with_the_metadata_server_is_no_missing_right",
    ),
    Behaviour(
        "Deletes are refused for years (by a bucket's retention policy or a hold)",
        "https://cloud.google.com/storage/docs/bucket-lock",
        "The sweep is postponed, and given up after 16 tries with a note in the record",
        _RECONCILE + "test_a_debt_that_is_refused_for_good_is_put_off_and_then_given_up_with_a_note",
    ),
    Behaviour(
        "The deletes of more than a thousand submissions are refused for years",
        "https://cloud.google.com/storage/docs/bucket-lock",
        "Messages are sent first, and failed deletes are retried last: a newer outcome goes out at the next pass",
        _RECONCILE + "test_debts_that_cannot_be_paid_hold_up_nobody",
    ),
    Behaviour(
        "A Firestore document takes 1 MiB",
        "https://cloud.google.com/firestore/quotas",
        "Requesters beyond 64 lie beside the record, and events name a page of them",
        "domain/test_domain_machine.py::test_a_record_stays_small_however_many_ask",
    ),
    Behaviour(
        "A machine sleeps, or its clock jumps",
        "clock_gettime(2)",
        "This time does not count as time without capacity",
        _RECONCILE + "test_what_was_begun_and_a_clock_that_jumped_use_up_no_deadline",
    ),
    Behaviour(
        "A job's parallelism may not be above its own count of tasks; left out, as many tasks run as there is room for",
        "https://cloud.google.com/run/docs/configuring/parallelism",
        "Templates leave it out; a plan has no more tasks than may run at once, unless each would take too long",
        "domain/test_domain_plan.py::"
        "test_more_tasks_than_may_run_at_once_are_made_only_where_those_would_take_too_long",
    ),
    Behaviour(
        "A service that is switched on has no agent until it is first used, and a grant to none is refused",
        "https://cloud.google.com/iam/docs/create-service-agents",
        "Pub/Sub's agent is made by hand once for a project; its line is parsed by gcloud's own parser",
        "gcloud/test_gcloud_written.py::test_every_command_that_is_written_is_one_that_gcloud_takes",
    ),
)
