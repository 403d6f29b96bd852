"""Annotates one file in three separate processes, for workflow engines.

``plan`` validates the file and splits it into shards, ``annotate`` computes one shard, and ``gather`` merges the parts.
They use the same verdict, plan and computation as the cloud pipeline; the engine replaces its scheduling and retries.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.catalogue import card_of_folder
from cli.console import Exit, Output
from cli.files import bundle_folder, find_file
from jobs.inference.process.memory import loading
from shared.bundles.card import ModelCard
from shared.bundles.distinct import check_distinct
from shared.domain.admission import Request
from shared.domain.errors import (
    BlobNotFoundError,
    CorruptBlobError,
    InputChangedError,
    InputNotFoundError,
    InvalidMessageError,
    InvalidOptionError,
    ModelNotFoundError,
    TruncatedFileError,
)
from shared.domain.options import parse_options
from shared.domain.plan import Accelerator
from shared.domain.planning import plan_of
from shared.domain.submission import ModelRef, ObjectRef, Receipt, State, Submission
from shared.domain.verdict import Verdict
from shared.h5ad.inspect.inspection import prepare
from shared.ports.blobs import BlobStore
from shared.records.documents import (
    receipt_document,
    receipt_from,
    submission_document,
    submission_from,
)
from shared.wiring.folders import FILES_BUCKET, RESULTS, WORK, build_local_store

if TYPE_CHECKING:
    from jobs.inference.task.computing import Annotation
    from shared.settings import Settings

SCHEMA_VERSION = 2
RECEIPT_SUFFIX = ".receipt.json"
"""Appended to the part's file name."""


@dataclass(frozen=True, slots=True)
class Given:
    """The files that the engine passes to every step.

    Attributes:
        plan: The plan, which the first step writes.
        models: The folders of the bundles: that of the model, then those of further ones for a consensus.
    """

    plan: Path
    file: Path
    models: Sequence[Path]


