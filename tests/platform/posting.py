"""Posting to every door that the platform pushes through, over stores that take only what real ones do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from shared.adapters.gcp.documents import MAX_RECORD_BYTES
from shared.domain.submission import Submission
from shared.ports.status import Stored
from shared.records.documents import submission_document
from tests.platform.doors import open_door
from tests.platform.shapes import SAMPLE, Posted
from tests.services.house import House

DOORS = ("ingest", "dispatch", "reconcile")


@dataclass(frozen=True, slots=True)
class Doors:
    """Three functions over one house."""

    house: House
    clients: dict[str, FlaskClient]

    def post(self, name: str, posted: Posted) -> int:
        """The status that the platform is answered with."""
        self.house.patch(dict(posted.metadata))
        answer = self.clients[name].post("/", data=posted.body, headers=posted.all_headers)
        return answer.status_code


@contextmanager
def opened_doors() -> Iterator[Doors]:
    """Doors that stay open for many requests; ``sample.h5ad`` is in the inbox."""
    house = House()
    assert house.source == SAMPLE
    house.accept()  # So that there is something to dispatch.
    create = house.store.create

    def checked(record: Submission) -> Stored[Submission]:
        """Only what can be written as JSON in UTF-8, and is no larger than Firestore takes."""
        assert len(json.dumps(submission_document(record), ensure_ascii=False).encode()) < MAX_RECORD_BYTES
        return create(record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.store, "create", checked)
        yield Doors(house, {name: open_door(name, getattr(house, name), patch) for name in DOORS})
