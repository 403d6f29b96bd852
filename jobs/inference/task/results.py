"""Writes all result files of a submission, under the finalizer's own prefix."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import PurePosixPath

from jobs.inference.annotated.h5ad import NewColumns, NotAnnotated, write_annotated_h5ad
from jobs.inference.annotated.pseudobulk import NoPseudobulkError, Wanted, pseudobulk_h5ad, sum_counts
from jobs.inference.data_manager import InferenceData, TaskInputs, input_crc32c
from jobs.inference.merge.disagreements import Disagreements
from jobs.inference.merge.evidence import Evidence
from jobs.inference.merge.groups import Merge
from jobs.inference.merge.own_labels import read_own_labels
from jobs.inference.merge.survey import Findings, Survey
from jobs.inference.merge.tally import Tally
from jobs.inference.merge.voting import clusters_by_expression, vote
from jobs.inference.outputs.annotation_files import annotations_parquet
from jobs.inference.outputs.consensus_csv import consensus_csv
from jobs.inference.outputs.consensus_facts import ConsensusFacts, consensus_facts
from jobs.inference.outputs.evidence_csv import evidence_csv
from jobs.inference.outputs.label_facts import label_facts
from jobs.inference.outputs.leaving_out import made_or_missing
from jobs.inference.outputs.manifest import (
    Cost,
    FileFacts,
    Labels,
    Manifest,
    MissingFile,
    PseudobulkFacts,
    devices_of,
    file_facts,
    input_facts,
    manifest_bytes,
    part_facts,
    summary_of,
)
from jobs.inference.outputs.model_facts import model_facts
from jobs.inference.outputs.own_label_facts import own_label_facts
from jobs.inference.outputs.reading_findings import LOOKED_FOR, findings_of, findings_of_other
from jobs.inference.process.memory import peak_rss_bytes
from jobs.inference.process.pulse import Pulse
from jobs.inference.process.together import Together
from jobs.inference.report.gathering import Context, gather
from jobs.inference.report.layouts import lay_out
from jobs.inference.report.mapping import Layout, NoMap
from jobs.inference.report.rendering import render
from jobs.inference.task.choices import choices_of
from jobs.inference.task.looking_up import Known, find_evidence
from jobs.inference.task.merges import consensus_about, consensus_of, grouping_of, merge_of
from jobs.inference.task.tables import TABLES, Table, terms_of
from jobs.inference.task.versions import computed_with, software_used
from shared.bundles.aligning import Aligner
from shared.domain.actual import Actual, actual_of
from shared.domain.geometry import Rows
from shared.domain.outputs import (
    ANNOTATED_H5AD,
    ANNOTATIONS_PARQUET,
    CONSENSUS,
    EVIDENCE,
    MANIFEST,
    OUTPUTS,
    PSEUDOBULK,
    REPORT,
    Output,
)
from shared.domain.submission import Receipt, Result
from shared.domain.verdict import Finding, Verdict
from shared.h5ad.read.ahead import cores
from shared.h5ad.read.rows import read_embedding
from shared.ports.blobs import BlobInfo

_SOON_COPIED_BYTES = 128 * 2**20
"""An input that is copied within a second, so that the map then has all cores for most of its time."""
_LOOK_S = 0.5
_NO_SLOPES = "This kind of model does not score by single genes, so none of them speaks for a label."
_NOT_REQUESTED = NoMap("No map was requested (option map=off).")


@dataclass(slots=True)
class Results:
    """Writes the results of one merge. Files are streamed from the parts, and collected for the manifest.

    Attributes:
        known: What is known of the model from its weights, for the evidence and the coverage of its genes.
        receipts: In row order, as returned by ``ordered``.
        began_s: When the merge began, on the monotonic clock.
        map_budget_s: Time limit for the map, in seconds.
        sums: What was summed, once ``pseudobulk.h5ad`` is written.
        disagreements: How several models agree, once ``consensus.csv.gz`` is written; None if there is only one.
    """

    data: InferenceData
    inputs: TaskInputs
    known: Known
    receipts: tuple[Receipt, ...]
    prefix: str
    pulse: Pulse
    began_s: float
    map_budget_s: float
    files: list[FileFacts] = field(default_factory=list)
    missing: list[MissingFile] = field(default_factory=list)
    sums: PseudobulkFacts | None = None
    disagreements: Disagreements | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=software_used)
    _together: Together = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._together = Together(self.pulse.show)

    def write(self) -> Result:
        """Write every file, the manifest last.

        Raises:
            CorruptBlobError: A part does not match its receipt.
            DuplicateCellsError: Two cells have the same id.
            InputChangedError: The pinned generation was gone before the last read.
        """
        merge = self._merge()
        findings = self._write_annotations(merge)
        self.disagreements = self._write_consensus(merge)
        # In parallel to the copy of the input, by threads that rarely hold Python's lock.
        with ThreadPoolExecutor(2, thread_name_prefix="celldrop-merge") as pool:
            layout = self._start_layout(pool, findings)
            (tables, evidence), annotated = self._together.both(
                pool, lambda: self._other_tables(merge, findings), lambda: self._annotated(merge, findings)
            )
            self.files += [*tables, *annotated]
            finished = self._wait_for(layout)
            tally = findings.tally
            found = findings_of(self.receipts, tally, self.inputs.card, findings.compared, merge)
            verdict = self.inputs.record.verdict
            assert verdict is not None
            of_others = self._findings_of_others(tally)
            verdict = verdict.amended(found, LOOKED_FOR, of_others)
            self._write_report(findings, finished, self._context(verdict, merge, evidence))
        labels = label_facts(tally, merge)
        with self._timed(MANIFEST.name):
            made = self._manifest(labels, verdict, findings)
            manifest = self._put_unlisted(MANIFEST, [manifest_bytes(made)])
        assert made.cost.actual is not None
        summary = {
            **summary_of(self.inputs.record, labels, made.cost.actual, made.consensus),
            **self._map_problem(finished),
        }
        return Result(self.data.results_bucket, self.prefix, manifest.ref, summary, found, LOOKED_FOR, of_others)

    def _merge(self) -> Merge:
        with self._timed("rules"):
            merge = merge_of(self.inputs, self.data.blobs, self.receipts, self.known.typical, self.pulse.show)
        return self._clustered(merge)

    def _clustered(self, merge: Merge) -> Merge:
        """The merge with clusters, if there are to be some."""
        column = self.inputs.options.cluster_column
        if column is None and not merge.layout.dimensions:
            return merge
        with self._timed("clusters"):
            if column is None:
                found = clusters_by_expression(merge, self.pulse.show)
            else:
                groups = grouping_of(self.inputs, column, self.pulse.show)
                found = vote(merge, groups.names, groups.code_n, column, self.pulse.show)
        return replace(merge, rules=replace(merge.rules, clusters=found))

    def _write_annotations(self, merge: Merge) -> Findings:
        inputs, show = self.inputs, self.pulse.show
        card, truth = inputs.card, inputs.options.truth
        with self._timed("own labels"):
            aligner = Aligner(card.labels, lineages=card.has_lineages, groups=card.tree)
            own = read_own_labels(inputs.source, truth, inputs.groupings, aligner, show)
        survey = Survey(merge, own, slopes=self.known.slopes)
        with self._timed(ANNOTATIONS_PARQUET.name):
            self.files.append(self._put(ANNOTATIONS_PARQUET, annotations_parquet(survey.tables(), self._about())))
        return survey.findings()

    def _write_consensus(self, merge: Merge) -> Disagreements | None:
        """Write what several models say, before the files that need its counts. None if only one does."""
        if not self.inputs.others:
            return None
        with self._timed(CONSENSUS.name):
            found = Disagreements(consensus_of(self.inputs, merge, self.pulse.show))
            self.files.append(self._put(CONSENSUS, consensus_csv(found)))
        return found

    def _findings_of_others(self, tally: Tally) -> tuple[tuple[Finding, ...], ...]:
        if self.disagreements is None:
            return ()
        counted = zip(self.disagreements.own_m, self.disagreements.consensus.others, strict=True)
        return tuple(
            findings_of_other(own, tally, other.card, merge)
            for (own, merge), other in zip(counted, self.inputs.others, strict=True)
        )

    def _start_layout(self, pool: Executor, findings: Findings) -> Future[Layout | NoMap]:
        """Start the layout of the map.

        It uses two threads only if the input is small, as copying a large input needs a core all the time, and only if
        the machine is idle, as two threads on a busy machine would wait for each other.
        """
        if not self.inputs.options.map:
            none: Future[Layout | NoMap] = Future()
            none.set_result(_NOT_REQUESTED)
            return none
        source, rows = self.inputs.source, Rows(0, findings.tally.n_cells)
        alone = self.inputs.info.size_bytes < _SOON_COPIED_BYTES and os.getloadavg()[0] <= cores()
        threads = min(2, cores()) if alone else 1
        budget_s, show = self.map_budget_s, self._together.beat
        return pool.submit(lay_out, findings.sample, lambda: read_embedding(source, rows), threads, budget_s, show)

    def _map_problem(self, layout: Layout | NoMap) -> dict[str, str]:
        """The part of the summary that says why there is no map, if something went wrong."""
        return {"no_map": layout.reason} if isinstance(layout, NoMap) and layout.fault else {}

    def _wait_for(self, layout: Future[Layout | NoMap]) -> Layout | NoMap:
        with self.pulse.stage("wait for the map"):
            while not wait([layout], _LOOK_S).done:
                self.pulse.show()
            return layout.result()

    def _other_tables(self, merge: Merge, findings: Findings) -> tuple[list[FileFacts], Evidence | None]:
        files = []
        table = Table(merge, self.inputs, self._about())
        for output, chunks in TABLES.items():
            if output.wanted(self.inputs.options):
                with self._timed(output.name):
                    files.append(self._put(output, chunks(table)))
        evidence, explained = self._evidence(findings)
        return [*files, *explained, *self._pseudobulk(merge)], evidence

    def _evidence(self, findings: Findings) -> tuple[Evidence | None, list[FileFacts]]:
        """The evidence and its file. If it cannot be computed, the results are committed without it."""

        def make() -> tuple[Evidence, list[bytes]]:
            evidence = find_evidence(self.inputs, findings)
            return evidence, list(evidence_csv(evidence))

        if self.known.slopes is None:
            self.missing.append(MissingFile(name=EVIDENCE.name, reason=_NO_SLOPES))
            return None, []
        with self._timed(EVIDENCE.name):
            made = made_or_missing(EVIDENCE, make)
            if isinstance(made, MissingFile):
                self.missing.append(made)
                return None, []
            evidence, chunks = made
            return evidence, [self._put(EVIDENCE, chunks)]

    def _pseudobulk(self, merge: Merge) -> list[FileFacts]:
        options, verdict = self.inputs.options, self.inputs.record.verdict
        if not PSEUDOBULK.wanted(options):
            return []
        assert verdict is not None
        wanted = Wanted(self.inputs.source, verdict, options.pseudobulk_column, self._together.beat)
        with self._timed(PSEUDOBULK.name):
            try:
                found = sum_counts(merge, wanted)
            except NoPseudobulkError as error:
                self.missing.append(MissingFile(name=PSEUDOBULK.name, reason=str(error)))
                return []
            self.sums = found.facts
            return [self._put(PSEUDOBULK, pseudobulk_h5ad(found, merge.vocabulary, wanted, self._about()))]

    def _annotated(self, merge: Merge, findings: Findings) -> list[FileFacts]:
        name = ANNOTATED_H5AD.name
        terms = terms_of(merge, self.inputs) if self.inputs.options.cas else None
        about = self._about() | consensus_about(self.inputs)
        columns = NewColumns.of(merge, findings.tally, about, self._together.beat, terms, self.disagreements)
        with self._timed(name):
            written = write_annotated_h5ad(
                self.data.blobs, self.data.results_bucket, self.prefix + name, self.inputs.source, columns
            )
        if isinstance(written, NotAnnotated):
            self.missing.append(MissingFile(name=name, reason=written.reason))
            return []
        return [file_facts(written, self.prefix, ANNOTATED_H5AD.what)]

    def _write_report(self, findings: Findings, layout: Layout | NoMap, context: Context) -> None:
        """Write the report. If this fails, the results are committed without it."""
        with self._timed(REPORT.name):
            page = made_or_missing(REPORT, lambda: render(gather(findings, context, layout)))
            if isinstance(page, MissingFile):
                self.missing.append(page)
            else:
                self.files.append(self._put(REPORT, [page]))

    def _context(self, verdict: Verdict, merge: Merge, evidence: Evidence | None) -> Context:
        record = self.inputs.record
        return Context(
            file_name=PurePosixPath(record.source.name).name,
            submission_id=record.id,
            verdict=verdict,
            card=self.inputs.card,
            min_score=self.inputs.min_score,
            composition=merge.rules.composition,
            composition_wanted=self.inputs.options.composition,
            thresholds=merge.rules.thresholds,
            evidence=evidence,
            clusters=merge.rules.clusters,
            clusters_wanted=self.inputs.options.clusters,
            sums=self.sums,
            disagreements=self.disagreements,
            others=tuple(other.card for other in self.inputs.others),
            files=tuple(self.files),
            missing=tuple(self.missing),
            software={**self.software, **computed_with(self.receipts)},
            made_at=datetime.now(UTC),
            plan=record.plan,
            actual=self._actual(),
        )

    def _manifest(self, labels: Labels, verdict: Verdict, findings: Findings) -> Manifest:
        record, options = self.inputs.record, self.inputs.options
        assert record.model is not None
        assert record.plan is not None
        listed = {file.name for file in self.files} | {file.name for file in self.missing}
        assert {output.name for output in OUTPUTS if output.wanted(options)} - listed <= {MANIFEST.name}
        return Manifest(
            submission_id=record.id,
            epoch=record.epoch,
            input=input_facts(replace(self.inputs.info, crc32c=input_crc32c(self.inputs, self._together.beat))),
            model=model_facts(self.inputs.card, record.model),
            options=choices_of(self.inputs),
            software=self.software,
            devices=devices_of(self.receipts),
            verdict=verdict,
            plan=record.plan,
            parts=tuple(part_facts(receipt) for receipt in self.receipts),
            files=tuple(self.files),
            missing=tuple(self.missing),
            labels=labels,
            own_labels=own_label_facts(findings.compared),
            pseudobulk=self.sums,
            consensus=self._consensus_facts(),
            cost=self._cost(),
        )

    def _consensus_facts(self) -> ConsensusFacts | None:
        record, inputs = self.inputs.record, self.inputs
        assert record.model is not None
        cards = [one.card for one in (inputs, *inputs.others)]
        return consensus_facts(self.disagreements, cards, [record.model, *record.consensus])

    def _cost(self) -> Cost:
        tasks = {f"task {index}": receipt for index, receipt in enumerate(self.receipts)}
        return Cost(
            finished_at=datetime.now(UTC),
            seconds={
                **{name: receipt.seconds for name, receipt in tasks.items()},
                **{output.name: self.seconds[output.name] for output in OUTPUTS if output.name in self.seconds},
            },
            peak_rss_bytes={
                **{name: receipt.peak_rss_bytes for name, receipt in tasks.items()},
                "finalizer": peak_rss_bytes(),
            },
            actual=self._actual(),
        )

    def _actual(self) -> Actual:
        """The actual time and cost so far. For the manifest, only the writing of the manifest is missing."""
        return actual_of(self.inputs.record, self.receipts, time.monotonic() - self.began_s)

    def _about(self) -> dict[str, str]:
        """The metadata of each result file. It is the same in two runs of one request."""
        card = self.inputs.card
        return {"model": card.reference, "model_digest": card.digest, "version": version("celldrop")}

    def _put(self, output: Output, chunks: Iterable[bytes]) -> FileFacts:
        return file_facts(self._put_unlisted(output, chunks), self.prefix, output.what)

    def _put_unlisted(self, output: Output, chunks: Iterable[bytes]) -> BlobInfo:
        return self.data.write_result(self.prefix + output.name, self._beating(chunks), output.content_type)

    def _beating(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._together.beat()
            yield chunk

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began_s = time.monotonic()
        with self.pulse.stage(stage):
            yield
        self.seconds[stage] = round(time.monotonic() - began_s, 3)
