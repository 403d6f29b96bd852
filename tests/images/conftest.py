from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.images.containers import Containers, containers


@pytest.fixture(scope="session")
def engine() -> Iterator[Containers]:
    with containers() as made:
        yield made