def plan_shards(settings: Settings, given: Given, options: Mapping[str, str], output: Output) -> Exit:
    """Validate a file for a model, and write the plan that splits it. The option ``tasks`` sets the number of shards.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    from shared.validation import Validator

    (card, ref), *others = [_model(folder) for folder in given.models]
    options = _with_consensus(options, [other for _, other in others])
    parsed = parse_options(options)
    check_distinct([card, *(other for other, _ in others)], [card.reference, *parsed.consensus])
    with tempfile.TemporaryDirectory() as nothing:
        blobs = build_local_store(Path(nothing), Path(nothing))
        source = find_file(blobs, given.file).ref
        validator = Validator.of(blobs, settings)
        verdict = validator(source, card, parsed, [other for other, _ in others])
    if not verdict.accepted:
        return _refuse(verdict, output)
    # Content and name identify the file: neither its folder nor its date changes the plan.
    request = Request(ObjectRef("workflow", given.file.name, _content(given.file)), dict(options))
    record = Submission(request.id, request.source, dict(options), State.RUNNING, model=ref, verdict=verdict)
    record = replace(record, consensus=tuple(other for _, other in others))
    record = replace(record, plan=plan_of(record, settings.fleet))
    assert record.plan is not None
    given.plan.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "record": submission_document(record)}))
    output.result({"shards": record.plan.n_tasks, "cells": record.plan.n_cells, "plan": str(given.plan)})
    shards = "1 shard" if record.plan.n_tasks == 1 else f"{record.plan.n_tasks} shards"
    output.say(f"{record.plan.n_cells:,} cells in {shards}: {given.plan}")
    return Exit.DONE


def annotate_shard(given: Given, index: int, part: Path, accelerator: Accelerator, output: Output) -> Exit:
    """Compute one shard of a plan, and write its part with the receipt beside it.

    Raises:
        CelldropError: The file or the model is not the one in the plan, or cannot be used.
    """
    with tempfile.TemporaryDirectory(dir=part.resolve().parent) as work:
        blobs = build_local_store(Path(work), Path(work))
        record = _at_hand(blobs, given)
        assert record.plan is not None
        if not 0 <= index < record.plan.n_tasks:
            raise InvalidOptionError(
                f"shard {index}", expected=f"0 to {record.plan.n_tasks - 1}", where=str(given.plan)
            )
        receipt = _annotation(blobs, accelerator).annotate(record, record.plan.rows_of(index), part.name, _beat)
        (Path(work) / part.name).rename(part)
    vouched = {"plan": _identity(record), "receipt": receipt_document(receipt)}
    _receipt_of(part).write_text(json.dumps(vouched))
    output.result({"part": str(part), "cells": len(receipt.rows)})
    output.say(f"{len(receipt.rows):,} cells: {part}")
    return Exit.DONE


def gather_shards(given: Given, parts: Sequence[Path], folder: Path, output: Output) -> Exit:
    """Merge the parts of a plan, in any order, into a folder of results.

    Raises:
        InputNotFoundError: A shard has no part.
        InvalidOptionError: A shard has two parts, or a part belongs to another plan.
        TruncatedFileError: A part does not match its receipt.
        CelldropError: The file or the model is not the one in the plan, or cannot be used.
    """
    with tempfile.TemporaryDirectory() as work:
        blobs = build_local_store(Path(work), folder.resolve())
        record = _at_hand(blobs, given)
        receipts = [_vouched(blobs, record, part) for part in parts]
        _check_complete(record, receipts, given.plan)
        try:
            result = _annotation(blobs, Accelerator.CPU).merge(record, receipts, "", lambda: None)
        except CorruptBlobError as error:
            hint = "Annotate the shard again with this plan: celldrop shards annotate."
            raise TruncatedFileError(f"a damaged part: {error.found}", where=error.where, hint=hint) from error
    output.result({"results": str(folder), "summary": dict(result.summary)})
    output.say(f"{result.summary.get('n_cells', 0):,} cells: {folder / 'report.html'}")
    return Exit.DONE


def _check_complete(record: Submission, receipts: Sequence[Receipt], plan_file: Path) -> None:
    """Check that there is one part for each shard.

    Raises:
        InputNotFoundError: A shard has no part.
        InvalidOptionError: A shard has two.
    """
    assert record.plan is not None
    given = Counter(receipt.rows for receipt in receipts)
    for index in range(record.plan.n_tasks):
        rows = record.plan.rows_of(index)
        words = f"shard {index} (cells {rows.start + 1:,} to {rows.stop:,})"
        if not given[rows]:
            raise InputNotFoundError(f"{words} has no part", where=str(plan_file), hint="Pass every part of the plan.")
        if given[rows] > 1:
            raise InvalidOptionError(f"{given[rows]} parts of {words}", expected="one", where=str(plan_file))


def _annotation(blobs: BlobStore, accelerator: Accelerator) -> Annotation:
    prepare()  # Starts the inspection process while libraries load here.
    with loading():
        from jobs.inference.data_manager import InferenceData
        from jobs.inference.task.computing import Annotation

    return Annotation(InferenceData(blobs, WORK, RESULTS), accelerator)


def _beat(_rows_done: int) -> None:
    """No heartbeat is needed: the engine watches the process."""


def _refuse(verdict: Verdict, output: Output) -> Exit:
    reason = verdict.refusals[0]
    output.result({"code": reason.code, "message": reason.message, "hint": reason.hint})
    output.say(f"{reason.code}: {reason.message} {reason.hint}", style="bold red")
    return Exit.REFUSED


def _planned(plan_file: Path) -> Submission:
    document = _read(plan_file)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise InvalidMessageError(
            f"a plan of version {document.get('schema_version')}",
            expected=f"{SCHEMA_VERSION}",
            where=str(plan_file),
            hint="Use one version (see `celldrop --version`) for plan, annotate and gather.",
        )
    return submission_from(document["record"])


def _at_hand(blobs: BlobStore, given: Given) -> Submission:
    """The plan's record, with the current paths of the file and the model: engines move them between steps."""
    planned = _planned(given.plan)
    assert planned.verdict is not None
    assert planned.model is not None
    file = find_file(blobs, given.file)
    if _content(given.file) != planned.source.generation:
        raise InputChangedError(
            f"another content, of {file.size_bytes:,} bytes",
            expected=f"the file in the plan, {planned.source.name}, of {planned.verdict.size_bytes:,} bytes",
            where=str(given.file),
            hint="Pass every step the same file.",
        )
    pinned = [planned.model, *planned.consensus]
    if len(given.models) != len(pinned):
        raise InvalidOptionError(
            f"{len(given.models)} models",
            expected=f"{len(pinned)}, in this order: {', '.join(one.reference for one in pinned)}",
            where=str(given.plan),
            hint="Pass every step the same --model folders, in the same order.",
        )
    found = [_model(folder)[1] for folder in given.models]
    # The digests are the plan's, so that another bundle is refused when it is loaded.
    model, *others = (replace(ref, digest=one.digest) for ref, one in zip(found, pinned, strict=True))
    return replace(planned, source=file.ref, model=model, consensus=tuple(others))


