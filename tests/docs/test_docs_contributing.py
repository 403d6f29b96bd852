"""The recipes in CONTRIBUTING name files and parts of the code that exist."""

from __future__ import annotations

import re

import pytest

from jobs.engine.kinds.kind import KindWeights, ModelKind
from tests.pipeline.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}


@pytest.mark.parametrize("name", RECIPES)
def test_the_files_of_a_recipe_exist(name: str) -> None:
    rows = [row.split("|")[1] for row in RECIPES[name].splitlines() if row.startswith("| ")]
    named = [path for row in rows for path in re.findall(r"`([a-z0-9_]+/[a-z0-9_/.]*)`", row)]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_recipe_of_a_model_kind_has_what_its_weights_must_have() -> None:
    beside = {"module", "weights", *vars(ModelKind)}
    own = [name for name in vars(KindWeights) if not name.startswith("_") and name not in beside]
    assert own == ["importance_f"]
    assert f"`KindWeights.{own[0]}`" in RECIPES["A model kind"]


@pytest.mark.parametrize("name", ["WarningCode", "LABELS_IN_DOUBT", "LOOKED_FOR", "_OF_OTHERS", "_PLAIN"])
def test_the_recipe_of_a_warning_names_what_there_is(name: str) -> None:
    paths = re.findall(r"^\| `([a-z0-9_/]+\.py)`", RECIPES["A warning"], re.MULTILINE)
    assert any(re.search(rf"^(class )?{name}\b", (ROOT / path).read_text(), re.MULTILINE) for path in paths)
    assert f"`{name}`" in RECIPES["A warning"]
