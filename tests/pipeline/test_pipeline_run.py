"""From a file to its results, through the real command."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from cli.embedded import open_embedded
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.domain import owed
from shared.domain.options import Options, Scores
from shared.domain.outputs import OUTPUTS, reproducible
from shared.records.updates import update
from shared.settings import load_settings
from tests.pipeline.conftest import Celldrop, Ended, command_in, own_environment
from tests.pipeline.few_cells import few_cells

pytestmark = pytest.mark.xdist_group("runs")  # What its tests share is made once.

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"
OPTIONS = ("--json", "--set", "map=off")
"""Of most runs here: no map is looked at."""
SCORES = ("--set", "scores=full", "--set", "pseudobulk=on")
TIMEOUT_S = 200.0


def states(home: Path) -> list[str]:
    with sqlite3.connect(home / ".celldrop" / "status.sqlite") as db:
        tables = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        assert tables
        return [state for (state,) in db.execute("select state from submissions")]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Six hundred cells, three blocks: a file that is quick to annotate."""
    path = tmp_path_factory.mktemp("written") / "small.h5ad"
    few_cells(data_dir, 600).write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def small(tmp_path: Path, written: Path) -> Path:
    """A copy of the file, the test's own."""
    return Path(shutil.copy(written, tmp_path / "small.h5ad"))


@dataclass(frozen=True)
class Done:
    """A run of the file that several tests look at, and the command in its home."""

    folder: Path
    file: Path
    ended: Ended
    celldrop: Celldrop


