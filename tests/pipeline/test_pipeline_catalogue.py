"""`celldrop models search` and `add` against catalogues on loopback and in folders, and the models that they add."""

from __future__ import annotations

import json
import os
import pickle
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types

from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from tests.cloud.emulators import STORAGE_VARIABLE, storage_emulator
from tests.modeling.served import Page, Served, serving
from tests.pipeline.conftest import ROOT, Celldrop, Ended
from tests.pipeline.few_cells import few_cells
from tests.scvi.library import MODELS

BUNDLE = ROOT / "models" / "pbmc-sorted-765" / "1.1.0"
CARD = json.loads((BUNDLE / CARD_NAME).read_text())
REFERENCE = "pbmc-sorted-765@1.1.0"
OWN = {
    "name": "pbmc-sorted-765",
    "version": "1.1.0",
    "title": CARD["title"],
    "species": "homo_sapiens",
    "tissue": "blood",
    "labels": len(CARD["labels"]),
    "features": 765,
    "licence": CARD["licence"],
    "citation": CARD["citation"],
    "digest": CARD["digest"],
    "size_bytes": CARD["weights_bytes"],
    "url": "bundles/pbmc-sorted-765/1.1.0",
}


@pytest.fixture
def server(data_dir: Path) -> Iterator[Served]:
    pkl = (data_dir / "models/adams_45_f_0.pkl").read_bytes()
    entry = {
        "filename": "Adams_45_F.pkl",
        "url": "Adams_45_F.pkl",
        "version": "v3",
        "details": "cells of the lung",
        "No_celltypes": "45",
        "source": "https://doi.org/10.1126/sciadv.aba1983",
    }
    pages: Mapping[str, Page | bytes] = {
        "/celltypist/models.json": json.dumps(
            {"models": [entry, {"filename": "bad.pkl", "url": "file:///x"}]}
        ).encode(),
        "/celltypist/Adams_45_F.pkl": pkl,
        "/own/index.json": json.dumps({"format": 1, "models": [OWN]}).encode(),
        f"/own/{OWN['url']}/{CARD_NAME}": (BUNDLE / CARD_NAME).read_bytes(),
        f"/own/{OWN['url']}/{WEIGHTS_NAME}": (BUNDLE / WEIGHTS_NAME).read_bytes(),
    }
    with serving(pages) as found:
        yield found


