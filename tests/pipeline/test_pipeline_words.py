"""Words from outside (labels, paths, cell ids, values of options) reach the terminal as they are, and break nothing."""

from __future__ import annotations

from pathlib import Path

import anndata
import pytest
import safetensors.torch

from jobs.modeling.bundles import write_bundle
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import parse_card
from shared.domain.words import cut, has_effect
from tests.pipeline.conftest import Celldrop
from tests.pipeline.few_cells import few_cells

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"
AWKWARD = (
    "T cell [/bold]",
    "[link=https://a.b]B[/link]",
    "NK :smile: [red]",
    "M \x1b[31mred\x1b[2J",
    "CD\n14",
    "\u202ertl",
)
SPELT_OUT = (
    "T cell [/bold]",
    "[link=https://a.b]B[/link]",
    "NK :smile: [red]",
    r"M \x1b[31mred\x1b[2J",
    r"CD\n14",
    r"\u202ertl",
)


@pytest.fixture
def small(data_dir: Path) -> anndata.AnnData:
    return few_cells(data_dir, 300)


@pytest.fixture
def awkward_model(celltypist_models: Path, tmp_path: Path) -> Path:
    """A bundle whose labels are all awkward to print."""
    bundle = celltypist_models / "adams-45-f-0" / "1"
    card = parse_card((bundle / CARD_NAME).read_bytes(), where=str(bundle))
    names = [f"{AWKWARD[i % len(AWKWARD)]} {i}" for i in range(len(card.labels))]
    labels = tuple(label.model_copy(update={"name": name}) for label, name in zip(card.labels, names, strict=True))
    title = " ".join(AWKWARD)
    renamed = card.model_copy(update={"labels": labels, "title": title, "name": "awkward"})
    write_bundle(tmp_path / "bundles", renamed, safetensors.torch.load_file(bundle / WEIGHTS_NAME))
    return tmp_path / "bundles"


def test_labels_and_paths_with_markup_are_printed_as_they_are(
    celldrop: Celldrop, small: anndata.AnnData, awkward_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "[bold]a[" / "x] :smile: [link=b].h5ad"
    path.parent.mkdir()
    small.write_h5ad(path)
    models = {"CELLDROP_MODELS_DIR": str(awkward_model), "CELLDROP_DEFAULT_MODEL": "awkward"}
    shown = celldrop("models", "show", "awkward", **models)
    assert shown.status == 0, shown.stderr
    for words in SPELT_OUT:
        assert words in shown.stdout
    ran = celldrop("run", path, "--set", "map=off", **models)
    assert ran.status == 0, ran.stderr
    assert any(words in ran.stdout for words in SPELT_OUT)
    assert "/x] :smile: [link=b]/report.html" in ran.stdout
    submission = celldrop("run", path, "--json", "--set", "map=off", **models).json["submission_id"]
    for command in (["status"], ["status", submission], ["watch", submission], ["validate", path], ["models", "list"]):
        done = celldrop(*command, **models)
        assert done.status == 0, (command, done.stderr)
        assert "\x1b" not in done.stdout + done.stderr
    assert f"{path.parent.name}/{path.name}" in celldrop("status", submission, **models).stdout


@pytest.mark.parametrize("words", AWKWARD[::3], ids=["markup", "control"])
def test_a_refusal_that_quotes_the_file_prints_it_without_its_control_characters(
    words: str, celldrop: Celldrop, small: anndata.AnnData, tmp_path: Path
) -> None:
    small.obs_names = [words, words, *small.obs_names[2:]]
    small.write_h5ad(tmp_path / "twice.h5ad")
    done = celldrop("run", tmp_path / "twice.h5ad")
    assert done.status == 3, done.stderr
    assert f"such as {cut(words, 60)}" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [AWKWARD[0], AWKWARD[3]], ids=["markup", "control"])
def test_an_option_or_a_name_with_markup_is_a_usage_error(words: str, celldrop: Celldrop, tmp_path: Path) -> None:
    (tmp_path / "x.h5ad").write_bytes(b"")
    for arguments in (["run", "x.h5ad", "--set", words], ["run", "x.h5ad", "--model", words], ["status", words]):
        done = celldrop(*arguments)
        assert done.status == 2, (arguments, done.stderr)
        assert "\x1b" not in done.stdout + done.stderr


def test_a_path_that_is_not_utf8_is_said_and_is_no_fault_of_ours(celldrop: Celldrop, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.h5ad"
    path.write_bytes(b"")
    for command in ("run", "validate"):
        for flags in ([], ["--json"]):
            done = celldrop(command, path, *flags)
            assert done.status in {2, 3}, (command, flags, done.stderr)


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["for people", "for programs"])
def test_no_control_character_of_a_path_reaches_the_terminal(
    flags: list[str], celldrop: Celldrop, tmp_path: Path
) -> None:
    signs = "\x1b[31m\x9b31m\x7f\u202e\u2028\x90q\x9c"
    empty, missing = tmp_path / f"a{signs}.h5ad", tmp_path / f"b{signs}.h5ad"
    empty.write_bytes(b"")
    for command in (["run", empty], ["validate", missing], ["submit", empty]):
        done = celldrop(*command, *flags)
        assert not any(has_effect(letter) for letter in (done.stdout + done.stderr).replace("\n", ""))
    if flags:
        assert signs in celldrop("validate", missing, *flags).json["message"]
