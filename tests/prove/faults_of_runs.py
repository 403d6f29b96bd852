"""Faults of executions and models: cancelled or deleted from outside, a bundle that is away for a while."""

from __future__ import annotations

from collections.abc import Callable

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.run_v2 import Execution

from tests.prove.fault import Fault, Found, ended_as
from tests.prove.hands import Hands, NotProvokedError
from tests.prove.options import MODEL


def cancelled_from_outside(hands: Hands) -> Found:
    """As `gcloud run jobs executions cancel` does."""
    return _stopped(hands, "cancelled.h5ad", lambda one: hands.executions.cancel_execution(name=one.name))


def deleted_from_outside(hands: Hands) -> Found:
    """As `gcloud run jobs executions delete` does."""
    return _stopped(hands, "execution-deleted.h5ad", lambda one: hands.executions.delete_execution(name=one.name))


def _stopped(hands: Hands, name: str, stop: Callable[[Execution], object]) -> Found:
    known = {one.name for one in hands.executions_beside(())}
    blob = hands.drop(name)
    execution = hands.new_execution(known)
    try:
        stop(execution)
    except GoogleAPICallError as error:
        raise NotProvokedError(f"Cloud Run does not do it: {error.message}") from error
    outcome = hands.end_of(blob)
    runs = hands.executions_beside(known)
    words = f"{ended_as(outcome)}, {len(runs)} executions listed afterwards"
    history = hands.history(outcome)
    return Found(outcome["state"] == "SUCCEEDED", words, {"stopped": execution.name, "history": history})


def bundle_away(hands: Hands) -> Found:
    """A bundle is removed, and uploaded again."""
    bucket = hands.cloud.storage.bucket(hands.reached.models_bucket)
    kept = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix=f"{MODEL}/")}
    for name in kept:
        bucket.blob(name).delete()
    try:
        away = hands.end_of(hands.drop("bundle-away.h5ad"))
    finally:
        for name, data in kept.items():
            bucket.blob(name).upload_from_string(data)
    back = hands.end_of(hands.drop("bundle-back.h5ad"))
    words = f"without it {away['state']} {away['code']}, with it again {back['state']}"
    return Found(away["code"] == "MODEL_NOT_FOUND" and back["state"] == "SUCCEEDED", words, {"hint": away["hint"]})


FAULTS = (
    Fault(
        "execution cancelled from outside",
        "one more run, `SUCCEEDED`",
        cancelled_from_outside,
        ("execution stopped by an operator",),
    ),
    Fault(
        "execution deleted from outside",
        "one more run, `SUCCEEDED`",
        deleted_from_outside,
        ("executions forgotten by the platform",),
        only_at_google=True,
    ),
    Fault("bundle away for a while", "`REJECTED` `MODEL_NOT_FOUND`; afterwards `SUCCEEDED`", bundle_away),
)
