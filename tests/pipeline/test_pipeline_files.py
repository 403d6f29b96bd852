"""Every real file, fair or awkward, ends in results or in a refusal with a code; the table of them is in the docs."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import anndata
import pytest

from cli.embedded import Embedded, drop_of_file, open_embedded
from shared.domain.submission import State, Submission
from shared.settings import load_settings
from tests.values.page import section, write_section

pytestmark = pytest.mark.xdist_group("real-files")  # What its tests share is made once.

HEADING = "What becomes of real files"
HEAD = f"""# {HEADING}

This table shows the outcome for every file in the shared test data, with the default model. It is generated from the
runs (`CELLDROP_WRITE_DOCS=1 make test`), and a test fails if it is out of date.

| file | cells x genes | layout | matrix used | genes | outcome |
|---|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def ended(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Submission, Path]]:
    """Every file's submission, run through one embedded pipeline, and its results' folder."""
    embedded = open_embedded(load_settings(home=tmp_path_factory.mktemp("files") / "home"))
    files = sorted(path for part in ("awkward", "h5ad") for path in (data_dir / part).iterdir())
    try:
        drops = {
            f"{path.parent.name}/{path.name}": drop_of_file(embedded.blobs, path, {"map": "off"}) for path in files
        }
        ids = {name: embedded.submit(drop).value.id for name, drop in drops.items()}
        return {name: _see_through(embedded, submission_id) for name, submission_id in ids.items()}
    finally:
        embedded.close()


def _see_through(embedded: Embedded, submission_id: str) -> tuple[Submission, Path]:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        embedded.step()
        record = embedded.local.ports.store.get(submission_id).value
        if record.state.final:
            return record, embedded.layout.results / (record.result.prefix if record.result else "")
        time.sleep(0.05)
    pytest.fail(f"{submission_id} did not end")


@pytest.mark.slow
def test_every_file_ends_in_results_or_a_refusal_with_a_code_and_a_hint(
    ended: dict[str, tuple[Submission, Path]],
) -> None:
    for name, (record, _) in ended.items():
        assert record.state in {State.SUCCEEDED, State.REJECTED}, (name, record.failure)
        if record.failure:
            assert record.failure.code.isupper(), name
            assert record.failure.hint, name


@pytest.mark.slow
def test_every_annotated_file_opens_in_anndata(ended: dict[str, tuple[Submission, Path]]) -> None:
    for name, (record, folder) in ended.items():
        if record.state is State.SUCCEEDED:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # anndata on layouts as old as some of these files
                opened = anndata.read_h5ad(folder / "annotated.h5ad")
            assert record.verdict is not None
            assert opened.obs["celldrop_label"].notna().all(), name
            assert opened.n_obs == record.verdict.n_cells, name


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_happens(ended: dict[str, tuple[Submission, Path]]) -> None:
    page = HEAD + "".join(_row(name, record) for name, (record, _) in ended.items())
    if os.environ.get("CELLDROP_WRITE_DOCS"):
        write_section(HEADING, page)
    assert section(HEADING) == page


def _row(name: str, record: Submission) -> str:
    verdict = record.verdict
    assert verdict is not None
    size = f"{verdict.n_cells:,} x {verdict.n_genes:,}" if verdict.n_cells else ""
    matrix = f"`{verdict.matrix.path}` ({verdict.matrix.state})" if verdict.matrix else ""
    genes = f"{verdict.genes.kind} in `{verdict.genes.column}`" if verdict.genes else ""
    warnings = ", ".join(f"`{finding.code}`" for finding in verdict.warnings)
    if record.failure:
        outcome = f"refused: `{record.failure.code}`"
    else:
        outcome = "results" + (f", with {warnings}" if warnings else "")
    return f"| `{name}` | {size} | {verdict.layout} | {matrix} | {genes} | {outcome} |\n"
