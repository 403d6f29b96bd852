"""Ingest over the Cloud Storage adapter and a storage that answers as the platform does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from functions.ingest.dependencies import build_ingest
from functions.ingest.services import Ingest
from shared.adapters.gcp.blobs import CloudBlobStore
from shared.bundles.card import Features
from shared.bundles.stored import card_bytes
from shared.domain.submission import Submission
from shared.settings import load_settings
from shared.wiring.ports import MadePorts
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_shelf import Shelf
from tests.cloud.emulators_storage import StorageStandIn
from tests.fakes.bus import MemoryBus
from tests.fakes.clock import SettableClock
from tests.fakes.jobs import RecordedJobRunner
from tests.fakes.status import MemoryStatusStore
from tests.h5ad.h5ad_files import random_counts, write_file
from tests.services.house import card

SENT = datetime(2026, 1, 1, tzinfo=UTC)
N_GENES = 40
SAMPLE = write_file(random_counts(60, N_GENES))


@dataclass
class StorageHouse:
    """Ingest as it is deployed, with a file in a bucket.

    Attributes:
        now: The clock that retry times are counted by.
    """

    shelf: Shelf
    blobs: CloudBlobStore
    store: MemoryStatusStore
    bus: MemoryBus
    now: datetime = SENT

    @property
    def ingest(self) -> Ingest:
        settings = load_settings(_env_file="", default_model="m", allowed_buckets="inbox,archive")
        ports = MadePorts(self.blobs, self.bus, self.store, RecordedJobRunner())
        return replace(build_ingest(settings, ports), now=lambda: self.now)

    def put(self, bucket: str = "inbox", name: str = "sample.h5ad", **metadata: str) -> int:
        """A sound file; its generation."""
        resource = self.shelf.put(bucket, {"name": name, "metadata": metadata}, SAMPLE, None, None)
        return int(resource["generation"])

    def later(self, **how: float) -> None:
        self.now = self.now + timedelta(**how)

    def only(self) -> Submission:
        (stored,) = self.store.find()
        return stored.value


@contextmanager
def storage_house(stand_in: StorageStandIn) -> Iterator[StorageHouse]:
    stand_in.shelf.buckets |= {"inbox", "archive", "models"}
    genes = tuple(f"ENSG{i:011d}" for i in range(N_GENES))
    model = card().model_copy(update={"features": Features(ensembl=genes)})
    stand_in.shelf.put("models", {"name": "m/1/model.json"}, card_bytes(model), None, None)
    stand_in.shelf.put("models", {"name": "m/1/weights.safetensors"}, b"weights", None, None)
    with StorageDoor(stand_in.url).client() as client:
        blobs = CloudBlobStore(client, request_s=5.0, retry_s=0.2)
        yield StorageHouse(
            stand_in.shelf, blobs, MemoryStatusStore(SettableClock(tick=timedelta(seconds=1))), MemoryBus()
        )
