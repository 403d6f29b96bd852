"""Checks of the Cloud KMS keys that buckets are encrypted with: who cannot use the key can read nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cli.doctor.bucket_settings import WRITTEN, uses_of
from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed, keys_of
from cli.doctor.silence import Remedy, unseen
from shared.ports.survey import KeyFacts, Silence

NEITHER = "nothing new can be written, and what it encrypted cannot be read"
API = "cloudkms.googleapis.com"
SEE = "roles/cloudkms.viewer"
ENABLED = "ENABLED"
_LOST = "DESTROYED"
_SCHEDULED = "DESTROY_SCHEDULED"


def check_keys(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Each key once, with the buckets that it is the default of."""
    buckets = keys_of(found.buckets)
    for key, told in found.keys.items():
        name, of = CloudCheck.KEY.of(key), f"of {_bucket_words(commands, buckets.get(key, []))}"
        if isinstance(told, KeyFacts):
            yield summed(name, of, _faults(commands, key, told))
        elif told.why is Silence.MISSING:
            about = unseen(name, told, _remedy(commands, key))
            yield replace(about, found=f"{of}; {about.found}: nothing under it can be read, and nothing is written")
        elif told.why is not Silence.NOT_SET:  # The credentials' own check says so.
            yield _untold(name, of, unseen(name, told, _remedy(commands, key)), commands.admit_storage(key))


def _bucket_words(commands: Commands, buckets: list[str]) -> str:
    written = [bucket for bucket in buckets if WRITTEN & {*uses_of(commands.settings, bucket)}]
    words = ", ".join(buckets)
    return f"{words} (the pipeline writes to {', '.join(written)})" if written else words


def _untold(name: str, of: str, about: Check, admit: str) -> Check:
    """Whether the key can be used was not told; what there is to look at."""
    words = f"{of}; {about.found}; under a disabled version no object can be read, and nothing is written"
    mend = f"{about.mend} Look at the state of its versions; Cloud Storage's service agent has to be let in, too."
    return Check(name, about.health, words, mend.strip(), (*about.run, admit))


def _faults(commands: Commands, key: str, facts: KeyFacts) -> Iterator[Fault]:
    if not facts.primary or facts.state == _LOST:
        words = f"its primary version is {facts.state or 'missing'}: {NEITHER}"
        mend = "Make a new one. What was under a destroyed version is lost: upload it again."
        yield Fault(Health.WRONG, words, mend, (commands.new_key_version(key),))
    elif facts.state != ENABLED:
        words = f"version {facts.primary} is {facts.state}: {NEITHER}"
        yield Fault(Health.WRONG, words, "Enable it.", tuple(_enable(commands, key, facts.primary, facts.state)))
    for version, state in facts.others:
        words = f"version {version} is {state}: what it encrypted cannot be read"
        mend = "Enable it, if anything under it is still wanted."
        yield Fault(Health.WARNING, words, mend, tuple(_enable(commands, key, version, state)))


def _enable(commands: Commands, key: str, version: str, state: str) -> Iterator[str]:
    if state == _SCHEDULED:
        yield commands.key_version("restore", key, version)
    yield commands.key_version("enable", key, version)


def _remedy(commands: Commands, key: str) -> Remedy:
    return Remedy(
        create=(),
        correct="Give its buckets another default key, and upload again what was under this one.",
        see=commands.let_caller_see_key(key, SEE),
        enable=commands.enable(API, _project(key)),
    )


def _project(key: str) -> str:
    """Of ``projects/PROJECT/locations/…``; empty for what is called otherwise."""
    return key.split("/")[1] if key.startswith("projects/") else ""
