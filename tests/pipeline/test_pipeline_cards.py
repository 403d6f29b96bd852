"""A card with numbers that no arithmetic can use is refused when it is read, with what was found and expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.bundles.card import CARD_NAME
from shared.bundles.stored import parse_card
from shared.domain.errors import InvalidBundleError
from tests.pipeline.conftest import Celldrop

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "pbmc-sorted-765" / "1.0.0"


def card_with(change: Callable[[dict[str, Any]], object]) -> bytes:
    fields = json.loads((SHIPPED / CARD_NAME).read_bytes())
    change(fields)
    return json.dumps(fields).encode()


def step(place: int, key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields["preprocessing"][place].update({key: value})


def top(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda fields: fields.update({key: value})


ABSURD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    **{
        f"target_sum {value}": (step(0, "target_sum", value), "target_sum")
        for value in (1e308, 0, -1, 1e-30, 1e12, float("nan"), float("inf"), None, "many")
    },
    **{
        f"clip_max {value}": (step(2, "clip_max", value), "clip_max") for value in (0, -10, 1e308, 1e-300, float("nan"))
    },
    **{f"temperature {value}": (top("temperature", value), "temperature") for value in (0, -1, 1e-308, 1e308)},
    **{f"min_score {value}": (top("min_score", value), "min_score") for value in (-0.1, 1.1, 50)},
    **{f"flops {value}": (top("flops_per_cell", value), "flops_per_cell") for value in (-1, 1e308)},
    **{f"bytes {value}": (top("weights_bytes", value), "weights_bytes") for value in (-1, 10**18)},
    "a label twice": (
        lambda fields: fields["labels"].append(fields["labels"][0]),
        "each label must have a name of its own",
    ),
}


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_number_is_refused_by_name(name: str) -> None:
    change, told = ABSURD[name]
    with pytest.raises(InvalidBundleError, match=told) as caught:
        parse_card(card_with(change), where="here")
    assert caught.value.code == "INVALID_BUNDLE"
    assert "celldrop models" in caught.value.hint


@pytest.mark.parametrize("change", [step(0, "target_sum", 1e6), step(2, "clip_max", None), top("temperature", 0.05)])
def test_an_unusual_number_is_taken(change: Callable[[dict[str, Any]], object]) -> None:
    assert parse_card(card_with(change), where="here").name == "pbmc-sorted-765"


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_no_command_works_with_such_a_card(command: str, celldrop: Celldrop, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / CARD_NAME).write_bytes(card_with(step(0, "target_sum", 1e308)))
    (tmp_path / "weights.safetensors").write_bytes((SHIPPED / "weights.safetensors").read_bytes())
    file = data_dir / "h5ad" / "pbmc3k_raw_labelled.h5ad"
    arguments = {
        "run": ("run", file, "--model", tmp_path),
        "evaluate": ("models", "evaluate", tmp_path, file, "--labels", "cell_type_seurat"),
    }
    done = celldrop(*arguments[command], "--json")
    assert (done.status, done.json["code"]) == (3, "INVALID_BUNDLE")
    assert "1e+308" in done.json["message"]
    assert "less than or equal to 1000000000" in done.json["message"]