@pytest.fixture
def environment(server: Served, environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a command that knows both indexes and has no models yet."""
    catalogues = f"{server.url('/celltypist/models.json')}, {server.url('/own/index.json')}"
    return {**environment, "CELLDROP_CATALOGUES": catalogues, "CELLDROP_MODELS_DIR": str(tmp_path / "models")}


@pytest.fixture
def cells(data_dir: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    few_cells(data_dir, 60).write_h5ad(path)
    return path


def shown(done: Ended) -> list[tuple[str, str, str]]:
    assert done.status == 0, done.stderr
    return [(one["name"], one["version"], one["where"]) for one in done.json["models"]]


def test_models_are_searched_by_words_species_and_tissue(celldrop: Celldrop) -> None:
    adams, own = ("adams-45-f", "v3", "catalogue"), ("pbmc-sorted-765", "1.1.0", "catalogue")
    every = celldrop("models", "search", "--json")
    assert shown(every) == [adams, own]
    assert every.json["unreachable"] == []
    (left_out,) = every.json["left_out"]
    assert "no https address" in left_out["reasons"][0]
    assert shown(celldrop("models", "search", "LUNG", "45", "--json")) == [adams]
    assert shown(celldrop("models", "search", "sciadv", "--json")) == [adams]
    assert shown(celldrop("models", "search", "--tissue", "blood", "--species", "human", "--json")) == [own]
    assert shown(celldrop("models", "search", "--species", "mouse", "--json")) == [adams], "its species is not stated"
    assert shown(celldrop("models", "search", "no-such-word", "--json")) == []
    text = celldrop("models", "search")
    assert "adams-45-f@v3" in text.stdout
    assert "celldrop models add NAME" in text.stdout
    assert "1 model of" in text.stderr
    fish = celldrop("models", "search", "--species", "fish", "--json")
    assert (fish.status, fish.json["code"]) == (2, "INVALID_OPTION")


def test_an_index_that_cannot_be_read_is_named_and_the_others_are_listed(celldrop: Celldrop, server: Served) -> None:
    server.pages["/own/index.json"] = Page(b"<html>not found</html>")
    done = celldrop("models", "search", "--json")
    assert [name for name, _, _ in shown(done)] == ["adams-45-f"]
    assert [one["catalogue"] for one in done.json["unreachable"]] == [server.url("/own/index.json")]
    assert "could not be read" in done.stderr
    del server.pages["/celltypist/models.json"]
    nothing = celldrop("models", "search")
    assert nothing.status == 1
    assert "answered 404" in nothing.stderr
    missing = celldrop("models", "add", "adams-45-f", "--json")
    assert (missing.status, missing.json["code"]) == (2, "MODEL_NOT_FOUND")
    assert "2 catalogues could not be read" in missing.json["hint"]


def test_a_model_of_celltypist_is_added_listed_and_used_offline(
    celldrop: Celldrop, server: Served, cells: Path, tmp_path: Path
) -> None:
    done = celldrop("models", "add", "Adams_45_F")
    assert done.status == 0, done.stderr
    for words in ("cells of the lung", "not stated: ask the authors before you use it", "sciadv.aba1983", " kB", "45"):
        assert words in done.stdout
    again = celldrop("models", "add", "adams-45-f", "--json")
    assert (again.status, again.json["code"]) == (2, "MODEL_EXISTS")
    server.pages.clear()
    (listed,) = celldrop("models", "list", "--json").json["models"]
    assert (listed["name"], listed["version"], len(listed["labels"])) == ("adams-45-f", "v3", 45)
    found = celldrop("models", "search", "LUNG", "--json")
    assert shown(found) == [("adams-45-f", "v3", "installed")]
    assert len(found.json["unreachable"]) == 2
    card = celldrop("models", "show", "adams-45-f@v3", "--json").json
    assert "sciadv.aba1983" in card["citation"]
    assert celldrop("validate", cells, "--model", "adams-45-f", "--json").json["model"] == "adams-45-f@v3"
    ran = celldrop("run", cells, "--model", "adams-45-f", "--json", "--set", "map=off")
    assert ran.status == 0, ran.stderr
    assert json.loads((ran.folder / "manifest.json").read_text())["model"]["name"] == "adams-45-f"
    assert sorted(path.name for path in (tmp_path / "added").rglob("*") if path.is_file()) == [CARD_NAME, WEIGHTS_NAME]


def test_a_scanvi_model_is_added_from_its_address(celldrop: Celldrop, server: Served, cells: Path) -> None:
    server.pages["/lab/Lung/model.pt"] = Page((MODELS / "scanvi" / "model.pt").read_bytes())
    done = celldrop("models", "add", server.url("/lab/Lung/model.pt"), "--json")
    assert done.status == 0, done.stderr
    assert done.json["added"] == "lung@1"
    card = celldrop("models", "show", "lung", "--json").json
    assert (card["title"], card["training"]["source"]) == ("scANVI model Lung", "lung-model.pt")
    assert celldrop("validate", cells, "--model", "lung", "--json").json["model"] == "lung@1"


def test_a_bundle_is_added_as_it_is_and_used(celldrop: Celldrop, cells: Path, tmp_path: Path) -> None:
    done = celldrop("models", "add", "pbmc-sorted-765", "--json")
    assert done.status == 0, done.stderr
    assert (done.json["added"], done.json["digest"]) == (REFERENCE, CARD["digest"])
    folder = Path(done.json["path"])
    assert folder == tmp_path / "added" / "pbmc-sorted-765" / "1.1.0"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: (BUNDLE / name).read_bytes() for name in (CARD_NAME, WEIGHTS_NAME)
    }
    assert CARD["licence"] in done.stderr
    again = celldrop("models", "add", REFERENCE, "--json")
    assert (again.status, again.json["code"]) == (2, "MODEL_EXISTS")
    ran = celldrop("run", cells, "--json", "--set", "map=off", CELLDROP_DEFAULT_MODEL=REFERENCE)
    assert ran.status == 0, ran.stderr
    assert celldrop("doctor", "--json", CELLDROP_DEFAULT_MODEL="pbmc-sorted-765").status == 0


def test_the_same_command_goes_on_where_a_download_was_cut(celldrop: Celldrop, server: Served) -> None:
    path = f"/own/{OWN['url']}/{WEIGHTS_NAME}"
    server.pages[path] = Page(bytes(500_000))
    server.pages[path].cut_after = 300_000
    cut = celldrop("models", "add", "pbmc-sorted-765", "--json")
    assert (cut.status, cut.json["code"]) == (1, "UNAVAILABLE")
    assert "Run the same command again" in cut.json["hint"]
    server.asked.clear()
    done = celldrop("models", "add", "pbmc-sorted-765", "--json")
    (wanted,) = [wanted for _, place, wanted in server.asked if place == path]
    assert 0 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= 300_000
    assert (done.status, done.json["code"]) == (3, "INVALID_BUNDLE"), "these are not its weights"
    server.pages[path] = Page((BUNDLE / WEIGHTS_NAME).read_bytes())
    assert celldrop("models", "add", "pbmc-sorted-765", "--json").status == 0, "nothing of them is kept"


@pytest.mark.parametrize(
    ("entry", "card", "code"),
    [
        (OWN | {"digest": "0" * 64}, CARD, "INVALID_BUNDLE"),
        (OWN | {"version": "9"}, CARD, "INVALID_BUNDLE"),
        (OWN, CARD | {"title": "another"}, "INVALID_BUNDLE"),
        (OWN, {}, "INVALID_BUNDLE"),
    ],
    ids=["another digest", "another version", "a changed card", "no card"],
)
def test_a_bundle_that_is_not_the_one_offered_is_not_installed(
    celldrop: Celldrop, server: Served, tmp_path: Path, entry: dict[str, Any], card: dict[str, Any], code: str
) -> None:
    server.pages["/own/index.json"] = Page(json.dumps({"format": 1, "models": [entry]}).encode())
    server.pages[f"/own/{OWN['url']}/{CARD_NAME}"] = Page(json.dumps(card).encode())
    done = celldrop("models", "add", "pbmc-sorted-765", "--json")
    assert (done.status, done.json["code"]) == (3, code)
    assert not [path for path in (tmp_path / "added").rglob("*") if path.is_file()]


def test_a_model_that_is_too_large_is_refused_before_it_is_downloaded(celldrop: Celldrop, server: Served) -> None:
    for name in ("adams-45-f", "pbmc-sorted-765"):
        done = celldrop("models", "add", name, "--json", CELLDROP_MAX_MODEL_BYTES="1000")
        assert (done.status, done.json["code"]) == (3, "MODEL_DOWNLOAD_FAILED")
        assert "CELLDROP_MAX_MODEL_BYTES" in done.json["hint"]
    assert not [path for method, path, _ in server.asked if method == "GET" and path.endswith((".pkl", WEIGHTS_NAME))]


def test_a_pickle_that_would_run_code_is_not_installed(celldrop: Celldrop, server: Served, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/ran",)

    server.pages["/celltypist/Adams_45_F.pkl"] = Page(pickle.dumps({"Model": Evil(), "Scaler_": None}))
    done = celldrop("models", "add", "adams-45-f", "--json")
    assert (done.status, done.json["code"]) == (3, "MODEL_UNSAFE")
    assert not (tmp_path / "ran").exists()
    assert not [path for path in (tmp_path / "added").rglob("*") if path.is_file()]


def test_models_are_added_by_address_and_by_path(
    celldrop: Celldrop, server: Served, data_dir: Path, tmp_path: Path
) -> None:
    named = ("--name", "mine", "--version", "2")
    pkl = data_dir / "models/adams_45_f_0.pkl"
    for what, options, added in (
        (server.url("/celltypist/Adams_45_F.pkl"), (), "adams-45-f@1"),
        (pkl, named, "mine@2"),
        (server.url(f"/own/{OWN['url']}/"), (), REFERENCE),
    ):
        done = celldrop("models", "add", what, *options, "--json", CELLDROP_CATALOGUES="")
        assert (done.status, done.json.get("added")) == (0, added), done.stderr
    shutil.rmtree(tmp_path / "added")
    assert celldrop("models", "add", BUNDLE, "--json").json["added"] == REFERENCE
    renamed = celldrop("models", "add", BUNDLE, *named, "--json")
    assert (renamed.status, renamed.json["code"]) == (2, "INVALID_OPTION")


def test_a_folder_of_bundles_is_a_catalogue(celldrop: Celldrop, tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "lab" / "pbmc-sorted-765" / "1.1.0")
    catalogues = {"CELLDROP_CATALOGUES": f"{tmp_path}/lab,{tmp_path}/nowhere"}
    label = CARD["labels"][0]["name"]
    found = celldrop("models", "search", label, "--json", **catalogues)
    assert shown(found) == [("pbmc-sorted-765", "1.1.0", "catalogue")]
    assert "no such folder" in found.json["unreachable"][0]["reason"]
    assert celldrop("models", "add", "pbmc-sorted-765", "--json", **catalogues).json["added"] == REFERENCE
    (tmp_path / "lab/pbmc-sorted-765/1.1.0" / WEIGHTS_NAME).write_bytes(b"changed")
    shutil.rmtree(tmp_path / "added")
    changed = celldrop("models", "add", f"{tmp_path}/lab/pbmc-sorted-765", "--json", **catalogues)
    assert (changed.status, changed.json["code"]) == (3, "INVALID_BUNDLE")


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("adams-45", "MODEL_NOT_FOUND"),
        ("http://models.example/m.pkl", "INVALID_OPTION"),
        ("file:///etc/passwd", "INVALID_OPTION"),
        ("./nothing", "MODEL_NOT_FOUND"),
    ],
)
def test_what_is_not_offered_is_refused_in_words(celldrop: Celldrop, what: str, code: str) -> None:
    done = celldrop("models", "add", what, "--json")
    assert (done.status, done.json["code"]) == (2, code)
    assert done.json["hint"]


def test_a_name_that_two_catalogues_give_to_different_models_is_ambiguous(celldrop: Celldrop, server: Served) -> None:
    other = {**OWN, "digest": "1" * 64, "url": "elsewhere"}
    server.pages["/other/index.json"] = Page(json.dumps({"format": 1, "models": [other]}).encode())
    catalogues = f"{server.url('/own/index.json')},{server.url('/other/index.json')}"
    done = celldrop("models", "add", "pbmc-sorted-765", "--json", CELLDROP_CATALOGUES=catalogues)
    assert (done.status, done.json["code"]) == (2, "INVALID_OPTION")
    assert "offered 2 times" in done.json["message"]


@pytest.mark.parametrize(("answer", "is_added"), [("n", False), ("y", True)])
def test_at_a_terminal_it_asks_first(
    environment: dict[str, str], tmp_path: Path, answer: str, *, is_added: bool
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cli.main", "models", "add", "pbmc-sorted-765"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said = b""
        while piece := _read(ours):
            said += piece
        assert process.wait() == 0
    os.close(ours)
    assert b"Add it?" in said
    assert (tmp_path / "added" / "pbmc-sorted-765").exists() == is_added
    assert (b"Nothing was added" in said) != is_added


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4_096)
    except OSError:  # The other end is closed.
        return b""


def test_an_added_model_does_not_hide_one_that_was_there(celldrop: Celldrop, tmp_path: Path) -> None:
    assert celldrop("models", "add", "pbmc-sorted-765", "--json").status == 0
    shipped = {"CELLDROP_MODELS_DIR": str(ROOT / "models")}
    listed = celldrop("models", "list", "--json", **shipped).json["models"]
    references = [f"{one['name']}@{one['version']}" for one in listed]
    assert references.count(REFERENCE) == 1
    only = celldrop("models", "list", "--models", tmp_path / "none", "--json").json["models"]
    assert only == [], "a folder that is named is all that is meant"


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_file_of_another_species_is_told_which_model_to_use(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path, command: str
) -> None:
    mouse = few_cells(data_dir, 30)
    mouse.var = pd.DataFrame(index=[name.capitalize() for name in mouse.var_names])
    mouse.write_h5ad(tmp_path / "mouse.h5ad")
    asked = (command, tmp_path / "mouse.h5ad", "--model", "pbmc-sorted-765", "--json")
    assert celldrop("models", "add", BUNDLE, "--json").status == 0
    alone = celldrop(*asked)
    assert (alone.status, alone.json["code"]) == (3, "WRONG_SPECIES")
    assert "`celldrop models search --species mus_musculus` finds some to add." in alone.json["hint"]
    if command == "validate":
        told = celldrop(*asked[:-1]).stdout
        assert [told.count(words) for words in ("orthologues=on", "models search", "WRONG_SPECIES")] == [1, 1, 2]
    folder = tmp_path / "added" / "mouse-blood" / "1"
    shutil.copytree(BUNDLE, folder)
    card = CARD | {"name": "mouse-blood", "version": "1", "species": "mus_musculus"}
    (folder / CARD_NAME).write_text(json.dumps(card))
    assert "Installed for mus_musculus: mouse-blood." in celldrop(*asked).json["hint"]


def test_a_bucket_of_bundles_is_a_catalogue(
    celldrop: Celldrop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_emulator(tmp_path) as url:
        monkeypatch.setenv(STORAGE_VARIABLE, url)
        bucket = Client(project="lab", credentials=AnonymousCredentials()).create_bucket("lab-models")
        for name in (CARD_NAME, WEIGHTS_NAME):
            bucket.blob(f"checked/{OWN['name']}/{OWN['version']}/{name}").upload_from_filename(BUNDLE / name)
        cloud = {STORAGE_VARIABLE: url, "CELLDROP_PROJECT": "lab"}
        named = {**cloud, "CELLDROP_CATALOGUES": "gs://lab-models/checked,gs://nobodys"}
        found = celldrop("models", "search", "--json", **named)
        assert shown(found) == [("pbmc-sorted-765", "1.1.0", "catalogue")]
        assert [one["catalogue"] for one in found.json["unreachable"]] == ["gs://nobodys"]
        assert celldrop("models", "add", "pbmc-sorted-765", "--json", **named).json["added"] == REFERENCE
        shutil.rmtree(tmp_path / "added")
        address = "gs://lab-models/checked/pbmc-sorted-765/1.1.0"
        assert celldrop("models", "add", address, "--json", **cloud).json["added"] == REFERENCE
        missing = celldrop("models", "add", "gs://lab-models/pbmc-sorted-765", "--json", **cloud)
        assert (missing.status, missing.json["code"]) == (2, "MODEL_NOT_FOUND")