def _content(file: Path) -> int:
    """A number for the content of a file: the first bits of its SHA-256. Below 2**53, as generations are."""
    with file.open("rb") as opened:
        return int.from_bytes(hashlib.file_digest(opened, "sha256").digest()[:7]) >> 4


def _model(folder: Path) -> tuple[ModelCard, ModelRef]:
    found = bundle_folder(f"{folder.resolve()}/")
    if found is None:
        raise ModelNotFoundError(f"no bundle in {folder}", hint="Pass --model the folder that contains model.json.")
    card = card_of_folder(found)
    prefix = f"{str(found.resolve()).lstrip('/')}/"
    return card, ModelRef(card.name, card.version, card.digest, FILES_BUCKET, prefix, card.cost)


def _with_consensus(options: Mapping[str, str], others: Sequence[ModelRef]) -> dict[str, str]:
    """The options with the option ``consensus``, which is what the further folders are.

    Raises:
        InvalidOptionError: The option names models, of which there would have to be folders.
    """
    if "consensus" in options:
        raise InvalidOptionError(
            f"option consensus={options['consensus']}",
            expected="the folder of each model",
            hint="Pass every step --model FOLDER again for each further model, instead of this option.",
        )
    return {**options, **({"consensus": ",".join(other.reference for other in others)} if others else {})}


def _identity(record: Submission) -> str:
    """An id of the plan, which its parts carry: made from the file, the options and the bundles."""
    assert record.model is not None
    return " ".join([record.id, record.model.digest, *(other.digest for other in record.consensus)])


def _vouched(blobs: BlobStore, record: Submission, part: Path) -> Receipt:
    """Read a part's receipt, with the part's current path.

    Raises:
        InvalidOptionError: The part belongs to another plan.
    """
    document = _read(_receipt_of(part))
    if document.get("plan") != _identity(record):
        raise InvalidOptionError(
            "a part that belongs to another plan",
            expected="a part with the same file, options and model",
            where=str(part),
            hint="Annotate the shard again with this plan: celldrop shards annotate.",
        )
    return replace(receipt_from(document["receipt"]), part=_ref(blobs, part))


def _ref(blobs: BlobStore, file: Path) -> ObjectRef:
    try:
        return blobs.stat(FILES_BUCKET, str(file.resolve()).lstrip("/")).ref
    except BlobNotFoundError as error:
        raise InputNotFoundError("no such part", where=str(file), hint="Pass every part of the plan.") from error


def _receipt_of(part: Path) -> Path:
    return part.with_name(part.name + RECEIPT_SUFFIX)


def _read(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        hint = "Keep each receipt beside its part: it has the part's name followed by .receipt.json."
        raise InputNotFoundError("no such file", where=str(file), hint=hint) from error
    except ValueError as error:
        raise InvalidMessageError("not JSON", expected="what an earlier step wrote", where=str(file)) from error
    return document
