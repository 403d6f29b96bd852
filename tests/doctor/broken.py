"""Everything that a test breaks in a sound deployment, and what changes nothing."""

from __future__ import annotations

from tests.doctor.breaking import BROKEN
from tests.doctor.breaking_buckets import BROKEN_BUCKETS, HARMLESS
from tests.doctor.breaking_jobs import BROKEN_JOBS, HARMLESS_JOBS

ALL_BROKEN = {**BROKEN, **BROKEN_BUCKETS, **BROKEN_JOBS}
ALL_HARMLESS = {**HARMLESS, **HARMLESS_JOBS}
assert len(ALL_BROKEN) == len(BROKEN) + len(BROKEN_BUCKETS) + len(BROKEN_JOBS)
