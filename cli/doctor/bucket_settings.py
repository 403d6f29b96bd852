"""What a bucket's own settings do to the pipeline, by what the bucket is for."""

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
    """What a bucket is for."""

    INBOX = "inbox"
    MODELS = "models"
    WORK = "work"
    RESULTS = "results"
    ALLOWED = "allowed to requests"


WRITTEN = frozenset({Use.WORK, Use.RESULTS})
"""By the pipeline itself; into the others somebody uploads."""


def uses_of(settings: Settings, name: str) -> list[Use]:
    """What a bucket is for, by its name."""
    named = {
        Use.INBOX: settings.inbox_bucket,
        Use.MODELS: settings.models_bucket,
        Use.WORK: settings.work_bucket,
        Use.RESULTS: settings.results_bucket,
    }
    return [use for use, bucket in named.items() if bucket == name] or [Use.ALLOWED]


def use_words(settings: Settings, name: str) -> str:
    """The same in words."""
    return ", ".join(uses_of(settings, name))


def described(settings: Settings, name: str, facts: BucketFacts) -> str:
    """What it is for, and what of its settings is harmless and good to know."""
    uses = uses_of(settings, name)
    return ", ".join([f"{use_words(settings, name)} in {facts.location}", *_known(facts, uses)])


def _known(facts: BucketFacts, uses: list[Use]) -> Iterator[str]:
    if facts.kms_key:
        yield f"encrypted with {facts.kms_key}"
    if facts.object_retention:
        yield "objects can be kept one by one"
    if facts.retention_s and not WRITTEN & {*uses}:
        yield f"everything kept {period(facts)}"
    if facts.holds_objects and not WRITTEN & {*uses}:
        yield "everything held"
    if (facts.deletes_after_days or 0) >= LEFTOVER_DAYS and not {Use.WORK, Use.MODELS} & {*uses}:
        yield f"deleted after {facts.deletes_after_days} days"


def period(facts: BucketFacts) -> str:
    """A retention policy's time."""
    days = facts.retention_s / DAY_S
    return f"{days:g} day{'' if days == 1 else 's'}{', locked' if facts.retention_locked else ''}"


def bucket_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """What is wrong with any bucket, and with one that is for this; the work bucket's leftovers are told elsewhere."""
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
            "objects can be opened to others one by one",
            "Have the bucket alone decide who may read.",
            (commands.update_bucket(name, "--uniform-bucket-level-access"),),
        )
    if facts.requester_pays:
        yield Fault(
            Health.WRONG,
            "whoever asks is to pay, and the pipeline does not",
            "Have the bucket's owner pay.",
            (commands.update_bucket(name, "--no-requester-pays"),),
        )
    if facts.ip_filtered:
        yield Fault(
            Health.WARNING,
            "it answers the networks of its IP filter alone, and Cloud Run is in none of yours by itself",
            "See that functions and jobs send all their traffic through a network that the filter names.",
            (commands.describe_bucket(name),),
        )


def _encryption_faults(commands: Commands, name: str, facts: BucketFacts, *, is_written: bool) -> Iterator[Fault]:
    refused = facts.refused_encryption
    usual = Encryption.KMS if facts.kms_key else Encryption.GOOGLE
    look = (commands.describe_bucket(name),)
    if {Encryption.GOOGLE, Encryption.KMS} <= refused:
        words = "it takes objects under customer-supplied keys alone, which nobody without the key can read"
        mend = "Have its encryption enforcement admit Google's own keys or Cloud KMS keys."
        yield Fault(Health.WRONG, words, mend, look)
    elif usual in refused:
        who = "the pipeline writes" if is_written else "`celldrop submit` and most others upload"
        words = f"it refuses new objects under {usual}, and that is how {who}"
        health = Health.WRONG if is_written else Health.WARNING
        if usual is Encryption.KMS:
            off = commands.update_bucket(name, "--clear-default-encryption-key")
            mend = "Take its default key away, or have its encryption enforcement admit Cloud KMS keys."
            yield Fault(health, words, mend, (off,))
        else:
            mend = "Give it a default Cloud KMS key, or have its encryption enforcement admit Google's own keys."
            yield Fault(health, words, mend, look)


def _class_faults(commands: Commands, name: str, facts: BucketFacts, uses: list[Use]) -> Iterator[Fault]:
    if uses != [Use.RESULTS] and is_cold(facts):
        yield Fault(
            Health.WARNING,
            f"new objects are {facts.storage_class}: every byte that is read is billed",
            "Have new objects be STANDARD.",
            (commands.update_bucket(name, "--default-storage-class=STANDARD"),),
        )


def is_cold(facts: BucketFacts) -> bool:
    """Whether what is written is in a class that is not made to be read, or deleted, soon."""
    return facts.storage_class in _READ_BY_THE_BYTE and not facts.autoclass


def _keeping_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """Results are written once, and that goes well; what an attempt leaves that came to nothing is to be deleted."""
    words = "what attempts leave that came to nothing cannot be deleted, and is given up after some tries"
    if facts.holds_objects:
        off = commands.update_bucket(name, "--no-default-event-based-hold")
        mend = "Turn the hold off, if it is not meant."
        yield Fault(Health.WARNING, f"every new object is held: {words}", mend, (off,))
    if facts.retention_s:
        mend = "If that is meant, all is well: results themselves are never changed."
        run = () if facts.retention_locked else (commands.update_bucket(name, "--clear-retention-period"),)
        if run:
            mend += " If not, take the policy away."
        yield Fault(Health.WARNING, f"everything is kept {period(facts)}: until then {words}", mend, run)
