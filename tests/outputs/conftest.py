"""Fixtures of the output tests."""

from __future__ import annotations

import pytest

from tests.outputs.stand_ins import Shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()