@pytest.fixture(scope="module")
def done(written: Path, celltypist_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("done")
    file = Path(shutil.copy(written, folder / "small.h5ad"))
    environment = own_environment(celltypist_models, folder)
    ended = command_in(environment, folder)("run", file, *OPTIONS, *SCORES)
    assert ended.status == 0, ended.stderr
    return Done(folder, file, ended, command_in(environment, folder))


@pytest.fixture
def again(done: Done, celltypist_models: Path, tmp_path: Path) -> Celldrop:
    """The command in a home of the test's own, where that run has been."""
    shutil.copytree(done.folder / "home", tmp_path / "home", symlinks=True)
    return command_in(own_environment(celltypist_models, tmp_path), tmp_path)


def test_a_file_gets_every_result(done: Done) -> None:
    folder = done.ended.folder
    names = {path.name for path in folder.iterdir()}
    asked = Options(scores=Scores.FULL, pseudobulk="on")
    assert names == {output.name for output in OUTPUTS if output.wanted(asked)}
    assert {"annotations.csv.gz", "scores.parquet", "annotated.h5ad", "report.html", "manifest.json"} <= names
    table = pd.read_csv(folder / "annotations.csv.gz", index_col="cell_id")
    assert list(table.columns) == [
        "label", "score", "label_id", "second_label", "second_score", "abstained", "n_counts", "n_genes",
        "mito_share", "value_note", "lineage", "lineage_score", "reliable_label", "unfamiliar", "unfamiliarity",
        "cluster", "cluster_label", "cluster_share",
    ]  # fmt: skip
    source = anndata.read_h5ad(done.file)
    assert list(table.index) == list(source.obs_names)
    np.testing.assert_array_equal(table["n_genes"], np.diff(source.X.indptr))
    np.testing.assert_allclose(table["n_counts"], np.asarray(source.X.sum(axis=1)).ravel())


def test_the_annotated_file_is_the_input_and_the_labels(done: Done) -> None:
    folder = done.ended.folder
    before, after = anndata.read_h5ad(done.file), anndata.read_h5ad(folder / "annotated.h5ad")
    assert (before.X != after.X).nnz == 0
    table = pd.read_parquet(folder / "annotations.parquet").set_index("cell_id")
    assert list(after.obs["celldrop_label"]) == list(table["label"])
    pd.testing.assert_frame_equal(before.obs, after.obs[before.obs.columns])


def test_what_has_ended_is_not_cancelled_and_its_results_are_named(done: Done) -> None:
    ended = done.ended.json["submission_id"]
    refused = done.celldrop("cancel", ended)
    assert refused.status == 2
    assert "had ended already: it is SUCCEEDED" in refused.stdout
    assert f"Results: {done.ended.folder}" in done.celldrop("status", ended).stdout


def test_one_task_or_three_give_the_same_bytes(done: Done) -> None:
    three = done.celldrop("run", done.file, *OPTIONS, *SCORES, "--set", "tasks=3")
    assert three.status == 0, three.stderr
    assert three.json["plan"]["n_tasks"] == 3
    check_same_bytes(done.ended.folder, three.folder)


@pytest.mark.exhaustive
def test_one_task_or_seven_give_the_same_bytes(celldrop: Celldrop, data_dir: Path) -> None:
    folders = []
    for tasks in (1, 7):
        ended = celldrop("run", data_dir / PBMC, "--json", "--set", f"tasks={tasks}", "--set", "scores=full")
        assert ended.status == 0, ended.stderr
        folders.append(ended.folder)
    check_same_bytes(*folders)


def check_same_bytes(one: Path, other: Path) -> None:
    assert one.resolve() != other.resolve()
    for name in reproducible(Options(scores=Scores.FULL)):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_running_again_shows_the_results_that_are_there(done: Done) -> None:
    second = done.celldrop("run", done.file, *OPTIONS, *SCORES)
    assert done.ended.json["submission_id"] == second.json["submission_id"]
    assert done.ended.folder.resolve() == second.folder.resolve()


def test_a_file_rewritten_in_place_with_its_old_size_and_time_gets_results_of_its_own(
    celldrop: Celldrop, small: Path
) -> None:
    anndata.read_h5ad(small).write_h5ad(small)  # Uncompressed: other values take as many bytes.
    first = celldrop("run", small, *OPTIONS)
    before = small.stat()
    with h5py.File(small, "r+") as file:
        file["X/data"][:] = file["X/data"][()][::-1]
    assert small.stat().st_size == before.st_size
    os.utime(small, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = celldrop("run", small, *OPTIONS)
    assert second.status == 0, second.stderr
    assert first.json["submission_id"] != second.json["submission_id"]


def test_a_rerun_makes_new_results_with_the_same_annotations(done: Done) -> None:
    kept = (done.ended.folder / "annotations.parquet").read_bytes()
    second = done.celldrop("run", done.file, *OPTIONS, *SCORES, "--rerun")
    assert done.ended.json["submission_id"] != second.json["submission_id"]
    assert (second.folder / "annotations.parquet").read_bytes() == kept


def test_leftovers_of_an_earlier_run_are_removed_by_a_later_one(done: Done, again: Celldrop, tmp_path: Path) -> None:
    settings = load_settings(_env_file="", home=tmp_path / "home")
    embedded = open_embedded(settings)
    try:
        record = embedded.local.ports.store.find()[0].value
        left = embedded.blobs.write("work", f"{record.id}/of-a-lost-attempt", [b"cells"]).ref
        update(embedded.local.ports.store, record.id, lambda now, at: owed.queue(now, owed.sweep(now, at)))
        assert again("run", done.file, *OPTIONS, *SCORES).status == 0
        assert left.name not in [info.ref.name for info in embedded.blobs.list("work")]
    finally:
        embedded.close()


def test_a_bundle_given_as_a_folder_counts_by_its_digest(done: Done, celltypist_models: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "my-bundle"
    shutil.copytree(celltypist_models / "adams-45-f-0" / "1", elsewhere)
    given = done.celldrop("run", done.file, *OPTIONS, "--model", elsewhere)
    assert given.status == 0, given.stderr
    assert given.json["model"] == done.ended.json["model"] == "adams-45-f-0@1"
    by_name = done.ended.folder / "annotations.parquet"
    assert (given.folder / "annotations.parquet").read_bytes() == by_name.read_bytes()


def test_a_bundle_given_as_a_folder_is_checked_whole_each_time(
    celldrop: Celldrop, small: Path, celltypist_models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "my-bundle"
    shutil.copytree(celltypist_models / "adams-45-f-0" / "1", folder)
    card, weights = folder / CARD_NAME, folder / WEIGHTS_NAME
    whole = {file: file.read_bytes() for file in (card, weights)}

    def submitted(*, status: int, found: str) -> None:
        for model in (("--model", folder), ("--set", f"model={folder}")):
            done = celldrop("submit", small, *model, "--json")
            assert (done.status, found in done.stdout) == (status, True), done.stderr

    def edited() -> None:
        card.write_bytes(whole[card].replace(b'"temperature": 1.0', b'"temperature": 9.0'))
        assert card.read_bytes() != whole[card]

    for damage, found in (
        (edited, "as its card says"),
        (lambda: weights.write_bytes(b"no weights"), "as its card says"),
        (weights.unlink, f"a bundle without {WEIGHTS_NAME}"),
    ):
        damage()
        submitted(status=3, found=found)
        for file, content in whole.items():
            file.write_bytes(content)
        submitted(status=0, found="QUEUED")
    assert not list((tmp_path / "home" / ".celldrop" / "models").glob("tmp*"))


def test_a_file_that_cannot_be_used_is_refused_with_its_code(celldrop: Celldrop, data_dir: Path) -> None:
    done = celldrop("run", data_dir / "awkward/scp_bad.h5", "--json")
    assert (done.status, done.json["code"], done.json["state"]) == (3, "NOT_HDF5", "REJECTED")
    assert done.json["hint"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--set", "tasks=none"], "INVALID_OPTION"),
        (["--set", "taks=1"], "INVALID_OPTION"),
        (["--set", "tasks"], "INVALID_OPTION"),
        (["--set", "top_k=2", "--set", "top-k=3"], "INVALID_OPTION"),
        (["--model", "no-such-model"], "MODEL_NOT_FOUND"),
        (["--model", "./no/such/folder"], "MODEL_NOT_FOUND"),
    ],
)
def test_a_request_that_is_wrong_is_a_usage_error(
    celldrop: Celldrop, small: Path, arguments: list[str], code: str
) -> None:
    done = celldrop("run", small, *OPTIONS, *arguments)
    assert (done.status, done.json["code"]) == (2, code)


def test_a_file_that_is_not_there_is_refused(celldrop: Celldrop) -> None:
    done = celldrop("run", "nowhere.h5ad", "--json")
    assert (done.status, done.json["code"]) == (3, "INPUT_NOT_FOUND")


def test_two_files_of_one_name_keep_their_own_results(done: Done, again: Celldrop, small: Path, tmp_path: Path) -> None:
    assert small.name == done.file.name
    first, second = (again("run", file, *OPTIONS, *SCORES) for file in (done.file, small))
    assert first.folder != second.folder
    names = {path.resolve() for path in (tmp_path / "home").iterdir() if path.is_symlink()}
    assert names == {first.folder, second.folder}


def test_a_file_called_inbox_does_not_become_the_inbox(celldrop: Celldrop, small: Path, tmp_path: Path) -> None:
    done = celldrop("run", small.rename(tmp_path / "inbox.h5ad"), *OPTIONS)
    assert done.status == 0, done.stderr
    assert not (tmp_path / "home" / "inbox").is_symlink()


def test_what_was_rejected_is_tried_anew_when_asked_again(
    celldrop: Celldrop, small: Path, celltypist_models: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    first = celldrop("run", small, *OPTIONS, CELLDROP_MODELS_DIR=str(models))
    assert (first.status, first.json["code"]) == (2, "MODEL_NOT_FOUND")
    shutil.copytree(celltypist_models, models, dirs_exist_ok=True)
    assert celldrop("run", small, *OPTIONS, CELLDROP_MODELS_DIR=str(models)).status == 0


def test_results_that_were_removed_are_named_as_such(done: Done, again: Celldrop, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "home" / "results")
    missed = again("run", done.file, *OPTIONS, *SCORES)
    assert missed.json["code"] == "RESULT_FILE_NOT_FOUND"
    assert again("run", done.file, *OPTIONS, *SCORES, "--rerun").status == 0


def test_a_home_that_cannot_be_made_is_named_as_such(celldrop: Celldrop, small: Path) -> None:
    done = celldrop("run", small, *OPTIONS, "--out", small / "below")
    assert (done.status, done.json["code"]) == (2, "INVALID_SETTING")


def test_an_interrupted_run_says_so_and_can_go_on(
    celldrop: Celldrop, environment: dict[str, str], small: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        process = start(environment, "run", small, *OPTIONS)
        wait_for_task(tmp_path / "home", process)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130
    assert celldrop("run", small, *OPTIONS).status == 0


def test_a_run_in_the_background_of_a_script_is_not_interrupted(
    environment: dict[str, str], small: Path, tmp_path: Path
) -> None:
    """A shell without job control has it ignore SIGINT: the user's key is for what runs before them."""
    command = [sys.executable, "-m", "cli.main", "run", str(small), *OPTIONS]
    process = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command], env=environment, stdout=subprocess.DEVNULL
    )
    wait_for_task(tmp_path / "home", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0


def test_an_unknown_command_is_a_usage_error(celldrop: Celldrop) -> None:
    assert celldrop("annotate").status == 2


def start(environment: dict[str, str], *arguments: object) -> subprocess.Popen[bytes]:
    with heeding(signal.SIGINT):
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *map(str, arguments)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )


@contextmanager
def heeding(number: signal.Signals) -> Iterator[None]:
    """What is started meanwhile heeds a signal: where a script runs the tests in its background, all ignore SIGINT."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)


def wait_for_task(home: Path, process: subprocess.Popen[bytes]) -> int:
    """The process id of a running task."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _is_task_of(entry, home):
                return int(entry.name)
        time.sleep(0.01)
    pytest.fail("no task was seen")


def _is_task_of(entry: Path, home: Path) -> bool:
    try:
        return (entry / "comm").read_text() == "celldrop-task\n" and (entry / "fd/1").readlink().is_relative_to(home)
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the task through /proc")
def test_a_killed_task_is_retried_and_the_result_is_unchanged(
    done: Done, environment: dict[str, str], small: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start(environment, "run", small, *OPTIONS)
    os.kill(wait_for_task(home, process), signal.SIGKILL)
    assert process.wait(TIMEOUT_S) == 0
    (link,) = [path for path in home.iterdir() if path.is_symlink()]
    assert (link / "annotations.parquet").read_bytes() == (done.ended.folder / "annotations.parquet").read_bytes()
    assert len(list((home / ".celldrop" / "logs").rglob("*attempt-1.log"))) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the task through /proc")
def test_a_killed_run_leaves_nothing_final_and_running_again_finishes(
    celldrop: Celldrop, environment: dict[str, str], small: Path, tmp_path: Path
) -> None:
    process = start(environment, "run", small, *OPTIONS)
    home = tmp_path / "home"
    task = wait_for_task(home, process)
    process.kill()
    process.wait(10)
    _wait_until_gone(task)
    assert states(home) not in (["SUCCEEDED"], ["FAILED"])
    assert not [path for path in home.iterdir() if path.is_symlink()]
    assert not list(home.glob("results/*/manifest.json"))
    done = celldrop("run", small, *OPTIONS)
    assert done.status == 0, done.stderr
    assert states(home) == ["SUCCEEDED"]


@pytest.mark.parametrize("act", ["delivered", "claimed", "started"])
def test_what_a_killed_run_had_taken_on_is_not_waited_for(
    environment: dict[str, str], small: Path, celldrop: Celldrop, act: str
) -> None:
    for_a_day = {"CELLDROP_DISPATCH_LEASE_S": "86400"}
    killed = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.killed_run", act, small], env={**environment, **for_a_day}, check=False
    )
    assert killed.returncode == 9
    done = celldrop("run", small, *OPTIONS, **for_a_day)
    assert done.status == 0, done.stderr


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_a_file_changed_in_mid_run_is_never_mixed(
    environment: dict[str, str], small: Path, tmp_path: Path, celldrop: Celldrop
) -> None:
    home = tmp_path / "home"
    process = start(environment, "run", small, *OPTIONS)
    wait_for_task(home, process)
    with h5py.File(small, "r+") as file:
        file["X/data"][...] = 1.0
    assert process.wait(TIMEOUT_S) == 3
    assert not list(home.glob("results/*/manifest.json"))
    shown = celldrop("status", "--json").json["submissions"]
    assert [one["code"] for one in shown] == ["INPUT_CHANGED"]
