"""Checks of a bucket's lifecycle rules: whether they delete or move objects that are still needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cli.doctor.check import Fault, Health
from cli.doctor.commands import LEFTOVER_DAYS, Commands
from shared.ports.survey import AgeRule, BucketFacts

NEEDED_DAYS = 2
"""The longest time from a drop to its outcome: a day of Eventarc retries, six hours' wait for capacity, the run."""


def rule_faults(commands: Commands, name: str, facts: BucketFacts, uses: Collection[str]) -> Iterator[Fault]:
    """The faults of the rules of a bucket other than the work bucket."""
    for rule in facts.rules:
        fault = _moved(rule, uses) if rule.storage_class else _deleted(rule, uses)
        if fault is not None:
            health, words, mend = fault
            again = f"{mend} (the command removes all of its rules)."
            yield Fault(health, words, again, (commands.update_bucket(name, "--clear-lifecycle"),))


def _deleted(rule: AgeRule, uses: Collection[str]) -> tuple[Health, str, str] | None:
    words = f"{_which(rule)} is deleted {_age(rule)}"
    if "models" in uses:
        return Health.WRONG, f"{words}, even models in use", "Keep models until you delete them yourself"
    if rule.age_days < NEEDED_DAYS:
        needed = (
            "a result may be deleted before anyone sees it"
            if "results" in uses
            else "a file may be deleted before it is annotated"
        )
        return Health.WRONG, f"{words}: {needed}", f"Delete after {NEEDED_DAYS} days at least, or never"
    if "results" in uses and rule.age_days < LEFTOVER_DAYS:
        return Health.WARNING, f"{words}: results are kept only briefly", "Delete later, or never"
    return None


def _moved(rule: AgeRule, uses: Collection[str]) -> tuple[Health, str, str] | None:
    """The fault of a rule that moves objects to a class where reading costs extra."""
    words = f"{_which(rule)} becomes {rule.storage_class} {_age(rule)}"
    if "models" in uses:
        return Health.WARNING, f"{words}: every read of a model is billed", "Leave models in their storage class"
    if "results" not in uses and rule.age_days < NEEDED_DAYS:
        words += ": a file may be read after that, which is billed"
        return Health.WARNING, words, f"Move after {NEEDED_DAYS} days at least"
    return None


def young_parts(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """The faults of the work bucket's rules: parts are needed until their submission has ended."""
    for rule in facts.rules:
        if not rule.storage_class and rule.age_days < NEEDED_DAYS:
            words = f"{_which(rule)} is deleted {_age(rule)}: parts may be deleted before they are merged"
            yield Fault(Health.WRONG, words, "Delete later.", commands.sweep_bucket(name))


def _which(rule: AgeRule) -> str:
    """The objects that a rule applies to, by the prefix or suffix of their names."""
    return f"everything named {', '.join(rule.within)}" if rule.within else "everything"


def _age(rule: AgeRule) -> str:
    match rule.age_days:
        case 0:
            return "on its first day"
        case 1:
            return "after a day"
        case days:
            return f"after {days} days"
