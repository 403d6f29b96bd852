"""A deployment's limits on the size of an input hold to the last byte and cell, through ingest's own door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.console import Output
from cli.embedded import drop_of_file, open_embedded
from cli.validating import validate_file
from shared.adapters.gcp.documents import submission_fields
from shared.domain.errors import InputTooLargeError
from shared.domain.submission import Failure
from shared.records.messages import AnnotationRequest, parse_request
from shared.settings import load_settings
from tests.h5ad.h5ad_files import random_counts, write_file
from tests.services.house import House

N_CELLS = 20
WIDE = "\U0001f600"
FILE = write_file(random_counts(N_CELLS, 30))


def failure_of(folder: Path, data: bytes = FILE, **limits: Any) -> Failure:
    """Why the file is refused: for its few genes, where not for its size."""
    file = folder / "sample.h5ad"
    file.write_bytes(data)
    embedded = open_embedded(load_settings(home=folder / "home", _env_file=None, **limits))
    try:
        record = embedded.submit(drop_of_file(embedded.blobs, file, {})).value
    finally:
        embedded.close()
    assert record.failure is not None
    return record.failure


@pytest.mark.parametrize("limit", [{"max_input_bytes": len(FILE)}, {"max_cells": N_CELLS}])
def test_a_file_at_the_limit_is_not_too_large(limit: dict[str, Any], tmp_path: Path) -> None:
    assert failure_of(tmp_path, **limit).code == "GENES_DO_NOT_MATCH"


@pytest.mark.parametrize(
    ("limit", "found", "setting"),
    [
        ({"max_input_bytes": len(FILE) - 1}, f"{len(FILE):,} bytes", "CELLDROP_MAX_INPUT_BYTES"),
        ({"max_cells": N_CELLS - 1}, f"{N_CELLS} cells", "CELLDROP_MAX_CELLS"),
    ],
)
def test_a_file_past_the_limit_is_too_large(limit: dict[str, Any], found: str, setting: str, tmp_path: Path) -> None:
    failure = failure_of(tmp_path, **limit)
    assert failure.code == "INPUT_TOO_LARGE"
    assert failure.message.startswith(found)
    assert setting in failure.hint


def test_a_file_too_large_is_refused_before_it_is_looked_into(tmp_path: Path) -> None:
    assert failure_of(tmp_path, b"no HDF5", max_input_bytes=7).code == "NOT_HDF5"
    assert failure_of(tmp_path, b"no HDF5!", max_input_bytes=7).code == "INPUT_TOO_LARGE"


@pytest.mark.parametrize("limit", ["max_input_bytes", "max_cells"])
def test_validate_judges_by_the_same_limits(limit: str, tmp_path: Path) -> None:
    file = tmp_path / "sample.h5ad"
    file.write_bytes(FILE)
    settings = load_settings(home=tmp_path / "home", _env_file=None, **{limit: N_CELLS - 1})
    with pytest.raises(InputTooLargeError):
        validate_file(settings, file, models=[], pairs=[], output=Output(as_json=True))


def test_the_largest_requests_that_are_accepted_fit_in_a_record(house: House) -> None:
    # Firestore's limit is 1 MiB; a sign outside the basic plane takes 12 bytes in a record.
    limits = AnnotationRequest.model_json_schema()["properties"]
    options = {f"{number:02}".ljust(64, WIDE): WIDE * 512 for number in range(limits["options"]["maxProperties"])}
    largest = 0
    for number in range(100):
        asked = {"correlation_id": f"{number:02}".ljust(256, WIDE), "source": WIDE * 256, "rerun": WIDE * 256}
        drop = {"bucket": "inbox", "name": "sample.h5ad", "options": options}
        request = parse_request(json.dumps({"schema_version": 1, **drop, **asked}).encode())
        house.ingest.handle_request(request, f"message-{number}")
        fields = submission_fields(house.only(), n_changes=1, token="t", expires_at=None)
        largest = max(largest, len(fields["record"]))
    assert largest > 400_000, "or these requests are not the largest"
