"""Checks that the work bucket deletes parts that are no longer needed."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.bucket_rules import young_parts
from cli.doctor.bucket_settings import DAY_S, is_cold, period
from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed
from shared.ports.survey import BucketFacts, Untold


def check_leftovers(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check that parts of ended submissions are deleted by age, and that nothing prevents it."""
    name = commands.settings.work_bucket
    facts = found.buckets[name]
    if not isinstance(facts, Untold):
        days = facts.deletes_after_days
        words = f"deleted after {days} days" if days is not None else "kept forever"
        yield summed(CloudCheck.LEFTOVERS.of(name), words, _faults(commands, name, facts))


def _faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    if facts.deletes_after_days is None:
        mend = "Delete objects by age: the parts of ended submissions are not needed."
        yield Fault(Health.WARNING, "no rule deletes by age", mend, commands.sweep_bucket(name))
    yield from young_parts(commands, name, facts)
    yield from _keeping_faults(commands, name, facts)
    yield from _cost_faults(commands, name, facts)


def _keeping_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """Holds and retention do not prevent writing parts, but they prevent deleting them; sweeps are retried in vain."""
    if facts.holds_objects:
        mend = "Turn the default hold off, and release the held objects: none of them is needed."
        words = "every new object is put on hold: parts are never deleted, and sweeps fail"
        off = commands.update_bucket(name, "--no-default-event-based-hold")
        yield Fault(Health.WRONG, words, mend, (off, commands.release_holds(name)))
    if facts.retention_s:
        words = f"the retention period is {period(facts)}: earlier sweeps are refused, and given up after some tries"
        if facts.retention_locked:
            mend = "A locked policy cannot be removed: set CELLDROP_WORK_BUCKET to another bucket."
            yield Fault(Health.WARNING, words, mend)
        else:
            off = commands.update_bucket(name, "--clear-retention-period")
            yield Fault(Health.WARNING, words, "Remove the policy: nothing here needs to be kept.", (off,))


def _cost_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    costs = "Turn it off: nothing here is ever restored, and deleted objects are billed."
    if facts.versioned:
        off = commands.update_bucket(name, "--no-versioning")
        yield Fault(Health.WARNING, "old versions are kept", costs, (off,))
    if facts.soft_delete_s:
        off = commands.update_bucket(name, "--clear-soft-delete")
        words = f"deleted objects are kept for {facts.soft_delete_s / DAY_S:g} more days"
        yield Fault(Health.WARNING, words, costs, (off,))
    if is_cold(facts):
        words = f"parts are {facts.storage_class}: each is billed for at least a month, though it is kept for hours"
        standard = commands.update_bucket(name, "--default-storage-class=STANDARD")
        yield Fault(Health.WARNING, words, "Set the default storage class to STANDARD.", (standard,))
