"""Checks of a bucket's settings: which of them harm the pipeline, depending on the bucket's purpose."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from cli.doctor.bucket_rules import rule_faults
from cli.doctor.check import Fault, Health
from cli.doctor.commands import LEFTOVER_DAYS, Commands
from shared.ports.survey import BucketFacts, Encryption
from shared.settings import Settings

DAY_S = 86_400
_READ_BY_THE_BYTE = frozenset({"NEARLINE", "COLDLINE", "ARCHIVE"})


class Use(StrEnum):
    """The purpose of a bucket."""

    INBOX = "inbox"
    MODELS = "models"
    WORK = "work"
    RESULTS = "results"
    ALLOWED = "allowed to requests"


WRITTEN = frozenset({Use.WORK, Use.RESULTS})
"""The buckets that the pipeline itself writes to; users upload to the others."""


def uses_of(settings: Settings, name: str) -> list[Use]:
    """The purposes of the bucket with that name."""
    named = {
        Use.INBOX: settings.inbox_bucket,
        Use.MODELS: settings.models_bucket,
        Use.WORK: settings.work_bucket,
        Use.RESULTS: settings.results_bucket,
    }
    return [use for use, bucket in named.items() if bucket == name] or [Use.ALLOWED]


def use_words(settings: Settings, name: str) -> str:
    """The purposes of the bucket, as text."""
    return ", ".join(uses_of(settings, name))


def described(settings: Settings, name: str, facts: BucketFacts) -> str:
    """The bucket's purpose, location and harmless settings, as text."""
    uses = uses_of(settings, name)
    return ", ".join([f"{use_words(settings, name)} in {facts.location}", *_known(facts, uses)])


def _known(facts: BucketFacts, uses: list[Use]) -> Iterator[str]:
    if facts.kms_key:
        yield f"encrypted with {facts.kms_key}"
    if facts.object_retention:
        yield "single objects can have a retention period"
    if facts.retention_s and not WRITTEN & {*uses}:
        yield f"retention {period(facts)}"
    if facts.holds_objects and not WRITTEN & {*uses}:
        yield "new objects are put on hold"
    if (facts.deletes_after_days or 0) >= LEFTOVER_DAYS and not {Use.WORK, Use.MODELS} & {*uses}:
        yield f"deleted after {facts.deletes_after_days} days"


def period(facts: BucketFacts) -> str:
    """The period of the retention policy, as text."""
    days = facts.retention_s / DAY_S
    return f"{days:g} day{'' if days == 1 else 's'}{', locked' if facts.retention_locked else ''}"


def bucket_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """The faults of a bucket for its purposes. The work bucket's leftovers have a check of their own."""
    uses = uses_of(commands.settings, name)
    yield from _access_faults(commands, name, facts)
    yield from _encryption_faults(commands, name, facts, is_written=bool(WRITTEN & {*uses}))
    if Use.WORK not in uses:
        yield from rule_faults(commands, name, facts, uses)
        yield from _class_faults(commands, name, facts, uses)
    if Use.RESULTS in uses:
        yield from _keeping_faults(commands, name, facts)


def _access_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    if not facts.uniform_access:
        yield Fault(
            Health.WARNING,
            "single objects can be made readable for others",
            "Turn on uniform access, so that only the bucket's policy decides who may read.",
            (commands.update_bucket(name, "--uniform-bucket-level-access"),),
        )
    if facts.requester_pays:
        yield Fault(
            Health.WRONG,
            "requester pays is on, and the pipeline does not pay for requests",
            "Turn requester pays off.",
            (commands.update_bucket(name, "--no-requester-pays"),),
        )
    if facts.ip_filtered:
        yield Fault(
            Health.WARNING,
            "its IP filter accepts only some networks, and Cloud Run does not use one of yours by default",
            "Make functions and jobs send all their traffic through a network that the filter names.",
            (commands.describe_bucket(name),),
        )


def _encryption_faults(commands: Commands, name: str, facts: BucketFacts, *, is_written: bool) -> Iterator[Fault]:
    refused = facts.refused_encryption
    usual = Encryption.KMS if facts.kms_key else Encryption.GOOGLE
    look = (commands.describe_bucket(name),)
    if {Encryption.GOOGLE, Encryption.KMS} <= refused:
        words = "it accepts only objects with customer-supplied keys, which the pipeline cannot read"
        mend = "Change its encryption enforcement to allow Google's own keys or Cloud KMS keys."
        yield Fault(Health.WRONG, words, mend, look)
    elif usual in refused:
        who = "the pipeline writes" if is_written else "`celldrop submit` and most others upload"
        words = f"it refuses new objects encrypted with {usual}, and that is how {who}"
        health = Health.WRONG if is_written else Health.WARNING
        if usual is Encryption.KMS:
            off = commands.update_bucket(name, "--clear-default-encryption-key")
            mend = "Remove its default key, or change its encryption enforcement to allow Cloud KMS keys."
            yield Fault(health, words, mend, (off,))
        else:
            mend = "Give it a default Cloud KMS key, or change its encryption enforcement to allow Google's own keys."
            yield Fault(health, words, mend, look)


def _class_faults(commands: Commands, name: str, facts: BucketFacts, uses: list[Use]) -> Iterator[Fault]:
    if uses != [Use.RESULTS] and is_cold(facts):
        yield Fault(
            Health.WARNING,
            f"new objects are {facts.storage_class}: every byte read is billed",
            "Set the default storage class to STANDARD.",
            (commands.update_bucket(name, "--default-storage-class=STANDARD"),),
        )


def is_cold(facts: BucketFacts) -> bool:
    """Whether new objects get a cold storage class, where reading and early deletion cost extra."""
    return facts.storage_class in _READ_BY_THE_BYTE and not facts.autoclass


def _keeping_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """Holds and retention do not harm results, which are written once. But the files of failed attempts must go."""
    words = "the files of failed attempts cannot be deleted; reconcile gives up on them after some tries"
    if facts.holds_objects:
        off = commands.update_bucket(name, "--no-default-event-based-hold")
        mend = "Turn the default hold off, unless it is intended."
        yield Fault(Health.WARNING, f"every new object is put on hold: {words}", mend, (off,))
    if facts.retention_s:
        mend = "If that is intended, nothing needs to be done: results are never changed."
        run = () if facts.retention_locked else (commands.update_bucket(name, "--clear-retention-period"),)
        if run:
            mend += " Otherwise, remove the retention policy."
        yield Fault(Health.WARNING, f"the retention period is {period(facts)}: until then {words}", mend, run)
