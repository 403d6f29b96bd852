"""A bucket's settings, its key and the accounts that act, asked over HTTP as Google's services answer."""

from __future__ import annotations

import pytest

from shared.adapters.gcp.survey import CloudSurvey
from shared.ports.survey import AgeRule, BucketFacts, Encryption, KeyFacts, NotificationFacts, Part, Silence, Untold
from tests.cloud.emulators import STORAGE_VARIABLE
from tests.cloud.local_cloud_programs import free_port
from tests.doctor.deployed import KEY, REGION, TASK_ACCOUNT
from tests.doctor.rest_stand_in import Answers, answering

BUCKET = "/storage/v1/b/lab-work"
KEY_PATH = f"/v1/{KEY}"
ACCOUNT_PATH = f"/v1/projects/lab-7/serviceAccounts/{TASK_ACCOUNT}"


def survey(rest: str = "") -> CloudSurvey:
    return CloudSurvey("lab-7", REGION, "(default)", rest_endpoint=rest)


# --- Buckets ---

EVERYTHING: dict[str, object] = {
    "name": "lab-work",
    "location": "EUROPE-WEST4",
    "storageClass": "NEARLINE",
    "autoclass": {"enabled": True},
    "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
    "versioning": {"enabled": True},
    "billing": {"requesterPays": True},
    "softDeletePolicy": {"retentionDurationSeconds": "604800"},
    "retentionPolicy": {"retentionPeriod": "2592000", "isLocked": True, "effectiveTime": "2026-01-01T00:00:00Z"},
    "defaultEventBasedHold": True,
    "objectRetention": {"mode": "Enabled"},
    "ipFilter": {"mode": "Enabled", "publicNetworkSource": {"allowedIpCidrRanges": ["192.0.2.0/24"]}},
    "encryption": {
        "defaultKmsKeyName": KEY,
        "googleManagedEncryptionEnforcementConfig": {"restrictionMode": "FullyRestricted"},
        "customerManagedEncryptionEnforcementConfig": {"restrictionMode": "NotRestricted"},
        "customerSuppliedEncryptionEnforcementConfig": {"restrictionMode": "FullyRestricted"},
    },
    "lifecycle": {
        "rule": [
            {"action": {"type": "Delete"}, "condition": {"age": 7}},
            {"action": {"type": "Delete"}, "condition": {"age": 0, "matchesPrefix": ["tmp/"], "matchesSuffix": [".x"]}},
            {"action": {"type": "SetStorageClass", "storageClass": "ARCHIVE"}, "condition": {"age": 30}},
            # Of old versions, of times that nobody set, of uploads, and of a kind to come: none of ours comes under it.
            {"action": {"type": "Delete"}, "condition": {"age": 1, "isLive": False}},
            {"action": {"type": "Delete"}, "condition": {"age": 1, "numNewerVersions": 2}},
            {"action": {"type": "Delete"}, "condition": {"age": 1, "daysSinceCustomTime": 1}},
            {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 1}},
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}},
            {"action": {"type": "Polish"}, "condition": {"age": 1}},
        ]
    },
}


def told(resource: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> BucketFacts | Untold:
    with answering({BUCKET: resource}) as storage:
        monkeypatch.setenv(STORAGE_VARIABLE, storage.url)
        found = survey().bucket("lab-work")
        assert storage.seen == [f"GET {BUCKET}"]
    return found


def test_every_setting_of_a_bucket_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(EVERYTHING, monkeypatch) == BucketFacts(
        "EUROPE-WEST4",
        uniform_access=True,
        versioned=True,
        requester_pays=True,
        rules=(AgeRule(7), AgeRule(0, within=("tmp/", ".x")), AgeRule(30, "ARCHIVE")),
        soft_delete_s=604_800,
        storage_class="NEARLINE",
        autoclass=True,
        kms_key=KEY,
        refused_encryption=frozenset({Encryption.GOOGLE, Encryption.SUPPLIED}),
        retention_s=2_592_000,
        retention_locked=True,
        holds_objects=True,
        object_retention=True,
        ip_filtered=True,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"encryption": {}, "retentionPolicy": {}, "lifecycle": {}, "ipFilter": {"mode": "Disabled"}},
        {"defaultEventBasedHold": False, "objectRetention": {}, "autoclass": {"enabled": False}},
        {"encryption": {"customerManagedEncryptionEnforcementConfig": {"restrictionMode": "NotRestricted"}}},
    ],
    ids=["nothing", "empty", "off", "admitted"],
)
def test_a_bucket_without_them_is_as_any(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"name": "lab-work", "location": "EUROPE-WEST4", **settings}
    assert told(plain, monkeypatch) == BucketFacts("EUROPE-WEST4", uniform_access=False)


