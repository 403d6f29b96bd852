"""What Cloud Storage refuses for good, by what it says, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.errors import ObjectRefusedError
from shared.domain.words import cut


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason.

    Attributes:
        signs: Of which the answer has one, in lower case.
        found: What was found, for people.
        hint: What to do.
    """

    signs: tuple[str, ...]
    found: str
    hint: str


REFUSALS = (
    Refusal(
        ("encryptedwithcustomerencryptionkey", "customer-supplied encryption key", "customerencryptionkey"),
        "the object is encrypted with a key that its owner supplied, which only they can send along",
        "Upload it again without --encryption-key; for a key of your own, make it the bucket's Cloud KMS key.",
    ),
    Refusal(
        ("requester pays", "userprojectmissing"),
        "the bucket is a requester pays bucket, and no project is named to pay",
        "Turn it off (gcloud storage buckets update gs://BUCKET --no-requester-pays), or copy the file to the inbox.",
    ),
    Refusal(
        ("cloud kms", "kms key", "cryptokeyversions"),
        "the Cloud KMS key that the object is encrypted with cannot be used",
        "Enable the key's version (gcloud kms keys versions enable), then upload the file again.",
    ),
    Refusal(
        ("object name", "maximum object length"),
        "Cloud Storage has no objects of such a name",
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
        "Have the service perimeter let in the account that this runs as, then upload the file again.",
    ),
)
"""Of those that a right would mend; ``found`` is what the service says."""

OTHERWISE = (
    "Look at it with gcloud storage objects describe; upload it again, or copy it to a bucket without such settings."
)


def refused(words: str, where: str) -> ObjectRefusedError:
    """The error for an answer that another try would meet again."""
    said = f"Cloud Storage refuses it: {cut(words, 300)}"
    return refused_by_settings(words, where) or ObjectRefusedError(said, where=where, hint=OTHERWISE)


def refused_by_settings(words: str, where: str) -> ObjectRefusedError | None:
    """The same, if it is one of the reasons that are known."""
    known = _known(REFUSALS, words)
    return ObjectRefusedError(known.found, where=where, hint=known.hint) if known else None


def denial_hint(words: str) -> str:
    """What to do about a missing right that is not a role of ours; empty where it is."""
    known = _known(DENIALS, words)
    return known.hint if known else ""


def _known(table: tuple[Refusal, ...], words: str) -> Refusal | None:
    said = words.lower()
    return next((one for one in table if any(sign in said for sign in one.signs)), None)
