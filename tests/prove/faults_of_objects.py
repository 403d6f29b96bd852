"""Faults of dropped files: overwritten, deleted, locked with a key, delivered again."""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import Any

from tests.prove.fault import Fault, Found, ended, ended_as
from tests.prove.hands import Hands
from tests.prove.options import MODEL
from tests.prove.report import PLAIN

READY_TRIES = 20


def first_drop(hands: Hands) -> Found:
    """A trigger takes minutes to deliver anything: drop until one is heard of."""
    started = time.monotonic()
    folder = f"{hands.cloud.at.folder}ready-"
    for turn in range(READY_TRIES):
        hands.drop(f"ready-{turn}.h5ad", b"these are notes, not cells\n" * 100)
        events = hands.cloud.events_in(hands.soon_s)
        heard = [event["data"] for event in events if event["data"]["source"]["name"].startswith(folder)]
        if heard:
            seconds = round(time.monotonic() - started)
            return ended(heard[0], "REJECTED", "NOT_HDF5", drops=turn + 1, seconds=seconds)
    return Found(agrees=False, words=f"none of {READY_TRIES} drops was heard of")


def plain(hands: Hands) -> Found:
    """Nothing goes wrong; the times of every step of the platform."""
    blob = hands.drop("plain.h5ad")
    outcome = hands.end_of(blob)
    history = hands.record(outcome)["history"]
    at = [datetime.fromisoformat(one["at"]) for one in history]
    seconds: dict[str, Any] = {"object to record": round((at[0] - blob.time_created).total_seconds(), 2)}
    for before, after, earlier, later in zip(history, history[1:], at, at[1:], strict=False):
        seconds[f"{before['state']} to {after['state']}"] = round((later - earlier).total_seconds(), 2)
    return ended(outcome, "SUCCEEDED", seconds=seconds)


def dropped_twice(hands: Hands) -> Found:
    """Overwritten as soon as it is there."""
    first, second = hands.drop("twice.h5ad"), hands.drop("twice.h5ad", top_k="2")
    newest = hands.end_of(second)
    ends = hands.ends_of(second.name)
    older = [end for end in ends if end["source"]["generation"] == first.generation]
    submissions = {end["submission_id"] for end in ends}
    # The older one may have been through before the newer came.
    lawful = all(end["state"] == "SUCCEEDED" or end["code"] == "INPUT_CHANGED" for end in older)
    words = f"newest {newest['state']}, older {[end['code'] or end['state'] for end in older] or 'ignored'}"
    agrees = newest["state"] == "SUCCEEDED" and lawful and len(submissions) == 1 + len(older) <= 2
    return Found(agrees, words, {"generations": [first.generation, second.generation]})


def deleted_at_once(hands: Hands) -> Found:
    """Deleted as soon as it is there."""
    blob = hands.drop("deleted.h5ad")
    blob.delete(if_generation_match=blob.generation)
    ends = hands.ends_of(blob.name, hands.soon_s)
    codes = [end["code"] or end["state"] for end in ends]
    agrees = len(ends) <= 1 and set(codes) <= {"INPUT_CHANGED", "INPUT_NOT_FOUND"}
    return Found(agrees, str(codes) if codes else f"ignored (no event in {hands.soon_s:g} s)")


def customer_key(hands: Hands) -> Found:
    """Under a key that only we have."""
    blob = hands.blob("locked.h5ad", key=os.urandom(32))
    blob.upload_from_string(hands.cells)
    return ended(hands.end_of(blob), "REJECTED", "OBJECT_REFUSED")


def empty_first(hands: Hands) -> Found:
    """As gcsfuse writes: an empty object, then the whole one."""
    empty = hands.drop("mounted.h5ad", b"")
    refused = hands.end_of(empty)
    whole = hands.end_of(hands.drop("mounted.h5ad"))
    words = f"empty {refused['state']} {refused['code']}, whole {whole['state']}"
    return Found(refused["state"] == "REJECTED" and whole["state"] == "SUCCEEDED", words, {"hint": refused["hint"]})


