"""The images at work: the whole local cloud with containers for functions and tasks, and a file by hand."""

from __future__ import annotations

import io
import json
import os
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from google.cloud.storage import Client  # type: ignore[import-untyped]  # ships no types
from safetensors.torch import load_file

from jobs.modeling.bundles import write_bundle
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import parse_card
from shared.domain.outputs import reproducible
from shared.domain.submission import State
from tests import warm
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.local_cloud import Deployment, Emulators, LocalCloud
from tests.cloud.pubsub_session import pubsub_for_tests
from tests.images.containers import CUDA, FUNCTIONS, INFERENCE, Containers, require_image
from tests.images.locks import ROOT

pytest_plugins = ["tests.cloud.emulators_session"]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

PBMC = "h5ad/pbmc3k_raw_labelled.h5ad"
MODEL = "pbmc-sorted-765"
BUNDLE = ROOT / "models" / MODEL / "1.0.0"
TIMEOUT_S = 240.0


@dataclass(slots=True)
class Cloud:
    """The local cloud in containers, as its users see it."""

    local: LocalCloud
    storage: Client
    _ended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def drop(self, name: str, data: bytes, **options: str) -> None:
        blob = self.storage.bucket(self.local.deployment.inbox).blob(name)
        blob.metadata = {f"celldrop-{option}": value for option, value in options.items()}
        blob.upload_from_file(io.BytesIO(data))

    def end_of(self, name: str) -> dict[str, Any]:
        """The data of a drop's outcome event."""
        last_s = time.monotonic() + TIMEOUT_S
        while name not in self._ended:
            if time.monotonic() > last_s:
                pytest.fail(f"{name} has not ended")
            events = [json.loads(received.message.data)["data"] for received in self.local.outcomes()]
            self._ended |= {data["source"]["name"]: data for data in events if State(data["state"]).final}
        return self._ended[name]

    def http(self, function: str, path: str = "", data: bytes | None = None) -> tuple[int, bytes]:
        with urllib.request.urlopen(f"{self.local.url(function)}{path}", data, timeout=60) as answer:
            return answer.status, answer.read()

    def result(self, outcome: dict[str, Any], name: str) -> bytes:
        blob = self.storage.bucket(outcome["result_bucket"]).blob(outcome["result_prefix"] + name)
        data: bytes = blob.download_as_bytes()
        return data


