"""Labels get readable names, and the submitted ones are known wherever labels are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.modeling.evaluation import evaluate
from jobs.modeling.labelled import LabelledCells, read_labelled
from jobs.modeling.readable import BLOOD_NAMES, Readable, read_names, renamed
from jobs.modeling.training import train
from shared.bundles.aligning import Aligner, How
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, Label, ModelCard
from shared.bundles.stored import parse_card
from shared.domain.errors import InvalidOptionError, TrainingDataError
from tests.modeling.synthetic import SMALL, quick

BUNDLES = Path(__file__).resolve().parents[2] / "models"
TABLE = "submitted,name,id,lineage\nB,B cell,CL:0000236,lymphoid\nT,Tee,,\nNK,Killer\n"


def named(tmp_path: Path, table: str = TABLE, **options: object) -> LabelledCells:
    (tmp_path / "names.csv").write_text(table)
    file = SMALL.write(tmp_path / "a.h5ad")
    return read_labelled(file, "label", readable=read_names(str(tmp_path / "names.csv")), **options)  # type: ignore[arg-type]


def test_labels_are_called_by_their_readable_names_and_keep_the_submitted_ones(tmp_path: Path) -> None:
    cells = named(tmp_path, lineages={"T": "of T", "Killer": "of the readable name"})
    assert cells.labels == (
        Label(name="B cell", ontology_id="CL:0000236", lineage="lymphoid", submitted="B"),
        Label(name="Killer", lineage="of the readable name", submitted="NK"),
        Label(name="Tee", lineage="of T", submitted="T"),
    )
    plain = read_labelled(tmp_path / "a.h5ad", "label")
    assert [cells.labels[code].submitted for code in cells.class_n] == [
        plain.labels[code].name for code in plain.class_n
    ]


def test_the_table_goes_before_the_ids_of_the_data(tmp_path: Path) -> None:
    cells = named(tmp_path, "B,Bee,CL:0000542\nT,Tee\n", ids_from="id")
    assert [(label.name, label.ontology_id) for label in cells.labels] == [
        ("Bee", "CL:0000542"),
        ("NK", "CL:0000623"),
        ("Tee", "CL:0000084"),
    ]
    assert [label.submitted for label in cells.labels] == ["B", None, "T"]


def test_a_readable_name_that_is_another_label_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="'B' and 'NK' would both be called 'NK'") as refused:
        named(tmp_path, "B,NK\n")
    assert "--names" in refused.value.hint


def test_two_labels_may_swap_names(tmp_path: Path) -> None:
    cells = named(tmp_path, "B,T\nT,B\n")
    assert [(label.name, label.submitted) for label in cells.labels] == [("B", "T"), ("NK", None), ("T", "B")]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("", "it is empty"),
        ("submitted,name\n", "it is empty"),
        ("a\n", "two to four columns"),
        ("a,b,,,\n", "two to four columns"),
        ("a,,CL:0000236\n", "with a label and a name"),
        ("a,b,B cell\n", "has the id 'B cell'"),
        ("a,x\na,y\n", "the submitted 'a' occurs more than once"),
        ("a,x\nb,x\n", "the name 'x' occurs more than once"),
    ],
)
def test_a_table_that_says_something_else_is_refused(table: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text(table)
    with pytest.raises(InvalidOptionError, match=problem):
        read_names(str(tmp_path / "names.csv"))


def test_names_are_read_from_a_table_with_tabs_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("naive-t\tNaive, CD4\t\tT cell\n")
    assert read_names(str(tmp_path / "names.tsv")) == {"naive-t": Readable("Naive, CD4", None, "T cell")}
    with pytest.raises(InvalidOptionError, match="names cannot be read"):
        read_names(str(tmp_path / "missing.csv"))
    assert read_names("blood") is BLOOD_NAMES


def test_a_file_with_the_submitted_names_is_evaluated(tmp_path: Path) -> None:
    model = train(named(tmp_path), quick(), lambda _: None)
    report = evaluate(model.card, model.tensors, tmp_path / "a.h5ad", "label")
    assert report.labels is not None
    assert report.n_unknown == {}
    assert report.labels.accuracy > 0.9


def test_a_submitted_name_is_aligned_as_it_was_spelled_unless_it_is_another_labels_name() -> None:
    labels = [
        Label(name="Naive CD4 T cell", submitted="naive-t"),
        Label(name="Tee", submitted="Bee"),
        Label(name="Bee"),
    ]
    found = Aligner(labels).meanings(["naive-t", "Naive T", "Naive CD4 T cells", "bee", "Tee"])
    assert [one.label for one in found] == ["Naive CD4 T cell", None, "Naive CD4 T cell", "Bee", "Tee"]
    assert found[0].how is How.NAME


# --- A bundle with other names ------------------------------------------------------------------------------------


def shipped(version: str) -> ModelCard:
    return parse_card((BUNDLES / "pbmc-sorted" / version / CARD_NAME).read_bytes(), where=version)


def test_the_sorted_bundle_with_readable_names_is_the_one_before_with_the_same_weights() -> None:
    before, after = shipped("1.1.0"), shipped("1.2.0")
    assert after == renamed(before, BLOOD_NAMES, "1.2.0").model_copy(update={"digest": after.digest})
    weights = [(BUNDLES / "pbmc-sorted" / version / WEIGHTS_NAME).read_bytes() for version in ("1.1.0", "1.2.0")]
    assert weights[0] == weights[1]
    assert [label.submitted for label in after.labels] == [label.name for label in before.labels]
    assert list(after.training.per_label.values()) == list(before.training.per_label.values())
    assert after.reliability == before.reliability


def test_names_of_other_labels_and_names_that_labels_share_are_refused() -> None:
    for names in ({"other": Readable("x")}, {"b-cells": Readable("memory-t")}):
        with pytest.raises(InvalidOptionError, match=r"do not fit the labels of pbmc-sorted@1\.1\.0"):
            renamed(shipped("1.1.0"), names, "2")


def test_the_groups_and_the_first_name_of_a_renamed_label_stay_its_own() -> None:
    path = BUNDLES / "pbmc" / "1.1.0" / CARD_NAME
    card = parse_card(path.read_bytes(), where="pbmc")
    again = renamed(card, {"B cell": Readable("Bee"), "NK cell": Readable("Killer")}, "2")
    named = {label.name: label.submitted for label in again.labels}
    assert (named["Bee"], named["Killer"]) == ("b-cells", "cd56-nk")
    (group,) = (group for group in again.tree if group.name == "lymphocyte")
    assert {"Bee", "Killer"} <= set(group.labels)


def pbmc() -> ModelCard:
    return parse_card((BUNDLES / "pbmc" / "1.1.0" / CARD_NAME).read_bytes(), where="pbmc")


def test_a_lineage_is_renamed_in_the_tree_too() -> None:
    card = pbmc()
    t_cells = [label.name for label in card.labels if label.lineage == "T cell"]
    again = renamed(card, {name: Readable(name, lineage="T lymphocyte") for name in t_cells}, "2")
    assert [label.name for label in again.labels if label.lineage == "T lymphocyte"] == t_cells
    groups = {group.name: group for group in again.tree}
    before = {group.name: group for group in card.tree}
    assert "T cell" not in groups
    assert set(groups["T lymphocyte"].labels) == set(t_cells)
    assert list(groups) == ["T lymphocyte" if name == "T cell" else name for name in before]


def test_names_that_would_mean_two_things_are_refused_in_words() -> None:
    one = next(label.name for label in pbmc().labels if label.lineage == "T cell")
    wrong = {
        "the labels of the lineage or the label of this name": {one: Readable(one, lineage="Other")},
        "a lineage must have a name, and none may be called Unassigned": {one: Readable(one, lineage="Unassigned")},
    }
    for reason, names in wrong.items():
        with pytest.raises(InvalidOptionError, match=reason) as caught:
            renamed(pbmc(), names, "2")
        assert "Value error" not in caught.value.message
        assert "models show pbmc@1.1.0" in caught.value.hint
    with pytest.raises(InvalidOptionError, match="version 'no version'"):
        renamed(pbmc(), {one: Readable("x")}, "no version")
