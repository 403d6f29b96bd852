"""Translates a bucket's metadata into facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from shared.ports.survey import AgeRule, BucketFacts, Encryption, NotificationFacts

if TYPE_CHECKING:
    from google.cloud.storage import Bucket  # type: ignore[import-untyped]  # ships no types
    from google.cloud.storage.notification import BucketNotification  # type: ignore[import-untyped]  # likewise

_ENFORCED = {
    Encryption.GOOGLE: "googleManagedEncryptionEnforcementConfig",
    Encryption.KMS: "customerManagedEncryptionEnforcementConfig",
    Encryption.SUPPLIED: "customerSuppliedEncryptionEnforcementConfig",
}
"""https://cloud.google.com/storage/docs/encryption/enforce-encryption-types: ``FullyRestricted`` means refused."""
_OF_OLD_VERSIONS = ("numNewerVersions", "daysSinceNoncurrentTime", "noncurrentTimeBefore")
_OF_SOME = (*_OF_OLD_VERSIONS, "daysSinceCustomTime", "customTimeBefore", "createdBefore")
"""Conditions that our objects never meet, or that depend on a date."""
_NO_PAYLOAD = "NONE"


def bucket_facts(bucket: Bucket) -> BucketFacts:
    """The facts in a bucket's metadata."""
    # As the API sends them: the oldest supported client has no attributes for some.
    metadata: Mapping[str, Any] = bucket._properties  # noqa: SLF001  # no public way
    retention = metadata.get("retentionPolicy", {})
    encryption = metadata.get("encryption", {})
    return BucketFacts(
        location=str(bucket.location or ""),
        uniform_access=bool(bucket.iam_configuration.uniform_bucket_level_access_enabled),
        versioned=bool(bucket.versioning_enabled),
        requester_pays=bool(bucket.requester_pays),
        rules=tuple(_age_rules(metadata)),
        soft_delete_s=int(bucket.soft_delete_policy.retention_duration_seconds or 0),
        storage_class=metadata.get("storageClass") or "STANDARD",
        autoclass=bool(metadata.get("autoclass", {}).get("enabled")),
        kms_key=encryption.get("defaultKmsKeyName") or "",
        refused_encryption=frozenset(kind for kind, name in _ENFORCED.items() if _is_refused(encryption.get(name))),
        retention_s=int(retention.get("retentionPeriod") or 0),
        retention_locked=bool(retention.get("isLocked")),
        holds_objects=bool(metadata.get("defaultEventBasedHold")),
        object_retention=metadata.get("objectRetention", {}).get("mode") == "Enabled",
        ip_filtered=metadata.get("ipFilter", {}).get("mode") == "Enabled",
    )


def notification_facts(notification: BucketNotification) -> NotificationFacts:
    """The facts of one of a bucket's notifications."""
    return NotificationFacts(
        notification.topic_name,
        tuple(notification.event_types or ()),
        notification.blob_name_prefix or "",
        tells_all=notification.payload_format != _NO_PAYLOAD,
    )


def _is_refused(config: Mapping[str, Any] | None) -> bool:
    return bool(config) and (config or {}).get("restrictionMode") == "FullyRestricted"


def _age_rules(metadata: Mapping[str, Any]) -> Iterator[AgeRule]:
    """The rules that apply to our objects at some age."""
    for rule in metadata.get("lifecycle", {}).get("rule", ()):
        action, condition = rule.get("action", {}), rule.get("condition", {})
        if "age" not in condition or condition.get("isLive") is False or any(name in condition for name in _OF_SOME):
            continue
        within = (*condition.get("matchesPrefix", ()), *condition.get("matchesSuffix", ()))
        if action.get("type") == "Delete":
            yield AgeRule(int(condition["age"]), within=within)
        elif action.get("type") == "SetStorageClass":
            yield AgeRule(int(condition["age"]), str(action.get("storageClass", "")), within)