@pytest.fixture(scope="module")
def cloud(
    engine: Containers, storage_url: str, firestore_host: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    require_image(FUNCTIONS)
    require_image(INFERENCE)
    logs = tmp_path_factory.mktemp("images-cloud")
    deployment = Deployment(
        project="celldrop-images",
        inbox="images-inbox",
        models="images-models",
        work="images-work",
        results="images-results",
        serve=engine.serve,
        task=engine.task(),
        variables=[("CELLDROP_DEFAULT_MODEL", MODEL)],
    )
    with pubsub_for_tests(logs) as pubsub:
        emulators = Emulators(pubsub, firestore_host, storage_url)
        with LocalCloud(emulators, deployment, logs) as local, StorageDoor(storage_url).client() as storage:
            for path in BUNDLE.iterdir():
                storage.bucket(deployment.models).blob(f"{MODEL}/1.0.0/{path.name}").upload_from_filename(path)
            yield Cloud(local, storage)


@pytest.fixture(scope="module")
def embedded(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the same file without any container."""
    home = tmp_path_factory.mktemp("embedded")
    own = {"CELLDROP_HOME": str(home), "CELLDROP_DEFAULT_MODEL": MODEL, "PYTHONPATH": str(ROOT)}
    status, output, errors = warm.command(["run", str(data_dir / PBMC), "--json"], {**os.environ, **own}, home)
    assert status == 0, errors
    return Path(json.loads(output)["results"])


def test_a_drop_comes_out_of_the_containers_as_the_same_bytes(cloud: Cloud, data_dir: Path, embedded: Path) -> None:
    cloud.drop("pbmc3k.h5ad", (data_dir / PBMC).read_bytes(), tasks="3")
    outcome = cloud.end_of("pbmc3k.h5ad")
    assert outcome["state"] == "SUCCEEDED", outcome
    for name in reproducible():
        assert cloud.result(outcome, name) == (embedded / name).read_bytes(), name
    manifest = json.loads(cloud.result(outcome, "manifest.json"))
    assert manifest["software"]["python"].startswith("3.11.")
    _, seen = cloud.http("status", f"v1/submissions/{outcome['submission_id']}")
    assert json.loads(seen)["state"] == "SUCCEEDED"


def test_a_file_that_cannot_be_used_is_on_record_with_its_reason(cloud: Cloud) -> None:
    cloud.drop("notes.h5ad", b"these are notes, not cells\n" * 100)
    outcome = cloud.end_of("notes.h5ad")
    assert (outcome["state"], outcome["code"]) == ("REJECTED", "NOT_HDF5")
    _, seen = cloud.http("status", f"v1/submissions/{outcome['submission_id']}")
    assert json.loads(seen)["state"] == "REJECTED"


def test_a_malformed_event_is_acknowledged(cloud: Cloud) -> None:
    assert cloud.http("ingest", data=b"not an event")[0] == 204
    assert cloud.http("dispatch", data=b"not an event")[0] == 204


# --- By hand, as in a workflow engine: the command line over a file and a bundle that are handed in ---


def celldrop_run(engine: Containers, image: str, file: Path, bundle: Path, out: Path) -> dict[str, Any]:
    out.mkdir(mode=0o777)
    out.chmod(0o777)  # Whoever mounts a folder lets the image's user write in it.
    mounts = [f"{file}:/in/cells.h5ad:ro", f"{bundle}:/in/bundle:ro", f"{out}:/out"]
    options = [part for mount in mounts for part in ("--volume", mount)]
    command = ("celldrop", "run", "/in/cells.h5ad", "--model", "/in/bundle", "--out", "/out", "--json")
    done = engine.run(image, *command, options=options)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "status": done.returncode}


def test_the_command_line_in_the_image_gives_the_same_bytes(
    engine: Containers, data_dir: Path, embedded: Path, tmp_path: Path
) -> None:
    require_image(INFERENCE)
    folder = results_of(engine, INFERENCE, data_dir / PBMC, tmp_path)
    for name in reproducible():
        assert (folder / name).read_bytes() == (embedded / name).read_bytes(), name


def test_the_older_torch_of_the_gpu_image_gives_the_same_labels_on_a_cpu(
    engine: Containers, data_dir: Path, embedded: Path, tmp_path: Path
) -> None:
    require_image(CUDA)
    folder = results_of(engine, CUDA, data_dir / PBMC, tmp_path)
    there, here = (pq.read_table(place / "annotations.parquet") for place in (folder, embedded))
    assert there.column_names == here.column_names
    assert there["label"].equals(here["label"])
    np.testing.assert_allclose(there["score"].to_numpy(), here["score"].to_numpy(), atol=1e-5)  # the model's promise


def results_of(engine: Containers, image: str, file: Path, tmp_path: Path) -> Path:
    ended = celldrop_run(engine, image, file, BUNDLE, tmp_path / "out")
    assert (ended["status"], ended["state"]) == (0, "SUCCEEDED")
    return tmp_path / "out" / Path(ended["results"]).relative_to("/out")


@pytest.mark.parametrize(("image", "why"), [(INFERENCE, "built without CUDA"), (CUDA, "no NVIDIA driver")])
def test_a_gpu_that_was_promised_and_is_absent_ends_it_with_a_code(
    image: str, why: str, engine: Containers, data_dir: Path, tmp_path: Path
) -> None:
    require_image(image)
    card = parse_card((BUNDLE / CARD_NAME).read_bytes(), where=str(BUNDLE))
    hungry = write_bundle(tmp_path, card.model_copy(update={"needs_gpu": True}), load_file(BUNDLE / WEIGHTS_NAME))
    bundle = tmp_path / hungry.name / hungry.version
    ended = celldrop_run(engine, image, data_dir / PBMC, bundle, tmp_path / "out")
    assert ended["status"] != 0
    assert (ended["state"], ended["code"]) == ("FAILED", "GPU_UNAVAILABLE")
    assert why in ended["message"]
