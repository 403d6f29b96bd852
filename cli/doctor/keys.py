"""Checks of the Cloud KMS keys that buckets are encrypted with. If a key cannot be used, nothing can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cli.doctor.bucket_settings import WRITTEN, uses_of
from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed, keys_of
from cli.doctor.silence import Remedy, unseen
from shared.ports.survey import KeyFacts, Silence

NEITHER = "nothing can be written, and objects encrypted with it cannot be read"
API = "cloudkms.googleapis.com"
SEE = "roles/cloudkms.viewer"
ENABLED = "ENABLED"
_LOST = "DESTROYED"
_SCHEDULED = "DESTROY_SCHEDULED"


def check_keys(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check each key once, and name the buckets whose default key it is."""
    buckets = keys_of(found.buckets)
    for key, answer in found.keys.items():
        name, of = CloudCheck.KEY.of(key), f"of {_bucket_words(commands, buckets.get(key, []))}"
        if isinstance(answer, KeyFacts):
            yield summed(name, of, _faults(commands, key, answer))
        elif answer.why is Silence.MISSING:
            about = unseen(name, answer, _remedy(commands, key))
            yield replace(about, found=f"{of}; {about.found}: {NEITHER}")
        elif answer.why is not Silence.NOT_SET:  # The check of the credentials reports this.
            yield _untold(name, of, unseen(name, answer, _remedy(commands, key)), commands.admit_storage(key))


def _bucket_words(commands: Commands, buckets: list[str]) -> str:
    written = [bucket for bucket in buckets if WRITTEN & {*uses_of(commands.settings, bucket)}]
    words = ", ".join(buckets)
    return f"{words} (the pipeline writes to {', '.join(written)})" if written else words


def _untold(name: str, of: str, about: Check, admit: str) -> Check:
    """The check of a key whose state could not be read, with advice on what to look at."""
    words = f"{of}; {about.found}; with a disabled version, objects can be neither read nor written"
    mend = f"{about.mend} Check the state of its versions, and that Cloud Storage's service agent may use it."
    return Check(name, about.health, words, mend.strip(), (*about.run, admit))


def _faults(commands: Commands, key: str, facts: KeyFacts) -> Iterator[Fault]:
    if not facts.primary or facts.state == _LOST:
        words = f"its primary version is {facts.state or 'missing'}: {NEITHER}"
        mend = "Create a new one. Objects encrypted with a destroyed version are lost: upload them again."
        yield Fault(Health.WRONG, words, mend, (commands.new_key_version(key),))
    elif facts.state != ENABLED:
        words = f"version {facts.primary} is {facts.state}: {NEITHER}"
        yield Fault(Health.WRONG, words, "Enable it.", tuple(_enable(commands, key, facts.primary, facts.state)))
    for version, state in facts.others:
        words = f"version {version} is {state}: objects encrypted with it cannot be read"
        mend = "Enable it, if any of these objects is still needed."
        yield Fault(Health.WARNING, words, mend, tuple(_enable(commands, key, version, state)))


def _enable(commands: Commands, key: str, version: str, state: str) -> Iterator[str]:
    if state == _SCHEDULED:
        yield commands.key_version("restore", key, version)
    yield commands.key_version("enable", key, version)


def _remedy(commands: Commands, key: str) -> Remedy:
    return Remedy(
        create=(),
        correct="Give its buckets another default key, and upload the objects encrypted with this one again.",
        see=commands.let_caller_see_key(key, SEE),
        enable=commands.enable(API, _project(key)),
    )


def _project(key: str) -> str:
    """The project in ``projects/PROJECT/locations/…``; empty for another form of name."""
    return key.split("/")[1] if key.startswith("projects/") else ""