def option_in_another_case(hands: Hands) -> Found:
    """As a person may write it."""
    blob = hands.blob("case.h5ad")
    blob.metadata = {"Celldrop-Model": MODEL, "celldrop-map": "off", "Celldrop-Top-K": "3"}
    blob.upload_from_string(hands.cells)
    outcome = hands.end_of(blob)
    requested = hands.record(outcome)["requested"]
    agrees = outcome["state"] == "SUCCEEDED" and requested.get("top_k") == "3"
    return Found(agrees, f"{ended_as(outcome)}, top_k {requested.get('top_k')}", {"kept as": blob.metadata})


TEMPORARY = (".gcsfuse_tmp/x.h5ad", "._x.h5ad", ".x.h5ad.Ab12Cd", "x.h5ad.part")


def temporary_names(hands: Hands) -> Found:
    """What programs make beside a file."""
    blobs = [hands.drop(name, b"not a file yet") for name in TEMPORARY]
    named = {event["data"]["source"]["name"] for event in hands.cloud.events_in(hands.soon_s)}
    heard = [blob.name for blob in blobs if blob.name in named]
    return Found(not heard, f"events of {heard}" if heard else "none has a record")


def patched_at_once(hands: Hands) -> Found:
    """Metadata is changed as soon as the object is there: no new generation, and no drop."""
    blob = hands.drop("patched.h5ad", top_k="3")
    blob.metadata = {**blob.metadata, "celldrop-top_k": "4"}
    blob.patch()
    outcome = hands.end_of(blob)
    ids = {end["submission_id"] for end in hands.ends_of(blob.name, hands.soon_s)}
    return Found(outcome["state"] == "SUCCEEDED" and len(ids) == 1, f"{ended_as(outcome)}, {len(ids)} submissions")


def drop_delivered_again(hands: Hands) -> Found:
    """Eventarc's own message of a drop comes again, after the metadata was changed."""
    with hands.redelivering(hands.eventarc_subscription()):
        blob = hands.drop("again.h5ad", top_k="3")
        outcome = hands.end_of(blob)
        blob.metadata = {**blob.metadata, "celldrop-top_k": "5"}
        blob.patch()
    ids = {end["submission_id"] for end in hands.ends_of(blob.name, 2 * hands.soon_s)}
    return Found(outcome["state"] == "SUCCEEDED" and len(ids) == 1, f"{ended_as(outcome)}, {len(ids)} submissions")


FIRST_DROP = Fault("first drop", "`REJECTED` `NOT_HDF5`, for notes", first_drop)
"""Before the suite, whose drops a trigger that is not ready yet would lose."""
FAULTS = (
    Fault(PLAIN, "`SUCCEEDED`", plain),
    Fault(
        "dropped twice",
        "the newest `SUCCEEDED`; the older `INPUT_CHANGED`, ignored, or through",
        dropped_twice,
        ("input overwritten",),
    ),
    Fault("deleted at once", "`INPUT_CHANGED`, `INPUT_NOT_FOUND` or ignored", deleted_at_once, ("input deleted",)),
    Fault(
        "customer-supplied key",
        "`REJECTED` `OBJECT_REFUSED`",
        customer_key,
        ("An object under a customer-supplied key",),
    ),
    Fault(
        "empty object first",
        "the empty one `REJECTED`, the whole one `SUCCEEDED`",
        empty_first,
        ("gcsfuse makes an empty object first",),
    ),
    Fault("temporary names", "ignored, without a record", temporary_names, ("In a mounted bucket temporary files",)),
    Fault(
        "option in another case",
        "`SUCCEEDED`, the option taken as it is meant",
        option_in_another_case,
        ("Keys of custom metadata keep the case",),
    ),
    Fault("metadata patched at once", "one submission, `SUCCEEDED`", patched_at_once),
    Fault(
        "drop delivered again",
        "one submission, with the options of the first delivery",
        drop_delivered_again,
        ("A storage event is delivered again",),
    ),
)
