"""Importing SCimilarity models: what a bundle of one says, and what is refused by its name."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.kinds.table import check_tensors
from jobs.modeling.foreign_files import ENCODER
from jobs.modeling.importing import ImportedAs, import_foreign
from jobs.modeling.scimilarity_files import GENES, INDEX, LABELS
from jobs.modeling.unpickling import MAX_BYTES
from jobs.modeling.unpickling_child import read_cells
from shared.bundles.card import Log1p, ModelCard, NormaliseFeatures
from shared.bundles.kinds import EncodedCard
from shared.domain.errors import CelldropError, InvalidOptionError, UnsafeModelError
from shared.domain.verdict import Species
from tests.modeling_import.pickles import Runs
from tests.scimilarity.library import MODEL

HEADER, N_CELLS = 96, 600
CELL, VECTOR, NUMBER = 140, 68, 132
"""The bytes of a cell in the index: 16 links and their number, 16 coordinates, its number."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "lung"))


def imported(path: Path) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    return import_foreign(path, ImportedAs("blood", "1"))


def refused(path: Path) -> CelldropError:
    with pytest.raises(CelldropError) as error:
        imported(path)
    return error.value


# --- What is imported ---------------------------------------------------------------------------------------------


def test_the_encoder_and_the_reference_cells_are_those_of_the_model() -> None:
    card, tensors = imported(MODEL)
    check_tensors(card, tensors)
    assert isinstance(card, EncodedCard)
    assert list(card.features.symbol) == (MODEL / GENES).read_text().split("\n")
    assert (card.n_hidden, card.n_encoder_layers, card.n_components, card.n_reference, card.k) == (24, 2, 16, 600, 50)
    assert card.preprocessing == (NormaliseFeatures(target_sum=1e4), Log1p())
    assert (card.title, card.species, card.training.n_cells) == ("SCimilarity model blood", Species.HUMAN, N_CELLS)
    written = [line.split("\t")[0] for line in (MODEL / LABELS).read_text().splitlines()]
    assert [card.labels[place].name for place in tensors["reference_label"].int().tolist()] == written
    torch.testing.assert_close(torch.linalg.vector_norm(tensors["reference"], dim=1), torch.ones(N_CELLS))
    assert EncodedCard.model_validate_json(card.model_dump_json()) == card


def test_a_folder_and_the_encoder_in_it_are_the_same_model() -> None:
    assert imported(MODEL / ENCODER)[0] == imported(MODEL)[0]


def test_a_model_of_many_genes_asks_for_as_many_as_scimilarity_does(folder: Path) -> None:
    names = [f"GENE{place}" for place in range(20_000)]
    (folder / GENES).write_text("\n".join(names))
    held = torch.load(folder / ENCODER)
    held["state_dict"]["network.0.1.weight"] = torch.zeros(24, 20_000)
    torch.save(held, folder / ENCODER)
    assert imported(folder)[0].default_overlap == 0.25
    assert imported(MODEL)[0].default_overlap == 0.5


def test_cells_that_were_taken_out_of_the_index_do_not_vote(folder: Path) -> None:
    changed(folder, HEADER + 2, b"\x01")
    card, tensors = imported(folder)
    assert isinstance(card, EncodedCard)
    assert card.n_reference == N_CELLS - 1
    assert torch.equal(tensors["reference"], imported(MODEL)[1]["reference"][1:])


def changed(folder: Path, place: int, data: bytes) -> None:
    """Write other bytes into the index."""
    index = bytearray((folder / INDEX).read_bytes())
    index[place : place + len(data)] = data
    (folder / INDEX).write_bytes(index)


# --- What is refused ----------------------------------------------------------------------------------------------


def test_an_encoder_alone_has_no_labels(folder: Path) -> None:
    shutil.rmtree(folder / "annotation")
    error = refused(folder)
    assert error.code == "MODEL_UNSUPPORTED"
    assert error.message.startswith("an encoder of SCimilarity without reference cells, which has no labels")
    assert "--kind neighbours" in error.hint


