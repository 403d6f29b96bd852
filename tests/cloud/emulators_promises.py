"""What a storage emulator keeps of Cloud Storage's promises, found out past our own code."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlencode

from tests.cloud.emulators_doors import StorageDoor

NEVER = 12_345


class Promise(StrEnum):
    WRITE_CONDITIONS = "a write over another generation than the one named is refused"
    READ_CONDITIONS = "a read of another generation than the one named is refused"
    DELETE_CONDITIONS = "a deletion of another generation than the one named is refused"
    METADATA = "an object's metadata is what was given, and nothing else"


def kept_promises(door: StorageDoor) -> frozenset[Promise]:
    bucket = door.new_bucket()
    door.put(bucket, "probe", b"probe")
    condition = urlencode({"ifGenerationMatch": NEVER})
    name = f"/storage/v1/b/{bucket}/o/probe"
    written, _ = door.ask(
        "POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=probe&{condition}", b"again", "text/plain"
    )
    read, _ = door.ask("GET", f"{name}?alt=media&{condition}")
    with door.client() as client:
        blob = client.bucket(bucket).blob("marked")
        blob.upload_from_string(b"", if_generation_match=0)
        marks = blob.metadata
    deleted, _ = door.ask("DELETE", f"{name}?{condition}")
    kept = {
        Promise.WRITE_CONDITIONS: written == 412,
        Promise.READ_CONDITIONS: read in {404, 412},
        Promise.DELETE_CONDITIONS: deleted == 412,
        Promise.METADATA: not marks,
    }
    return frozenset(promise for promise, holds in kept.items() if holds)
