"""The prices of machines and requests, in one dated table. No other file contains a price.

These are list prices in US dollars, without free tiers, discounts, storage of data, or traffic that leaves the region.
They were looked up on 2026-11-28 in dated copies of the pages named beside each figure, as the live pages could not be
reached. To update prices, change only this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIB_PER_GIB = 1024
TIB = 2**40


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one tier of regions.

    Attributes:
        tier: The regions that the prices apply to.
        as_of: The date of the oldest page, ISO 8601.
        vcpu_s: A vCPU-second of a Cloud Run job (instance-based billing).
        gib_s: A GiB-second of its memory.
        l4_s: A second of an NVIDIA L4 without zonal redundancy.
        least_s: The shortest time that an instance of a job is billed for.
        step_s: The unit to which longer times are rounded up.
        firestore_read: One document read.
        firestore_write: One document written.
        storage_a: One class A operation of Cloud Storage: a write, a listing.
        storage_b: One class B operation: a read, or a read of an object's metadata.
        pubsub_tib: A TiB published or delivered.
    """

    tier: str
    as_of: str
    vcpu_s: float
    gib_s: float
    l4_s: float
    least_s: float
    step_s: float
    firestore_read: float
    firestore_write: float
    storage_a: float
    storage_b: float
    pubsub_tib: float

    def billed_s(self, seconds: float) -> float:
        """The seconds billed for an instance that ran for ``seconds``."""
        return max(self.least_s, math.ceil(round(seconds / self.step_s, 6)) * self.step_s)


TIER_1 = Prices(
    tier="Cloud Run tier 1; L4, Firestore and Cloud Storage as in us-central1",
    as_of="2025-08-19",
    # https://cloud.google.com/run/pricing, table "Jobs", us-central1, copy of 2025-08-19. A list of the SKUs of
    # instance-based services of 2026-08 has the same three figures. With zonal redundancy the L4 would be 0.0002909.
    vcpu_s=0.000018,
    gib_s=0.000002,
    l4_s=0.0001867,
    # The same copy, "Billable instance time": a job's instance is billed for its whole lifetime, at least a minute,
    # rounded up to 100 ms.
    least_s=60.0,
    step_s=0.1,
    # https://cloud.google.com/firestore/pricing, Standard edition, as noted on 2026-10-08: $0.03, $0.09 for 100,000.
    firestore_read=0.03 / 100_000,
    firestore_write=0.09 / 100_000,
    # https://cloud.google.com/storage/pricing, Standard, one region, flat namespace, as noted on 2026-09-20.
    storage_a=0.005 / 1_000,
    storage_b=0.0004 / 1_000,
    # https://cloud.google.com/pubsub/pricing, basic message delivery, as noted on 2026-09-20.
    pubsub_tib=40.0,
)
"""The only table. Regions of Cloud Run's tier 2 cost more, so forecasts for them are too low."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The machine of one task.

    Attributes:
        gpus: The number of NVIDIA L4 GPUs, the only kind in deploy/flavors.
    """

    vcpus: int
    memory_mib: int
    gpus: int = 0

    def usd_per_s(self, prices: Prices) -> float:
        """The price of one second."""
        memory = self.memory_mib / MIB_PER_GIB * prices.gib_s
        return self.vcpus * prices.vcpu_s + memory + self.gpus * prices.l4_s


@dataclass(frozen=True, slots=True)
class Operations:
    """The number of requests that a submission makes to Firestore, Cloud Storage and Pub/Sub."""

    firestore_reads: float = 0
    firestore_writes: float = 0
    storage_a: float = 0
    storage_b: float = 0
    pubsub_bytes: float = 0

    def usd(self, prices: Prices) -> float:
        """The price of all these requests."""
        firestore = self.firestore_reads * prices.firestore_read + self.firestore_writes * prices.firestore_write
        storage = self.storage_a * prices.storage_a + self.storage_b * prices.storage_b
        return firestore + storage + self.pubsub_bytes / TIB * prices.pubsub_tib