@pytest.mark.parametrize("name", [GENES, INDEX, LABELS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    error = refused(folder)
    assert error.code == "MODEL_UNSUPPORTED"
    assert f"there is no {name}" in error.message


def test_an_index_that_is_too_large_says_how_many_cells_it_has(folder: Path) -> None:
    changed(folder, 16, struct.pack("<Q", 7_913_892))
    os.truncate(folder / INDEX, MAX_BYTES + 1)  # A hole, which takes no room on the disk.
    error = refused(folder)
    assert error.code == "MODEL_UNSUPPORTED"
    assert (
        "an index of 7,913,892 reference cells, 1,073,741,825 bytes, above the limit of 1,073,741,824" in error.message
    )
    assert "a sample of the reference cells" in error.hint


HEADERS: dict[str, tuple[int, bytes, str]] = {
    "another version": (0, b"\x01", "no index of hnswlib, or one of another version"),
    "a huge claim": (16, struct.pack("<Q", 2**60), "ends after 638 of 1,152,921,504,606,846,976 cells"),
    "cells too few": (16, struct.pack("<Q", 599), "an index of hnswlib"),
    "cells of no length": (24, struct.pack("<Q", 0), "no index of hnswlib"),
    "huge cells": (24, struct.pack("<Q", 2**63), "no index of hnswlib"),
    "a vector of no length": (32, struct.pack("<Q", VECTOR), "no index of hnswlib"),
    "a vector of half a number": (32, struct.pack("<Q", NUMBER - 2), "no index of hnswlib"),
    "NaN": (HEADER + VECTOR, struct.pack("<f", float("nan")), "NaN or infinite values"),
    "not of length 1": (HEADER + VECTOR, struct.pack("<f", 3.0), "not of length 1, so not for the cosine"),
    "a number without a label": (HEADER + NUMBER, struct.pack("<Q", 600), "a cell 600, and 600 lines"),
    "a huge number": (HEADER + NUMBER, struct.pack("<Q", 2**64 - 1), "a cell 18,446,744,073,709,551,615"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_an_index_of_another_form_is_refused(folder: Path, name: str) -> None:
    place, data, told = HEADERS[name]
    changed(folder, place, data)
    error = refused(folder)
    assert error.code == "MODEL_UNSUPPORTED"
    assert told in error.message
    assert error.hint


@pytest.mark.parametrize("left", [0, 50, HEADER, HEADER + 7 * CELL, HEADER + N_CELLS * CELL, -1])
def test_an_index_that_is_not_whole_is_refused(folder: Path, left: int) -> None:
    data = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(data[:left])
    assert refused(folder).code == "MODEL_UNSUPPORTED"
    (folder / INDEX).write_bytes(data + b"x")
    assert "does not end with the last links" in refused(folder).message


def test_too_few_reference_cells_are_refused(folder: Path) -> None:
    for place in range(N_CELLS - 49):
        changed(folder, HEADER + place * CELL + 2, b"\x01")
    assert "an index of 49 cells, fewer than the 50 that vote" in refused(folder).message
    for place in range(N_CELLS):
        changed(folder, HEADER + place * CELL + 2, b"\x01")
    assert "an index without cells" in refused(folder).message


Held = dict[str, torch.Tensor]
FIRST, LAST = "network.0.1.weight", "network.2.weight"
REFUSED: dict[str, tuple[Callable[[Held], object], str]] = {
    "no last layer": (lambda held: held.pop(LAST), "without 'network.2.weight'"),
    "no hidden layer": (lambda held: held.pop(FIRST), "without hidden layers"),
    "no norm": (lambda held: held.pop("network.1.2.running_var"), "without 'network.1.2.running_var'"),
    "no slope": (lambda held: held.pop("network.1.3.weight"), "without 'network.1.3.weight'"),
    "genes too few": (lambda held: held.update({FIRST: held[FIRST][:, :-1].clone()}), r"not (24, 160)"),
    "coordinates too few": (
        lambda held: held.update({LAST: torch.ones(15, 24), "network.2.bias": torch.ones(15)}),
        "with 15 coordinates, and an index with 16",
    ),
    "NaN": (lambda held: held[LAST].fill_(float("nan")), "NaN or infinite values in 'network.2.weight'"),
    "integers": (lambda held: held.update({LAST: held[LAST].int()}), "whose 'network.2.weight'"),
    "a slope of its own for each unit": (
        lambda held: held.update({"network.0.3.weight": torch.ones(24)}), "'network.0.3.weight' has the shape (24,)"
    ),
    "a negative variance": (lambda held: held["network.0.2.running_var"].neg_(), "a variance below 0"),
    "another width": (
        lambda held: held.update(
            {"network.1.1.weight": torch.ones(20, 24), LAST: torch.ones(16, 20), "network.1.1.bias": torch.ones(20)}
            | {f"network.1.2.{name}": torch.ones(20) for name in ("weight", "bias", "running_mean", "running_var")}
        ),
        "with hidden layers of different widths: 24, 20",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_encoder_that_no_bundle_can_have_is_refused_by_what_it_is(folder: Path, name: str) -> None:
    damage, told = REFUSED[name]
    held = torch.load(folder / ENCODER)
    damage(held["state_dict"])
    torch.save(held, folder / ENCODER)
    error = refused(folder)
    assert error.code == "MODEL_UNSUPPORTED"
    assert told in error.message


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (GENES, b"A\nB\nA", "gene_order.tsv of 3 lines, some of them empty or the same"),
        (GENES, b"", "gene_order.tsv of 1 lines, some of them empty"),
        (GENES, b"\xff\xfe", "gene_order.tsv that is not text"),
        (GENES, b"A" * 300, "a line of more than 200 letters"),
        (LABELS, b"B cell\n", "a cell 599, and 1 lines"),
        (LABELS, b"B cell\n" * 600, "reference cells that are all of the label 'B cell'"),
        (LABELS, b"B cell\n" * 300 + b"\n" * 300, "reference cells without a label"),
        (ENCODER, b"no encoder", "encoder.ckpt that is not an archive of PyTorch"),
    ],
    ids=["same gene", "no gene", "no text", "long", "too few", "one label", "no label", "no archive"],
)
def test_texts_that_do_not_fit_are_refused(folder: Path, name: str, data: bytes, told: str) -> None:
    (folder / name).write_bytes(data)
    error = refused(folder)
    assert error.code == "MODEL_UNSUPPORTED"
    assert told in error.message


def test_an_encoder_of_something_else_is_named(folder: Path) -> None:
    torch.save({"weight": torch.ones(2)}, folder / ENCODER)
    assert "encoder.ckpt without the weights of an encoder" in refused(folder).message
    torch.save(torch.nn.Linear(2, 3), folder / ENCODER)
    assert "a whole network of PyTorch" in refused(folder).message


def test_an_encoder_that_wants_to_run_something_is_refused_and_nothing_runs(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    held = torch.load(folder / ENCODER)
    torch.save(held | {"hook": Runs(os.system, f"touch {trace}")}, folder / ENCODER)
    with pytest.raises(UnsafeModelError, match=r"the global posix\.system"):
        imported(folder)
    assert not trace.exists()


def test_a_model_of_scimilarity_has_no_batches() -> None:
    with pytest.raises(InvalidOptionError, match="without batches"):
        import_foreign(MODEL, ImportedAs("blood", "1", batch="first"))


@pytest.mark.parametrize(("name", "version"), [("Not a name", "1"), ("blood", "no version")])
def test_a_name_that_no_bundle_can_have_is_refused(name: str, version: str) -> None:
    with pytest.raises(InvalidOptionError):
        import_foreign(MODEL, ImportedAs(name, version))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_index_never_breaks_its_reader(data: st.DataObject) -> None:
    damaged = bytearray((MODEL / INDEX).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, HEADER - 1) | st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    found, blobs = read_cells(bytes(damaged[: data.draw(st.just(len(damaged)) | st.integers(0, len(damaged)))]))
    assert found.keys() <= {"value", "foreign"}
    assert sum(map(len, blobs)) <= len(damaged)


def test_the_index_is_read_as_hnswlib_wrote_it() -> None:
    _, (vectors, numbers) = read_cells((MODEL / INDEX).read_bytes())
    assert np.frombuffer(numbers, "<u8").tolist() == list(range(N_CELLS))
    assert len(vectors) == N_CELLS * 16 * 4
