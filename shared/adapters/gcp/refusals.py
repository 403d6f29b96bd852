"""Recognises permanent refusals of Cloud Storage by their message, and says what can be done about each."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import ObjectRefusedError
from shared.domain.words import cut


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal.

    Attributes:
        signs: Texts in lower case; the service's message contains one of them.
        found: What was found, as text.
        hint: What to do, as text.
    """

    signs: tuple[str, ...]
    found: str
    hint: str


REFUSALS = (
    Refusal(
        ("encryptedwithcustomerencryptionkey", "customer-supplied encryption key", "customerencryptionkey"),
        "the object is encrypted with a customer-supplied key, which the pipeline does not have",
        "Upload it again with gcloud, without --encryption-key. To use your own key, make it the bucket's KMS key.",
    ),
    Refusal(
        ("requester pays", "userprojectmissing"),
        "requester pays is on for the bucket, and the pipeline does not pay for requests",
        "Turn it off (gcloud storage buckets update gs://BUCKET --no-requester-pays), or copy the file to the inbox.",
    ),
    Refusal(
        ("cloud kms", "kms key", "cryptokeyversions"),
        "the Cloud KMS key that the object is encrypted with cannot be used",
        "Enable the key's version (gcloud kms keys versions enable), then upload the file again.",
    ),
    Refusal(
        ("object name", "maximum object length"),
        "Cloud Storage does not allow this object name",
        "Give the object a name of at most 1,024 bytes on one line, as `gcloud storage ls` prints it.",
    ),
)

DENIALS = (
    Refusal(
        ("cloud kms", "kms key", "cryptokeyversions"),
        "",
        "Grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the key to Cloud Storage's service agent "
        "(gcloud storage service-agent prints it).",
    ),
    Refusal(
        ("billing account",),
        "",
        "Enable billing for the bucket's project, then upload the file again.",
    ),
    Refusal(
        ("organization's policy", "vpc service controls"),
        "",
        "Allow the account that this runs as in the service perimeter, then upload the file again.",
    ),
    Refusal(
        ("retention policy", "object retention", "retentionpolicynotmet"),
        "",
        "Wait until the retention period is over. The pipeline's buckets should have none: "
        "gcloud storage buckets update gs://BUCKET --clear-retention-period.",
    ),
    Refusal(
        ("under active", "objectunderactivehold"),
        "",
        "Release the object's hold: gcloud storage objects update gs://BUCKET/OBJECT --no-event-based-hold "
        "--no-temporary-hold.",
    ),
)
"""Denials that the pipeline's own roles would not solve; ``found`` is the service's message."""

OTHERWISE = (
    "Inspect it with gcloud storage objects describe. Upload it again, or copy it to a bucket without such settings."
)


def refused(words: str, where: str) -> ObjectRefusedError:
    """The error for a refusal that a retry would meet again."""
    said = f"Cloud Storage refuses it: {cut(words, 300)}"
    return refused_by_settings(words, where) or ObjectRefusedError(said, where=where, hint=OTHERWISE)


def refused_by_settings(words: str, where: str) -> ObjectRefusedError | None:
    """The same if the refusal is a known one; else None."""
    known = _known(REFUSALS, words)
    return ObjectRefusedError(known.found, where=where, hint=known.hint) if known else None


def denial_hint(words: str) -> str:
    """What to do about a permission that our roles do not include; empty if they do."""
    known = _known(DENIALS, words)
    return known.hint if known else ""


def _known(table: tuple[Refusal, ...], words: str) -> Refusal | None:
    said = words.lower()
    return next((one for one in table if any(sign in said for sign in one.signs)), None)
