"""One setting of a bucket, or of its key, that is not as the pipeline needs it; what is told and what mends it."""

from __future__ import annotations

from cli.doctor.check import Health
from shared.ports.survey import AgeRule, Encryption, KeyFacts, NotificationFacts, Silence, Untold
from tests.doctor.breaking import WARNING, WRONG, Break, both, with_answer, with_bucket, with_fact
from tests.doctor.deployed import DENIED, KEY, MISSING, WORK

ONLY_SUPPLIED = frozenset({Encryption.GOOGLE, Encryption.KMS})
DAY_S = 86_400


def with_key(told: KeyFacts | Untold) -> Break:
    return both(with_bucket("lab-inbox", kms_key=KEY), with_fact("keys", KEY, told))


BROKEN_BUCKETS: dict[str, tuple[Break, str, Health, str]] = {
    # --- Keys ---
    "only customer-supplied keys": (
        with_bucket("lab-inbox", refused_encryption=ONLY_SUPPLIED),
        "bucket lab-inbox",
        WRONG,
        "gcloud storage buckets describe gs://lab-inbox",
    ),
    "results without a key refused": (
        with_bucket("lab-results", refused_encryption=frozenset({Encryption.GOOGLE})),
        "bucket lab-results",
        WRONG,
        "gcloud storage buckets describe gs://lab-results",
    ),
    "uploads without a key refused": (
        with_bucket("lab-inbox", refused_encryption=frozenset({Encryption.GOOGLE})),
        "bucket lab-inbox",
        WARNING,
        "gcloud storage buckets describe gs://lab-inbox",
    ),
    "the default key refused": (
        both(
            with_bucket("lab-work", kms_key=KEY, refused_encryption=frozenset({Encryption.KMS})),
            with_fact("keys", KEY, KeyFacts("1", "ENABLED")),
        ),
        "bucket lab-work",
        WRONG,
        "gcloud storage buckets update gs://lab-work --clear-default-encryption-key",
    ),
    "a disabled key": (
        with_key(KeyFacts("3", "DISABLED")),
        f"key {KEY}",
        WRONG,
        f"gcloud kms keys versions enable 3 --key={KEY}",
    ),
    "a key that is to be destroyed": (
        with_key(KeyFacts("3", "DESTROY_SCHEDULED")),
        f"key {KEY}",
        WRONG,
        f"gcloud kms keys versions restore 3 --key={KEY}\ngcloud kms keys versions enable 3 --key={KEY}",
    ),
    "a destroyed key": (
        with_key(KeyFacts("3", "DESTROYED")),
        f"key {KEY}",
        WRONG,
        f"gcloud kms keys versions create --key={KEY} --primary",
    ),
    "a key without a version": (
        with_key(KeyFacts("", "")),
        f"key {KEY}",
        WRONG,
        f"gcloud kms keys versions create --key={KEY} --primary",
    ),
    "an older version disabled": (
        with_key(KeyFacts("3", "ENABLED", (("2", "DISABLED"),))),
        f"key {KEY}",
        WARNING,
        f"gcloud kms keys versions enable 2 --key={KEY}",
    ),
    "a key that may not be seen": (
        with_key(DENIED),
        f"key {KEY}",
        WARNING,
        (
            f"gcloud kms keys add-iam-policy-binding {KEY} --member=user:ada@example.org --role=roles/cloudkms.viewer\n"
            f"gcloud storage service-agent --authorize-cmek={KEY} --project=lab-7"
        ),
    ),
    "no such key": (
        with_key(MISSING),
        f"key {KEY}",
        WRONG,
        "",
    ),
    "Cloud KMS switched off": (
        with_key(Untold(Silence.DISABLED)),
        f"key {KEY}",
        WARNING,
        "gcloud services enable cloudkms.googleapis.com --project=lab-7",
    ),
    # --- What cannot be deleted ---
    "parts are held": (
        with_bucket("lab-work", holds_objects=True),
        "leftovers lab-work",
        WRONG,
        (
            "gcloud storage buckets update gs://lab-work --no-default-event-based-hold\n"
            "gcloud storage objects update 'gs://lab-work/**' --no-event-based-hold"
        ),
    ),
    "parts are kept": (
        with_bucket("lab-work", retention_s=30 * DAY_S),
        "leftovers lab-work",
        WARNING,
        "gcloud storage buckets update gs://lab-work --clear-retention-period",
    ),
    "parts are kept, locked": (
        with_bucket("lab-work", retention_s=30 * DAY_S, retention_locked=True),
        "leftovers lab-work",
        WARNING,
        "",
    ),
    "results are held": (
        with_bucket("lab-results", holds_objects=True),
        "bucket lab-results",
        WARNING,
        "gcloud storage buckets update gs://lab-results --no-default-event-based-hold",
    ),
    "results are kept": (
        with_bucket("lab-results", retention_s=365 * DAY_S),
        "bucket lab-results",
        WARNING,
        "gcloud storage buckets update gs://lab-results --clear-retention-period",
    ),
    "results are kept, locked": (
        with_bucket("lab-results", retention_s=365 * DAY_S, retention_locked=True),
        "bucket lab-results",
        WARNING,
        "",
    ),
    # --- What is deleted, or moved, too soon ---
    "drops are deleted at once": (
        with_bucket("lab-inbox", rules=(AgeRule(0),)),
        "bucket lab-inbox",
        WRONG,
        "gcloud storage buckets update gs://lab-inbox --clear-lifecycle",
    ),
    "some drops are deleted after a day": (
        with_bucket("lab-inbox", rules=(AgeRule(1, within=("submitted/",)),)),
        "bucket lab-inbox",
        WRONG,
        "--clear-lifecycle",
    ),
    "drops are archived at once": (
        with_bucket("lab-inbox", rules=(AgeRule(0, "ARCHIVE"),)),
        "bucket lab-inbox",
        WARNING,
        "--clear-lifecycle",
    ),
    "models are deleted": (
        with_bucket("lab-models", rules=(AgeRule(365),)),
        "bucket lab-models",
        WRONG,
        "gcloud storage buckets update gs://lab-models --clear-lifecycle",
    ),
    "models are archived": (
        with_bucket("lab-models", rules=(AgeRule(30, "COLDLINE"),)),
        "bucket lab-models",
        WARNING,
        "--clear-lifecycle",
    ),
    "results are deleted at once": (
        with_bucket("lab-results", rules=(AgeRule(1),)),
        "bucket lab-results",
        WRONG,
        "gcloud storage buckets update gs://lab-results --clear-lifecycle",
    ),
    "results are deleted soon": (
        with_bucket("lab-results", rules=(AgeRule(3),)),
        "bucket lab-results",
        WARNING,
        "--clear-lifecycle",
    ),
    "parts are deleted at once": (
        with_bucket("lab-work", rules=(AgeRule(0),)),
        "leftovers lab-work",
        WRONG,
        "gcloud storage buckets update gs://lab-work --lifecycle-file=leftovers.json",
    ),
    "some parts are never deleted": (
        with_bucket("lab-work", rules=(AgeRule(7, within=("tmp/",)),)),
        "leftovers lab-work",
        WARNING,
        "--lifecycle-file=leftovers.json",
    ),
    # --- Neighbours ---
    "drops are cold": (
        with_bucket("lab-inbox", storage_class="ARCHIVE"),
        "bucket lab-inbox",
        WARNING,
        "gcloud storage buckets update gs://lab-inbox --default-storage-class=STANDARD",
    ),
    "parts are cold": (
        with_bucket("lab-work", storage_class="NEARLINE"),
        "leftovers lab-work",
        WARNING,
        "gcloud storage buckets update gs://lab-work --default-storage-class=STANDARD",
    ),
    "an IP filter": (
        with_bucket("lab-models", ip_filtered=True),
        "bucket lab-models",
        WARNING,
        "gcloud storage buckets describe gs://lab-models",
    ),
    "a notification without a payload": (
        with_answer(notifications=(NotificationFacts("t", tells_all=False),)),
        "drops lab-inbox",
        WRONG,
        "gcloud eventarc triggers create celldrop-inbox --location=europe-west4",
    ),
}