def test_everything_is_deleted_at_the_shortest_age_that_is_for_everything() -> None:
    rules = (AgeRule(0, within=("tmp/",)), AgeRule(1, "ARCHIVE"), AgeRule(30), AgeRule(7))
    assert BucketFacts("EU", uniform_access=True, rules=rules).deletes_after_days == 7
    assert BucketFacts("EU", uniform_access=True, rules=rules[:2]).deletes_after_days is None


def test_a_notification_without_a_payload_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"id": "1", "topic": "//pubsub.googleapis.com/projects/lab-seven/topics/drops", "payload_format": "NONE"}
    other = {**one, "id": "2", "payload_format": "JSON_API_V1"}
    with answering({f"{BUCKET}/notificationConfigs": {"items": [one, other]}}) as storage:
        monkeypatch.setenv(STORAGE_VARIABLE, storage.url)
        found = survey().notifications("lab-work")
    assert isinstance(found, tuple)
    assert [one.tells_all for one in found] == [False, True]
    assert all(isinstance(one, NotificationFacts) for one in found)


# --- Keys ---


def version(number: str, state: str) -> dict[str, object]:
    return {"name": f"{KEY}/cryptoKeyVersions/{number}", "state": state}


def test_a_key_tells_which_version_encrypts_and_which_cannot_be_used() -> None:
    states = {"1": "DESTROYED", "2": "DISABLED", "3": "ENABLED", "4": "DESTROY_SCHEDULED", "5": "ENABLED"}
    versions = {"cryptoKeyVersions": [version(number, state) for number, state in states.items()]}
    answers: Answers = {
        KEY_PATH: {"name": KEY, "primary": version("5", "ENABLED")},
        f"{KEY_PATH}/cryptoKeyVersions": versions,
    }
    with answering(answers) as kms:
        expected = KeyFacts("5", "ENABLED", (("2", "DISABLED"), ("4", "DESTROY_SCHEDULED")))
        assert survey(kms.url).key(KEY) == expected
        assert {one.split()[0] for one in kms.seen} == {"GET"}


def test_a_disabled_version_that_encrypts_is_told_once() -> None:
    versions = {"cryptoKeyVersions": [version("5", "DISABLED")]}
    answers: Answers = {
        KEY_PATH: {"name": KEY, "primary": version("5", "DISABLED")},
        f"{KEY_PATH}/cryptoKeyVersions": versions,
    }
    with answering(answers) as kms:
        assert survey(kms.url).key(KEY) == KeyFacts("5", "DISABLED")


def test_a_key_without_versions_tells_of_none() -> None:
    with answering({KEY_PATH: {"name": KEY}, f"{KEY_PATH}/cryptoKeyVersions": {}}) as kms:
        assert survey(kms.url).key(KEY) == KeyFacts("", "")


# --- Accounts ---


@pytest.mark.parametrize(("resource", "enabled"), [({}, True), ({"disabled": True}, False)])
def test_an_account_tells_whether_it_can_be_used(resource: dict[str, object], enabled: bool) -> None:
    with answering({ACCOUNT_PATH: {"email": TASK_ACCOUNT, **resource}}) as iam:
        assert survey(iam.url).account(TASK_ACCOUNT) is enabled


def test_an_account_whose_address_tells_no_project_is_looked_for_in_any() -> None:
    default = "7-compute@developer.gserviceaccount.com"
    with answering({f"/v1/projects/-/serviceAccounts/{default}": {"email": default}}) as iam:
        assert survey(iam.url).account(default) is True


def test_the_right_to_act_as_an_account_is_asked_for() -> None:
    wanted = "iam.serviceAccounts.actAs"
    with answering({f"{ACCOUNT_PATH}:testIamPermissions": {"permissions": [wanted]}}) as iam:
        assert survey(iam.url).rights(Part.ACCOUNT, TASK_ACCOUNT, [wanted]) == frozenset({wanted})
    with answering({f"{ACCOUNT_PATH}:testIamPermissions": {}}) as iam:
        assert survey(iam.url).rights(Part.ACCOUNT, TASK_ACCOUNT, [wanted]) == frozenset()


@pytest.mark.parametrize(
    ("status", "why"),
    [(404, Silence.MISSING), (403, Silence.DENIED), (400, Silence.REFUSED), (503, Silence.UNREACHABLE)],
)
def test_what_is_not_told_says_why_and_is_asked_once(status: int, why: Silence) -> None:
    with answering({KEY_PATH: status, ACCOUNT_PATH: status}) as server:
        looking = survey(server.url)
        assert looking.key(KEY) == Untold(why, "it is not so")
        assert looking.account(TASK_ACCOUNT) == Untold(why, "it is not so")
        assert len(server.seen) == 2


def test_nobody_there_is_unreachable() -> None:
    found = survey(f"http://127.0.0.1:{free_port()}").key(KEY)
    assert isinstance(found, Untold)
    assert found.why is Silence.UNREACHABLE
