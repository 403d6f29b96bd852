"""Indexes of models: what they offer, and that nothing in one gets through that should not."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.modeling.addresses import absolute
from jobs.modeling.offers import (
    Form,
    Index,
    Offer,
    offer_of_checkpoint,
    offer_of_pickle,
    offer_of_saved,
    parse_index,
    species_named,
)
from shared.bundles.card import NAME_PATTERN, VERSION_PATTERN
from shared.domain.errors import ModelDownloadError
from shared.domain.verdict import Species

INDEX = "https://models.example/models/models.json"
LOW = {
    "filename": "Immune_All_Low.pkl",
    "url": "https://models.example/models/v2/Immune_All_Low.pkl",
    "version": "v2",
    "date": "2022-07-16 00:20:42.927778",
    "details": "immune sub-populations combined from 20 tissues of 18 studies",
    "No_celltypes": "98",
    "source": "https://doi.org/10.1126/science.abl5197",
    "default": True,
}
OWN = {
    "name": "lung",
    "version": "1.0.0",
    "title": "Lung in health",
    "species": "homo_sapiens",
    "tissue": "lung",
    "labels": 61,
    "features": 2_000,
    "licence": "CC-BY-4.0",
    "citation": "Somebody 2026",
    "digest": "a" * 64,
    "size_bytes": 1_000_000,
    "url": "lung/1.0.0",
}


def celltypist(*entries: object) -> Index:
    return parse_index(json.dumps({"models": entries}).encode(), INDEX)


def own(*entries: object) -> Index:
    return parse_index(json.dumps({"format": 1, "models": entries}).encode(), INDEX)


@pytest.mark.parametrize(
    ("folder", "file_name", "name"),
    [
        ("Lung scANVI", "model.pt", "lung-scanvi"),
        ("models", "lung_model.pt", "lung"),
        ("models", "lung.pth", "lung"),
        ("", "model.pt", "scanvi"),
    ],
)
def test_a_saved_scanvi_model_is_called_after_its_file_or_folder(folder: str, file_name: str, name: str) -> None:
    offer = offer_of_saved(folder, file_name, "https://models.example/x")
    assert (offer.name, offer.version, offer.form) == (name, "1", Form.SCANVI)
    assert offer.file_name == f"{name}-model.pt"


def test_a_checkpoint_is_called_after_its_file() -> None:
    offer = offer_of_checkpoint("epoch=3-step=90.ckpt", "https://models.example/epoch=3-step=90.ckpt")
    assert (offer.name, offer.form, offer.file_name) == ("epoch-3-step-90", Form.CELLARIUM, "epoch-3-step-90.ckpt")


def test_an_entry_of_celltypists_index_is_a_pickle_to_import() -> None:
    (offer,) = celltypist(LOW).offers
    assert offer == Offer(
        name="immune-all-low",
        version="v2",
        form=Form.CELLTYPIST,
        address=LOW["url"],  # type: ignore[arg-type]  # a text, as it stands above
        catalogue=INDEX,
        title="immune sub-populations combined from 20 tissues of 18 studies",
        n_labels=98,
        citation="https://doi.org/10.1126/science.abl5197",
        file_name="Immune_All_Low.pkl",
    )
    names = ["immune-all-low", "immune-all-low@v2", "Immune_All_Low.pkl", "Immune_All_Low"]
    assert [offer.is_called(name) for name in [*names, "immune", ""]] == [True] * 4 + [False] * 2


def test_an_entry_of_our_own_index_is_a_bundle() -> None:
    (offer,) = own(OWN).offers
    assert (offer.reference, offer.form, offer.n_labels) == ("lung@1.0.0", Form.BUNDLE, 61)
    assert offer.address == "https://models.example/models/lung/1.0.0/"
    assert (offer.licence, offer.digest, offer.size_bytes) == ("CC-BY-4.0", "a" * 64, 1_000_000)
    assert offer.species is Species.HUMAN


@pytest.mark.parametrize(
    "change",
    [
        {"url": "file:///etc/passwd"},
        {"url": "../../secret.pkl"},
        {"url": "http://other.example/m.pkl"},
        {"url": "http://127.0.0.1/m.pkl"},
        {"url": "https://a.example/\u202eelif"},
        {"url": "//[x"},
        {"url": 7},
        {"url": None},
        {"url": "x" * 3_000},
        {"filename": "../evil.pkl"},
        {"filename": "model.h5ad"},
        {"filename": "a\nb.pkl"},
        {"filename": "...pkl"},
        {"filename": []},
        {"version": {}},
        {"details": ["x"]},
        {"sha256": "0"},
    ],
)
def test_an_entry_that_is_wrong_is_left_out_with_a_reason(change: dict[str, object]) -> None:
    index = celltypist(LOW | change, LOW)
    assert [offer.name for offer in index.offers] == ["immune-all-low"]
    (reason,) = index.left_out
    assert reason.startswith("model 1: ")
    assert reason.isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"name": "Lung"},
        {"version": "1/../.."},
        {"version": ""},
        {"url": "lung/../../x"},
        {"url": "lung?x=1"},
        {"digest": "A" * 64},
        {"size_bytes": -1},
        {"size_bytes": "much"},
        {"title": {}},
    ],
)
def test_an_entry_of_our_own_that_is_wrong_is_left_out(change: dict[str, object]) -> None:
    index = own(OWN | change)
    assert (index.offers, len(index.left_out)) == ((), 1)


@pytest.mark.parametrize("entry", [None, 1, "text", [], [LOW], {}])
def test_an_entry_of_another_kind_is_left_out(entry: object) -> None:
    assert len(celltypist(entry).left_out) == len(own(entry).left_out) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b"{}",
        b'{"models": 1}',
        b'{"models": {}}',
        b'{"format": 2, "models": []}',
        b'{"format": "1", "models": []}',
        b'{"models": [' + b"1," * 6_000 + b"1]}",
        b"[" * 100_000,
        b'{"models": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(ModelDownloadError, match="an index of models was expected") as caught:
        parse_index(data, INDEX)
    assert "CELLDROP_CATALOGUES" in caught.value.hint


def test_texts_lose_their_control_characters_and_are_cut() -> None:
    (offer,) = celltypist(LOW | {"details": "a\x1b[31mb\n" + "c" * 5_000, "No_celltypes": "many"}).offers
    assert offer.title.startswith("a [31mb c")
    assert offer.title.isprintable()
    assert len(offer.title) <= 1_000
    assert offer.n_labels is None


def test_versions_become_versions_of_bundles() -> None:
    found = [celltypist(LOW | {"version": version}).offers[0].version for version in ("v1 beta/2", "", 2, 1.5, None)]
    assert found == ["v1-beta-2", "1", "2", "1.5", "1"]


def test_a_species_is_known_if_the_text_names_one() -> None:
    texts = ["cells of the mouse gut", "adult human skin", "human and mouse", "blood"]
    found = [celltypist(LOW | {"details": text}).offers[0].species for text in texts]
    assert found == [Species.MOUSE, Species.HUMAN, Species.UNKNOWN, Species.UNKNOWN]
    assert [species_named(word) for word in ("Human", "mus musculus", "fish")] == [Species.HUMAN, Species.MOUSE, None]


def test_all_words_must_fit_in_any_case_and_an_unknown_species_may_be_any() -> None:
    (low,), (lung,) = celltypist(LOW).offers, own(OWN).offers
    assert low.fits(["IMMUNE", "18 studies"])
    assert low.fits(["abl5197"], Species.MOUSE)
    assert not low.fits(["immune", "lung"])
    assert lung.fits([], Species.HUMAN, "Lung")
    assert not lung.fits([], Species.MOUSE)
    assert not lung.fits([], None, "blood")


def test_a_pickle_with_an_odd_name_gets_one_that_can_be_used() -> None:
    offer = offer_of_pickle(".Größe (1).PKL", "/tmp/x.pkl")
    assert (offer.name, offer.version) == ("gr-e-1", "1")
    assert offer.file_name == "Gr__e__1_.PKL"
    with pytest.raises(ValueError, match="no name"):
        offer_of_pickle("---.pkl", "/tmp/x.pkl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ODD = st.fixed_dictionaries(
    {}, optional=dict.fromkeys({*LOW, *OWN, "sha256"}, JSON | st.sampled_from(["", "1", "../x"]))
)


@given(st.sampled_from([LOW, OWN]), ODD, st.sampled_from([{}, {"format": 1}]), JSON)
def test_whatever_an_index_says_an_offer_is_sound(
    good: dict[str, Any], odd: dict[str, Any], form: dict[str, int], other: object
) -> None:
    index = parse_index(json.dumps({**form, "models": [good | odd, other]}).encode(), INDEX)
    assert len(index.offers) + len(index.left_out) == 2
    for offer in index.offers:
        assert absolute(offer.address) == offer.address
        assert absolute(offer.address, INDEX)
        assert offer.title.isprintable()
        assert offer.licence.isprintable()
        assert "/" not in offer.file_name
        assert not offer.file_name.startswith(".")
        assert re.search(NAME_PATTERN, offer.name)
        assert re.search(VERSION_PATTERN, offer.version)


@given(st.binary(max_size=200))
def test_bytes_are_an_index_or_are_refused(data: bytes) -> None:
    with suppress(ModelDownloadError):
        assert isinstance(parse_index(data, INDEX), Index)
