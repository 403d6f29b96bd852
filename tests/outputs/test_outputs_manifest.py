"""The manifest: it holds what it must, survives its own bytes and keeps to its schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema  # type: ignore[import-untyped]  # its types are in another package
import pytest
from pydantic import ValidationError

from jobs.inference.outputs.manifest import (
    Choices,
    Cost,
    FileFacts,
    InputFacts,
    Labels,
    Manifest,
    MissingFile,
    file_facts,
    input_facts,
    manifest_bytes,
    parse_manifest,
    part_facts,
)
from jobs.inference.outputs.model_facts import ModelFacts
from shared.domain.geometry import Rows
from shared.domain.plan import Accelerator, Plan
from shared.domain.submission import ObjectRef, Receipt
from shared.domain.verdict import Finding, MatrixChoice, MatrixEncoding, MatrixState, Severity, Verdict
from shared.ports.blobs import BlobInfo

NOW = datetime(2026, 1, 5, 14, 3, tzinfo=UTC)


def blob(name: str, crc32c: int | None = 0x12AB) -> BlobInfo:
    return BlobInfo(ObjectRef("results", name, 7), 1234, crc32c, NOW, "text/html")


@pytest.fixture
def manifest() -> Manifest:
    matrix = MatrixChoice("X", MatrixState.COUNTS, "Whole.", MatrixEncoding.CSR, "float32", 300, 50, 99, "var")
    finding = Finding("LOW_OVERLAP", Severity.WARNING, "Few genes.", "Use another.", {"n": 3, "genes": ["A"]})
    return Manifest(
        submission_id="abc",
        epoch=2,
        input=input_facts(blob("inbox.h5ad", None)),
        model=ModelFacts(
            name="demo", version="1", digest="d", title="", licence="MIT", citation="", n_labels=2, n_features=9
        ),
        options=Choices(requested={"top_k": "3"}, top_k=3, scores="top", map=True, min_score=None),
        software={"torch": "2"},
        verdict=Verdict(300, 50, 1234, "anndata 0.1.0", matrix, findings=(finding,)),
        plan=Plan(Accelerator.CPU, 1, 300, 4.5),
        parts=(part_facts(Receipt(ObjectRef("work", "p", 3), 99, 0xFF, Rows(0, 300))),),
        files=(file_facts(blob("abc/2-t/report.html"), "abc/2-t/", "The report."),),
        missing=(MissingFile(name="annotated.h5ad", reason="No obs."),),
        labels=Labels(n_cells=300, n_unassigned=1, counts={"B cell": 299, "Unassigned": 1}),
        cost=Cost(finished_at=NOW, seconds={"merge": 1.5}, peak_rss_bytes={"finalizer": 10**9}),
    )


def test_a_manifest_survives_its_own_bytes(manifest: Manifest) -> None:
    assert parse_manifest(manifest_bytes(manifest)) == manifest


def test_a_manifest_from_before_there_were_forecasts_is_read(manifest: Manifest) -> None:
    document = json.loads(manifest_bytes(manifest))
    del document["cost"]["actual"], document["verdict"]["forecast"]
    del document["plan"]["estimated_usd"], document["plan"]["usd_per_task_s"]
    assert parse_manifest(json.dumps(document).encode()) == manifest


def test_a_manifest_keeps_to_its_schema(manifest: Manifest) -> None:
    schema = Manifest.model_json_schema(mode="serialization")
    jsonschema.validate(json.loads(manifest_bytes(manifest)), schema)


def test_names_are_relative_and_checksums_read_as_hex(manifest: Manifest) -> None:
    assert manifest.files[0] == FileFacts(
        name="report.html", size_bytes=1234, crc32c="000012ab", content_type="text/html", what="The report."
    )
    assert manifest.parts[0].crc32c == "000000ff"
    assert isinstance(manifest.input, InputFacts)
    assert manifest.input.crc32c is None


def test_the_label_order_is_kept(manifest: Manifest) -> None:
    assert list(json.loads(manifest_bytes(manifest))["labels"]["counts"]) == ["B cell", "Unassigned"]


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema_version": 2}'])
def test_other_bytes_are_no_manifest(data: bytes) -> None:
    with pytest.raises(ValidationError):
        parse_manifest(data)
