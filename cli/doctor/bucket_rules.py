"""What a bucket's lifecycle does to what is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cli.doctor.check import Fault, Health
from cli.doctor.commands import LEFTOVER_DAYS, Commands
from shared.ports.survey import AgeRule, BucketFacts

NEEDED_DAYS = 2
"""From a drop to its outcome: Eventarc tries a day, room is waited for six hours, and then it is computed."""


def rule_faults(commands: Commands, name: str, facts: BucketFacts, uses: Collection[str]) -> Iterator[Fault]:
    """Of the rules of a bucket that is not for work."""
    for rule in facts.rules:
        fault = _moved(rule, uses) if rule.storage_class else _deleted(rule, uses)
        if fault is not None:
            health, words, mend = fault
            again = f"{mend} (the command takes away all of its rules)."
            yield Fault(health, words, again, (commands.update_bucket(name, "--clear-lifecycle"),))


def _deleted(rule: AgeRule, uses: Collection[str]) -> tuple[Health, str, str] | None:
    words = f"{_which(rule)} is deleted {_age(rule)}"
    if "models" in uses:
        return Health.WRONG, f"{words}, models that are in use among it", "Keep models until you delete them"
    if rule.age_days < NEEDED_DAYS:
        needed = (
            "a result may be gone before anybody looks" if "results" in uses else "a file may be gone before its turn"
        )
        return Health.WRONG, f"{words}: {needed}", f"Delete after {NEEDED_DAYS} days at least, or never"
    if "results" in uses and rule.age_days < LEFTOVER_DAYS:
        return Health.WARNING, f"{words}: whoever wants a result has to be quick", "Delete later, or never"
    return None


def _moved(rule: AgeRule, uses: Collection[str]) -> tuple[Health, str, str] | None:
    """Reading it goes on, at a price."""
    words = f"{_which(rule)} becomes {rule.storage_class} {_age(rule)}"
    if "models" in uses:
        return Health.WARNING, f"{words}: every task that reads one is billed for it", "Leave models in their class"
    if "results" not in uses and rule.age_days < NEEDED_DAYS:
        words += ": it may be read after that, and is billed for it"
        return Health.WARNING, words, f"Move after {NEEDED_DAYS} days at least"
    return None


def young_parts(commands: Commands, name: str, facts: BucketFacts) -> Iterator[Fault]:
    """Of the work bucket: parts are needed until their submission is over."""
    for rule in facts.rules:
        if not rule.storage_class and rule.age_days < NEEDED_DAYS:
            words = f"{_which(rule)} is deleted {_age(rule)}: parts may be gone before they are merged"
            yield Fault(Health.WRONG, words, "Delete later.", commands.sweep_bucket(name))


def _which(rule: AgeRule) -> str:
    """What it is for, as names begin or end."""
    return f"what is called {', '.join(rule.within)}" if rule.within else "everything"


def _age(rule: AgeRule) -> str:
    match rule.age_days:
        case 0:
            return "on its first day"
        case 1:
            return "after a day"
        case days:
            return f"after {days} days"
