"""The tables of names and lineages that `models train` is given: they must be about the labels of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.labelled import Origin
from cli.main import app
from cli.training import check_tables, lineage_words
from jobs.modeling.lineages import read_mapping
from shared.bundles.card import Label
from shared.domain.errors import InvalidOptionError
from tests.modeling.synthetic import SMALL


def table(folder: Path, *rows: str) -> str:
    path = folder / "table.csv"
    path.write_text("\n".join(rows), "utf-8")
    return str(path)


def origin(**tables: str | None) -> Origin:
    return Origin(Path("synthetic.h5ad"), "label", **tables)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["names", "lineages"])
def test_a_table_without_any_label_of_the_file_is_refused(option: str, tmp_path: Path) -> None:
    path = table(tmp_path, "b-cells,B cell", "t-cells,T cell")
    with pytest.raises(InvalidOptionError, match=r"none of the labels B, NK, T is in .*table\.csv") as refused:
        check_tables(SMALL.cells(), origin(**{option: path}))
    assert f"--{option}" in refused.value.hint
    check_tables(SMALL.cells(), origin(**{option: table(tmp_path, "B,B cell")}))
    check_tables(SMALL.cells(), origin())


def test_labels_without_a_lineage_beside_others_with_one_are_named() -> None:
    some = [Label(name="a", lineage="x"), Label(name="b"), Label(name="c")]
    assert "no lineage for b, c" in lineage_words(some)
    assert lineage_words(some[:1]) == ""
    assert lineage_words(some[1:]) == ""


@pytest.mark.parametrize("name", ["table.csv", "table.json"])
def test_an_empty_lineage_is_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text('{"a": " ", " b": "x "}' if name.endswith("json") else "a, \n b,x \n", "utf-8")
    assert dict(read_mapping(str(path))) == {"b": "x"}


def test_a_seed_below_0_is_wrong_usage() -> None:
    words = ["models", "train", "a.h5ad", "--labels", "x", "--name", "m", "--version", "1", "--seed", "-1"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 2
    assert "--seed" in found.output
