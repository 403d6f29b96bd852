"""The check that the work bucket gets rid of what nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.bucket_rules import young_parts
from cli.doctor.bucket_settings import DAY_S, is_cold, period
from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed
from shared.ports.survey import BucketFacts, Untold


def check_leftovers(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Parts of ended submissions are of no use: they can be deleted, and are."""
    name = commands.settings.work_bucket
    facts = found.buckets[name]
    if not isinstance(facts, Untold):
        days = facts.deletes_after_days
        words = f"deleted after {days} days" if days is not None else "kept for ever"
        yield summed(CloudCheck.LEFTOVERS.of(name), words, _faults(commands, name, facts))


def _faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    if facts.deletes_after_days is None:
        mend = "Parts of ended submissions are of no use: delete them by age."
        yield Fault(Health.WARNING, "no rule deletes by age", mend, commands.sweep_bucket(name))
    yield from young_parts(commands, name, facts)
    yield from _keeping_faults(commands, name, facts)
    yield from _cost_faults(commands, name, facts)


def _keeping_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """Parts are written once, and that goes well; but every sweep is refused, put off and at last given up."""
    if facts.holds_objects:
        mend = "Turn the hold off, and release what is held: nothing here is worth keeping."
        words = "every new object is held: no part is ever deleted, and every sweep is given up"
        off = commands.update_bucket(name, "--no-default-event-based-hold")
        yield Fault(Health.WRONG, words, mend, (off, commands.release_holds(name)))
    if facts.retention_s:
        words = f"everything is kept {period(facts)}: sweeps before that are refused, and given up after some tries"
        if facts.retention_locked:
            mend = "A locked policy stays: name another bucket in CELLDROP_WORK_BUCKET."
            yield Fault(Health.WARNING, words, mend)
        else:
            off = commands.update_bucket(name, "--clear-retention-period")
            yield Fault(Health.WARNING, words, "Nothing here is worth keeping: take the policy away.", (off,))


def _cost_faults(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    costs = "Nothing here is ever restored: do not pay for what is deleted."
    if facts.versioned:
        off = commands.update_bucket(name, "--no-versioning")
        yield Fault(Health.WARNING, "old versions are kept", costs, (off,))
    if facts.soft_delete_s:
        off = commands.update_bucket(name, "--clear-soft-delete")
        words = f"what is deleted is kept {facts.soft_delete_s / DAY_S:g} days more"
        yield Fault(Health.WARNING, words, costs, (off,))
    if is_cold(facts):
        words = f"parts are {facts.storage_class}: each is paid for by the month, and lives for hours"
        standard = commands.update_bucket(name, "--default-storage-class=STANDARD")
        yield Fault(Health.WARNING, words, "Have new objects be STANDARD.", (standard,))
