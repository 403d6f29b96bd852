"""Checks of the buckets: that they exist in the right region, notify ingest of drops, and contain the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cli.doctor.bucket_settings import bucket_faults, described, use_words
from cli.doctor.check import Check, CloudCheck, Health, summed
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed
from cli.doctor.silence import Remedy, is_missing, is_out, silent
from shared.ports.survey import BucketFacts, NotificationFacts, Part, Silence, Untold
from shared.settings import Settings

SEE = "roles/storage.legacyBucketReader"
API = "storage.googleapis.com"
FINALIZED = "OBJECT_FINALIZE"
_WIDE = {"US": "us-", "EU": "europe-", "ASIA": "asia-"}


def check_buckets(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check every bucket, the inbox first."""
    for name, facts in found.buckets.items():
        check = CloudCheck.BUCKET.of(name)
        answer = _answer_of(facts, found.holdings[name])
        if isinstance(answer, BucketFacts):
            yield summed(check, described(commands.settings, name, answer), bucket_faults(commands, name, answer))
        elif isinstance(answer, Untold):
            yield silent(check, answer, _remedy(commands, name))
        else:
            yield _unseen(check, f"{use_words(commands.settings, name)}, exists", answer, _remedy(commands, name))


def _answer_of(facts: BucketFacts | Untold, holding: bool | Untold) -> BucketFacts | Untold | Silence:
    """The bucket's facts; or, if its objects can be listed, why its settings cannot be read; or why neither works."""
    if not isinstance(facts, Untold):
        return facts
    if not isinstance(holding, Untold) and facts.why in {Silence.DENIED, Silence.NOT_OFFERED}:
        return facts.why
    return holding if is_missing(holding) and isinstance(holding, Untold) else facts


def _unseen(check: str, words: str, why: Silence, remedy: Remedy) -> Check:
    """The check of a bucket whose objects can be listed but whose settings cannot be read."""
    about = silent(check, Untold(why), remedy)
    return replace(about, found=f"{words}; its settings are {about.found}")


def _remedy(commands: Commands, name: str) -> Remedy:
    return Remedy(
        create=(commands.create_bucket(name),),
        correct="Create it, or correct the setting that names it.",
        see=commands.let_caller(Part.BUCKET, name, SEE),
        enable=commands.enable(API),
    )


def check_drops(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check that ingest gets an event for every drop."""
    inbox = commands.settings.inbox_bucket
    name = CloudCheck.DROPS.of(inbox)
    answer = found.notifications
    if is_out(found.holdings[inbox]):
        return
    if isinstance(answer, Untold):
        # The bucket exists, so only an emulator can fail to find its notifications.
        answer = Untold(Silence.NOT_OFFERED, answer.words) if is_missing(answer) else answer
        yield silent(name, answer, _remedy(commands, inbox))
        return
    heard = [one for one in answer if _hears_drops(one)]
    if heard and not any(one.tells_all for one in heard):
        mend = "Create an Eventarc trigger for ingest; it makes its own notification."
        words = f"notifies {', '.join(one.topic for one in heard)} without a payload, which ingest cannot read"
        yield Check(name, Health.WRONG, words, mend, (commands.notify_of_drops(inbox),))
        return
    if heard:
        everything = any(not one.prefix for one in heard)
        words = f"notifies {', '.join(one.topic for one in heard)}"
        yield Check(name, Health.OK, words if everything else f"{words}; only for objects in {heard[0].prefix}…")
        return
    mend = "Create an Eventarc trigger for ingest; without one, only requests start a submission."
    yield Check(name, Health.WRONG, "it sends no event for new objects", mend, (commands.notify_of_drops(inbox),))


def _hears_drops(one: NotificationFacts) -> bool:
    return not one.event_types or FINALIZED in one.event_types


def check_region(settings: Settings, found: Deployed) -> Iterator[Check]:
    """Check that jobs and buckets are in the same region."""
    places = {name: facts.location for name, facts in found.buckets.items() if not isinstance(facts, Untold)}
    far = {name: place for name, place in places.items() if not _is_near(place, settings.region)}
    if not places:
        return
    name = CloudCheck.REGION.of(settings.region)
    if not far:
        yield Check(name, Health.OK, "the region of the jobs and the buckets")
        return
    words = ", ".join(f"{bucket} is in {place}" for bucket, place in far.items())
    mend = "Reading across regions is slow and costs money: set CELLDROP_REGION to the data's region, or move the data."
    yield Check(name, Health.WARNING, words, mend)


def _is_near(location: str, region: str) -> bool:
    if location in _WIDE:
        return region.startswith(_WIDE[location])
    # A location without a hyphen is dual- or multi-region; which regions it covers is not in its name.
    return "-" not in location or location.lower() == region


def check_model(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check that the default model exists and is intact."""
    settings, facts = commands.settings, found.model
    bucket = settings.models_bucket
    name = CloudCheck.MODEL.of(settings.default_model)
    if is_out(found.holdings[bucket]):
        return
    upload = (commands.upload_model(bucket, settings.default_model.partition("@")[0]),)
    if isinstance(facts, Untold):
        yield _no_model(name, facts, upload, commands)
    elif facts.is_whole is False:
        mend = "Upload the original bundle again, or publish the changed one as a new version."
        yield Check(name, Health.WRONG, f"{facts.reference}: the weights do not match its card", mend, upload)
    elif facts.is_whole is None:
        words = f"{facts.reference}: its card is valid; its weights are too large to check here"
        yield Check(name, Health.OK, words)
    else:
        yield Check(name, Health.OK, f"{facts.reference}: intact, its digest matches its card")


def _no_model(name: str, untold: Untold, upload: tuple[str, ...], commands: Commands) -> Check:
    bucket = commands.settings.models_bucket
    match untold.why:
        case Silence.MISSING:
            mend = "Upload the bundle as NAME/VERSION/, or set CELLDROP_DEFAULT_MODEL to another model."
            return Check(name, Health.WRONG, untold.words, mend, upload)
        case Silence.REFUSED:
            return Check(name, Health.WRONG, untold.words, "Upload the bundle again.", upload)
        case _:
            see = commands.let_caller(Part.BUCKET, bucket, "roles/storage.objectViewer")
            return silent(name, untold, Remedy(upload, "", see, commands.enable(API)))
