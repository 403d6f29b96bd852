"""Posts as many made-up requests to every door as are asked for: ``python -m tests.platform.fuzz_doors --n 20000``."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.platform.posting import DOORS, opened_doors
from tests.platform.shapes import NAMED, POSTED, Posted

AT_ONCE = 1000
"""Before the doors are opened anew, so that no house grows too large."""


def fuzz(name: str, n: int, first_seed: int) -> Counter[int]:
    """How often a door gave which status.

    Raises:
        AssertionError: It answered 5xx; hypothesis tells the smallest request that does it.
    """
    found: Counter[int] = Counter()

    def post_some(n_posted: int, chosen: int) -> None:
        with opened_doors() as doors:

            @seed(chosen)
            @settings(
                max_examples=n_posted,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
                deadline=None,
                database=None,
            )
            @given(POSTED)
            def answered(posted: Posted) -> None:
                status = doors.post(name, posted)
                found[status] += 1
                assert status < 500, f"{name} answered {status}: {posted}"

            answered()

    for place in range(0, n, AT_ONCE):
        post_some(min(AT_ONCE, n - place), first_seed + place)
    return found


def main() -> None:
    """Post, and print what was answered."""
    given_words = argparse.ArgumentParser(description=__doc__)
    given_words.add_argument("--n", type=int, default=20_000, help="requests at each door")
    given_words.add_argument("--seed", type=int, default=None)
    asked = given_words.parse_args()
    first_seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    logging.disable(logging.CRITICAL)
    with opened_doors() as doors:
        bad = [(name, shape) for name in DOORS for shape, posted in NAMED.items() if doors.post(name, posted) >= 500]
    if bad:
        sys.exit(f"named shapes answered with 5xx: {bad}")
    for name in DOORS:
        started = time.monotonic()
        found = fuzz(name, asked.n, first_seed)
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(found.items()))
        print(f"{name}: {found.total():,} requests in {time.monotonic() - started:.0f} s; {statuses}", flush=True)
    print(f"none 5xx (--seed {first_seed})")


if __name__ == "__main__":
    main()
