"""Bundles: written once, found by name, and never loaded other than they were written."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.inference.task.models import load_model
from jobs.modeling.bundles import check_free, write_bundle
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.catalogue import find_model, list_models, version_key
from shared.bundles.kinds import CARDS
from shared.bundles.stored import _FIRST_FIELDS, _LATER, _digest, card_bytes, digest_of, is_digest, parse_card
from shared.domain.errors import (
    DiskFullError,
    InvalidBundleError,
    ModelExistsError,
    ModelNotFoundError,
    SettingsError,
)
from tests.engine.cards import make_card, make_centroid, make_tensors
from tests.fakes.blobs import MemoryBlobStore

BUCKET = "models"
SHIPPED = sorted(path.parent for path in (Path(__file__).parents[2] / "models").rglob(CARD_NAME))


def upload(store: MemoryBlobStore, directory: Path) -> None:
    for path in sorted(directory.rglob("*.*")):
        if path.is_file():
            store.write(BUCKET, path.relative_to(directory).as_posix(), [path.read_bytes()])


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return write_bundle(tmp_path, make_card(3, 5), make_tensors(3, 5))


@pytest.fixture
def store(tmp_path: Path, card: ModelCard) -> MemoryBlobStore:
    assert card.digest
    store = MemoryBlobStore()
    upload(store, tmp_path)
    return store


def test_what_is_written_is_what_is_loaded(store: MemoryBlobStore, card: ModelCard) -> None:
    found, prefix = find_model(store, BUCKET, "test-model")
    loaded, tensors = load_model(store, BUCKET, prefix, card.digest)
    assert prefix == "test-model/1.0.0/"
    assert loaded == found == card
    for name, tensor in make_tensors(3, 5).items():
        assert torch.equal(tensors[name], tensor)


def test_a_card_is_completed_from_its_weights(card: ModelCard, tmp_path: Path) -> None:
    size_bytes = (tmp_path / "test-model" / "1.0.0" / WEIGHTS_NAME).stat().st_size
    assert len(card.digest) == 64
    assert card.cost.weights_bytes == size_bytes
    assert card.cost.flops_per_cell == 2 * 3 * 5


def test_the_same_model_gives_the_same_bytes(card: ModelCard, tmp_path: Path) -> None:
    shuffled = dict(reversed(make_tensors(3, 5).items()))
    again = write_bundle(tmp_path / "again", make_card(3, 5), shuffled)
    assert again.digest == card.digest
    for name in (CARD_NAME, WEIGHTS_NAME):
        one, other = (folder / "test-model" / "1.0.0" / name for folder in (tmp_path, tmp_path / "again"))
        assert one.read_bytes() == other.read_bytes()


def test_other_weights_have_another_digest(card: ModelCard, tmp_path: Path) -> None:
    assert write_bundle(tmp_path / "other", make_card(3, 5), make_tensors(3, 5, seed=1)).digest != card.digest


def test_a_version_is_never_written_over(card: ModelCard, tmp_path: Path) -> None:
    before = (tmp_path / "test-model" / "1.0.0" / WEIGHTS_NAME).read_bytes()
    with pytest.raises(ModelExistsError, match=card.reference):
        write_bundle(tmp_path, make_card(3, 5), make_tensors(3, 5, seed=1))
    assert (tmp_path / "test-model" / "1.0.0" / WEIGHTS_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["test-model"]


def test_nothing_is_left_of_a_bundle_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundleError):
        write_bundle(tmp_path, make_card(3, 5), make_tensors(4, 5))
    assert not list(tmp_path.iterdir())


def no_room(path: Path, _data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_folder_that_cannot_be_written_to_is_named_before_the_training_and_after(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "models"
    with pytest.raises(SettingsError, match="cannot be written: Not a directory"):
        check_free(folder, "test-model", "1.0.0")
    with pytest.raises(SettingsError, match="cannot be written: Not a directory"):
        write_bundle(folder, make_card(3, 5), make_tensors(3, 5))


def test_nothing_is_made_to_see_that_a_folder_can_be_written_to(tmp_path: Path) -> None:
    check_free(tmp_path / "models", "test-model", "1.0.0")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_bundle_that_does_not_fit_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(DiskFullError, match="cannot be written: No space left"):
        write_bundle(tmp_path, make_card(3, 5), make_tensors(3, 5))
    assert [path for path in tmp_path.rglob("*") if path.name != "test-model"] == []


def test_weights_that_were_exchanged_are_refused(store: MemoryBlobStore, tmp_path: Path) -> None:
    write_bundle(tmp_path / "other", make_card(3, 5), make_tensors(3, 5, seed=1))
    other = (tmp_path / "other" / "test-model" / "1.0.0" / WEIGHTS_NAME).read_bytes()
    store.write(BUCKET, f"test-model/1.0.0/{WEIGHTS_NAME}", [other])
    with pytest.raises(InvalidBundleError, match="as its card says"):
        load_model(store, BUCKET, "test-model/1.0.0/", None)


def test_a_card_that_was_edited_is_refused(store: MemoryBlobStore, card: ModelCard) -> None:
    edited = card.model_copy(update={"temperature": 2.0})
    store.write(BUCKET, f"test-model/1.0.0/{CARD_NAME}", [card_bytes(edited)])
    with pytest.raises(InvalidBundleError, match="as its card says"):
        load_model(store, BUCKET, "test-model/1.0.0/", card.digest)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.parent.name)
def test_the_digest_of_a_shipped_bundle_is_over_what_its_card_says_and_nothing_else(folder: Path) -> None:
    stored, sha256 = (folder / CARD_NAME).read_bytes(), hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()
    said = json.loads(stored)
    digest = said.pop("digest")
    assert digest == digest_of(stored, sha256)
    with_defaults = set(ModelCard.model_fields) - {"digest"}
    assert set(said) <= with_defaults
    for name in said:
        fewer = {key: value for key, value in said.items() if key != name}
        assert digest_of(json.dumps(fewer).encode(), sha256) != digest
    assert digest_of(json.dumps({**said, "later": None}).encode(), sha256) != digest
    assert digest_of(json.dumps(dict(reversed(said.items())), indent=7).encode(), sha256) == digest


@pytest.mark.parametrize("kind", ["forest", None, ["linear"], {}], ids=str)
def test_a_card_of_an_unknown_kind_is_refused_by_what_kinds_there_are(kind: object, card: ModelCard) -> None:
    with pytest.raises(InvalidBundleError, match="kind must be one of linear, centroid, neighbours, neural, encoded"):
        parse_card(json.dumps(json.loads(card_bytes(card)) | {"kind": kind}).encode(), where="here")


def test_a_card_that_names_no_kind_is_of_a_linear_model(card: ModelCard) -> None:
    fields = json.loads(card_bytes(card))
    del fields["kind"]
    assert parse_card(json.dumps(fields).encode(), where="here") == card


def test_a_field_is_named_as_the_card_has_it(card: ModelCard) -> None:
    broken = json.loads(card_bytes(card)) | {"temperature": 0}
    with pytest.raises(InvalidBundleError, match="breaks the format at temperature: 0: "):
        parse_card(json.dumps(broken).encode(), where="here")


@pytest.mark.parametrize("later", [{"levels": []}, {"kind": "forest"}, {"format": 99}], ids=str)
def test_a_card_of_a_newer_version_is_called_so(later: dict[str, object], card: ModelCard) -> None:
    with pytest.raises(InvalidBundleError) as refused:
        parse_card(json.dumps(json.loads(card_bytes(card)) | later).encode(), where="here")
    assert "a newer version" in refused.value.hint


def test_a_field_that_a_card_does_not_say_is_no_part_of_its_digest(store: MemoryBlobStore, card: ModelCard) -> None:
    said = {key: value for key, value in json.loads(card_bytes(card)).items() if key not in {"digest", "licence"}}
    sha256 = hashlib.sha256(store.read(store.stat(BUCKET, f"test-model/1.0.0/{WEIGHTS_NAME}").ref)).hexdigest()
    digest = digest_of(json.dumps(said).encode(), sha256)
    assert digest != card.digest
    store.write(BUCKET, f"test-model/1.0.0/{CARD_NAME}", [json.dumps({**said, "digest": digest}).encode()])
    loaded, _ = load_model(store, BUCKET, "test-model/1.0.0/", digest)
    assert loaded == card.model_copy(update={"digest": digest})


def test_a_digest_of_before_which_wrote_defaults_out_stays_valid(
    store: MemoryBlobStore, card: ModelCard, tmp_path: Path
) -> None:
    weights = (tmp_path / "test-model/1.0.0" / WEIGHTS_NAME).read_bytes()
    first = card.model_dump(mode="json", include=_FIRST_FIELDS, exclude=_LATER)
    digest = _digest(first, hashlib.sha256(weights).hexdigest())
    said = {key: value for key, value in first.items() if key != "licence"} | {"digest": digest}
    store.write(BUCKET, f"test-model/1.0.0/{CARD_NAME}", [json.dumps(said).encode()])
    loaded, _ = load_model(store, BUCKET, "test-model/1.0.0/", digest)
    assert loaded == card.model_copy(update={"digest": digest})
    store.write(BUCKET, f"test-model/1.0.0/{CARD_NAME}", [json.dumps({**said, "licence": "other"}).encode()])
    with pytest.raises(InvalidBundleError, match="as its card says"):
        load_model(store, BUCKET, "test-model/1.0.0/", None)


def test_a_digest_of_before_is_none_of_a_card_with_a_later_field() -> None:
    card, _ = make_centroid(3, 5)
    first = CARDS.validate_json(card_bytes(card)).model_dump(mode="json", include=_FIRST_FIELDS, exclude=_LATER)
    digest = _digest(first, "0" * 64)
    assert "spread" not in first
    assert not is_digest(digest, card_bytes(card), "0" * 64), "it would not cover the later field"


def test_a_digest_of_before_is_none_of_a_card_with_a_later_field_of_its_labels(card: ModelCard) -> None:
    first = card.model_dump(mode="json", include=_FIRST_FIELDS, exclude=_LATER)
    digest = _digest(first, "0" * 64)
    assert is_digest(digest, json.dumps(first).encode(), "0" * 64)
    first["labels"][0]["submitted"] = "x"
    assert not is_digest(digest, json.dumps(first).encode(), "0" * 64), "it would not cover the later field"


def test_a_bundle_that_is_not_the_one_accepted_is_refused(store: MemoryBlobStore) -> None:
    with pytest.raises(InvalidBundleError, match="as the submission says"):
        load_model(store, BUCKET, "test-model/1.0.0/", "0" * 64)


@pytest.mark.parametrize("name", [CARD_NAME, WEIGHTS_NAME])
def test_a_bundle_without_one_of_its_files_is_refused(store: MemoryBlobStore, name: str) -> None:
    store.delete(BUCKET, f"test-model/1.0.0/{name}")
    with pytest.raises(InvalidBundleError, match=name):
        load_model(store, BUCKET, "test-model/1.0.0/", None)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"\xff" * 64, b'{"a": 1}'])
def test_weights_that_are_not_safetensors_are_refused(content: bytes) -> None:
    card = make_card(3, 5)
    sealed = card.model_copy(update={"digest": digest_of(card_bytes(card), hashlib.sha256(content).hexdigest())})
    store = MemoryBlobStore()
    store.write(BUCKET, f"test-model/1.0.0/{CARD_NAME}", [card_bytes(sealed)])
    store.write(BUCKET, f"test-model/1.0.0/{WEIGHTS_NAME}", [content])
    with pytest.raises(InvalidBundleError, match="cannot be read"):
        load_model(store, BUCKET, "test-model/1.0.0/", None)


# --- The catalogue -------------------------------------------------------------------------------------------------


def put(store: MemoryBlobStore, name: str, version: str) -> ModelCard:
    card = make_card(2, 2, name=name, version=version)
    card = card.model_copy(update={"digest": (name + version).encode().hex().ljust(64, "0")[:64]})
    store.write(BUCKET, f"{name}/{version}/{CARD_NAME}", [card_bytes(card)])
    store.write(BUCKET, f"{name}/{version}/{WEIGHTS_NAME}", [b"weights"])
    return card


@pytest.fixture
def catalogue() -> MemoryBlobStore:
    store = MemoryBlobStore()
    for name, version in [("immune", "1.9"), ("immune", "1.10"), ("immune", "1.10rc1"), ("lung", "2024-05-01")]:
        put(store, name, version)
    return store


def test_models_are_listed_by_name_newest_first(catalogue: MemoryBlobStore) -> None:
    listed = [card.reference for card in list_models(catalogue, BUCKET)]
    assert listed == ["immune@1.10", "immune@1.10rc1", "immune@1.9", "lung@2024-05-01"]


@pytest.mark.parametrize(
    ("reference", "found"),
    [("immune", "immune/1.10/"), ("immune@1.9", "immune/1.9/"), ("lung", "lung/2024-05-01/")],
)
def test_a_reference_means_one_bundle(catalogue: MemoryBlobStore, reference: str, found: str) -> None:
    card, prefix = find_model(catalogue, BUCKET, reference)
    assert prefix == found
    assert f"{card.name}/{card.version}/" == found


def test_a_digest_means_the_bundle_that_has_it(catalogue: MemoryBlobStore) -> None:
    wanted = list_models(catalogue, BUCKET)[2]
    assert find_model(catalogue, BUCKET, f"sha256:{wanted.digest}")[0] == wanted


@pytest.mark.parametrize("reference", ["imune", "immune@2.0", "Immune", "sha256:" + "0" * 64, ""])
def test_a_model_that_is_not_there_is_told_with_those_that_are(catalogue: MemoryBlobStore, reference: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"immune@1\.10") as caught:
        find_model(catalogue, BUCKET, reference)
    assert caught.value.hint


def test_a_name_with_a_typing_error_is_guessed(catalogue: MemoryBlobStore) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model(catalogue, BUCKET, "imune@1.9")
    assert "Did you mean immune?" in caught.value.hint


def test_an_empty_catalogue_says_so() -> None:
    with pytest.raises(ModelNotFoundError, match="a bundle under NAME/VERSION/"):
        find_model(MemoryBlobStore(), BUCKET, "immune")


def test_one_bad_card_does_not_hide_the_others(catalogue: MemoryBlobStore, caplog: pytest.LogCaptureFixture) -> None:
    put(catalogue, "broken", "1")
    catalogue.write(BUCKET, f"broken/1/{CARD_NAME}", [b"{}"])
    with caplog.at_level(logging.WARNING):
        assert len(list_models(catalogue, BUCKET)) == 4
    assert "broken/1" in caplog.text
    with pytest.raises(InvalidBundleError):
        find_model(catalogue, BUCKET, "broken")


def test_a_card_in_the_folder_of_another_is_refused(catalogue: MemoryBlobStore) -> None:
    ref = catalogue.stat(BUCKET, f"lung/2024-05-01/{CARD_NAME}").ref
    put(catalogue, "lung", "2025-01-01")
    catalogue.write(BUCKET, f"lung/2025-01-01/{CARD_NAME}", [catalogue.read(ref)])
    with pytest.raises(InvalidBundleError, match="lung@2025-01-01"):
        find_model(catalogue, BUCKET, "lung")


@pytest.mark.parametrize("uploaded_first", [CARD_NAME, WEIGHTS_NAME])
def test_a_bundle_counts_once_both_of_its_files_are_uploaded(catalogue: MemoryBlobStore, uploaded_first: str) -> None:
    put(catalogue, "immune", "2.0")
    (late,) = {CARD_NAME, WEIGHTS_NAME} - {uploaded_first}
    missing = catalogue.stat(BUCKET, f"immune/2.0/{late}").ref
    content = catalogue.read(missing)
    catalogue.delete(BUCKET, missing.name)
    assert find_model(catalogue, BUCKET, "immune")[1] == "immune/1.10/"
    assert len(list_models(catalogue, BUCKET)) == 4
    with pytest.raises(ModelNotFoundError, match=rf"immune@2\.0 is not complete: it has no {late}"):
        find_model(catalogue, BUCKET, "immune@2.0")
    catalogue.write(BUCKET, missing.name, [content])
    assert find_model(catalogue, BUCKET, "immune")[1] == "immune/2.0/"


def test_a_bundle_counts_once_its_weights_are_copied_whole(catalogue: MemoryBlobStore) -> None:
    card = make_card(2, 2, name="immune", version="2.0").model_copy(update={"weights_bytes": 7, "digest": "0" * 64})
    catalogue.write(BUCKET, f"immune/2.0/{CARD_NAME}", [card_bytes(card)])
    catalogue.write(BUCKET, f"immune/2.0/{WEIGHTS_NAME}", [b"weig"])
    assert find_model(catalogue, BUCKET, "immune")[1] == "immune/1.10/"
    with pytest.raises(ModelNotFoundError, match="has 4 of 7 bytes"):
        find_model(catalogue, BUCKET, "immune@2.0")
    catalogue.write(BUCKET, f"immune/2.0/{WEIGHTS_NAME}", [b"weights"])
    assert find_model(catalogue, BUCKET, "immune")[1] == "immune/2.0/"


def test_objects_that_are_no_bundles_are_passed_over(catalogue: MemoryBlobStore) -> None:
    for name in ("readme.txt", f"{CARD_NAME}", f".incoming-x/{CARD_NAME}", f"a/b/c/{CARD_NAME}"):
        catalogue.write(BUCKET, name, [json.dumps({}).encode()])
    assert len(list_models(catalogue, BUCKET)) == 4


@pytest.mark.parametrize(
    "ascending",
    [
        ["1.9", "1.10", "1.10.1", "2"],
        ["1.0a1", "1.0b1", "1.0rc1", "1.0", "1.0+fix", "1.0.1"],
        ["v1", "v2", "v10"],
        ["2023-12-31", "2024-01-01"],
    ],
)
def test_versions_are_ordered_as_people_do(ascending: list[str]) -> None:
    for older, newer in itertools.pairwise(ascending):
        assert version_key(older) < version_key(newer)


@given(st.lists(st.from_regex(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,8}", fullmatch=True), max_size=5))
def test_any_versions_can_be_compared(versions: list[str]) -> None:
    keys = sorted(version_key(version) for version in versions)
    assert len(keys) == len(versions)