HARMLESS: dict[str, Break] = {
    "versions of drops": with_bucket("lab-inbox", versioned=True),
    "deleted drops kept": with_bucket("lab-inbox", soft_delete_s=604_800),
    "drops kept": with_bucket("lab-inbox", retention_s=30 * DAY_S, retention_locked=True),
    "drops held": with_bucket("lab-inbox", holds_objects=True),
    "drops archived late": with_bucket("lab-inbox", rules=(AgeRule(30, "ARCHIVE"), AgeRule(365))),
    "models kept": with_bucket("lab-models", retention_s=30 * DAY_S, holds_objects=True),
    "parts kept one by one": with_bucket("lab-work", object_retention=True),
    "results deleted in time": with_bucket("lab-results", rules=(AgeRule(90),)),
    "results archived": with_bucket("lab-results", rules=(AgeRule(1, "ARCHIVE"),), storage_class="COLDLINE"),
    "a class that moves by itself": with_bucket("lab-inbox", storage_class="NEARLINE", autoclass=True),
    "customer-supplied keys refused": with_bucket("lab-inbox", refused_encryption=frozenset({Encryption.SUPPLIED})),
    "Google's own keys refused where there is another": both(
        with_bucket("lab-results", kms_key=KEY, refused_encryption=frozenset({Encryption.GOOGLE})),
        with_fact("keys", KEY, KeyFacts("1", "ENABLED")),
    ),
    "a key whose credentials are not there": with_key(Untold(Silence.NOT_SET)),
    "a rule for parts of a name beside one for all": with_bucket(
        "lab-work", rules=(*WORK.rules, AgeRule(30, within=("x",)))
    ),
}
"""What is as well with as without."""
