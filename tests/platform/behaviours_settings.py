"""What settings of the platform do to a pipeline, and how they are found before anything is lost: a row each."""

from __future__ import annotations

from tests.platform.behaviour import Behaviour

_JUDGED = "doctor/test_doctor_judging.py::test_exactly_what_is_broken_is_told_with_what_mends_it"
_HARMLESS = "doctor/test_doctor_judging.py::test_what_changes_nothing_is_no_fault"
_TEMPLATES = "contracts/test_gcp_jobs_templates.py::"
_RUN = "https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs/run"

SETTINGS_BEHAVIOURS = (
    Behaviour(
        "A bucket's encryption enforcement can admit objects under customer-supplied keys alone, or none without a key",
        "https://cloud.google.com/storage/docs/encryption/enforce-encryption-types",
        "`celldrop doctor` names the bucket, by what it is for",
        _JUDGED,
    ),
    Behaviour(
        "Nothing under a Cloud KMS key can be read or written while its version is disabled or destroyed",
        "https://cloud.google.com/kms/docs/enable-disable",
        "`celldrop doctor` asks for the key of each bucket, and names versions that cannot be used",
        "doctor/test_doctor_survey_settings.py::test_a_key_tells_which_version_encrypts_and_which_cannot_be_used",
    ),
    Behaviour(
        "A default event-based hold keeps every new object until somebody releases it, lifecycle or not",
        "https://cloud.google.com/storage/docs/object-holds",
        "`celldrop doctor`: wrong for work, a warning for results; drops are never deleted by us",
        _JUDGED,
    ),
    Behaviour(
        "A lifecycle rule of age 0 or 1 deletes a file, a part or a result before its time",
        "https://cloud.google.com/storage/docs/lifecycle",
        "`celldrop doctor` names the rule",
        _JUDGED,
    ),
    Behaviour(
        "Retention or holds on the inbox, autoclass, per-object retention that nobody uses",
        "https://cloud.google.com/storage/docs/bucket-lock",
        "No fault: nothing there is changed or deleted",
        _HARMLESS,
    ),
    Behaviour(
        "A job's parallelism may not be above its task count; retries, time, machine and variables have limits",
        "https://cloud.google.com/run/docs/configuring/parallelism",
        "The stand-in refuses such a job as `jobs.create` does; every flavor is taken",
        _TEMPLATES + "test_every_flavor_deploys_jobs_that_the_api_takes",
    ),
    Behaviour(
        "A job that is being deployed, has failed to, or is being deleted cannot be run",
        _RUN,
        "Handled like a start that is refused",
        _TEMPLATES + "test_a_job_that_is_not_ready_is_not_started_and_may_be_asked_for_again",
    ),
    Behaviour(
        "Nothing can act as a service account that is gone or disabled",
        "https://cloud.google.com/iam/docs/service-accounts-disable-enable",
        "`celldrop doctor` looks at those of jobs and of subscriptions that push",
        _JUDGED,
    ),
)
