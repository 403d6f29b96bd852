"""The examples for Kubernetes and Google Batch: valid by schema, and their commands give the pipeline's bytes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml
from google.cloud import batch_v1
from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]  # likewise

from shared.domain.outputs import reproducible
from tests.cromwell.conftest import BUNDLE, FILE
from tests.images.containers import INFERENCE, Containers
from tests.images.locks import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes" / "job.yaml"
BATCH = ROOT / "deploy" / "batch"
OLDEST = "1.33"
"""The first Kubernetes where everything in the manifest is for general use (a backoff limit of each index)."""


def jobs() -> dict[str, dict[str, Any]]:
    """The Kubernetes jobs, by name."""
    return {job["metadata"]["name"]: job for job in yaml.safe_load(KUBERNETES.read_text())["items"]}


def batch(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((BATCH / name).read_text())
    return found


# --- As they are written ---


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", ["celldrop-plan", "celldrop-annotate", "celldrop-gather"])
def test_a_kubernetes_job_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(jobs()[name], version, strict=True)


def test_a_misspelt_kubernetes_field_is_found() -> None:
    job = jobs()["celldrop-annotate"]
    job["spec"]["completion"] = job["spec"].pop("completions")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, OLDEST, strict=True)


@pytest.mark.parametrize("name", ["annotate.yaml", "gather.yaml"])
def test_a_batch_job_is_valid(name: str) -> None:
    job = ParseDict(batch(name), batch_v1.Job.pb()())
    assert job.task_groups[0].task_spec.runnables[0].container.image_uri == "REGISTRY/celldrop-inference:TAG"


def test_a_misspelt_batch_field_is_found() -> None:
    job = batch("annotate.yaml")
    job["taskGroups"][0]["taskSpec"]["retries"] = 3
    with pytest.raises(ParseError):
        ParseDict(job, batch_v1.Job.pb()())


def test_kubectl_reads_it_and_puts_the_image_in() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    command = ["kubectl", "set", "image", "--local", "-f", str(KUBERNETES), "celldrop=registry/image:1", "-o", "yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    read = list(yaml.safe_load_all(done.stdout))
    made = [job["spec"]["template"]["spec"]["containers"][0] for job in read]
    assert [container["image"] for container in made] == ["registry/image:1"] * 3
    assert [container["args"] for container in made] == [
        job["spec"]["template"]["spec"]["containers"][0]["args"] for job in jobs().values()
    ]


def test_there_are_as_many_indexes_as_shards_are_asked_for() -> None:
    made = jobs()
    (plan,) = made["celldrop-plan"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"--set tasks={made['celldrop-annotate']['spec']['completions']} " in plan


# --- As they run ---


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder that stands for the volume, or for the bucket, with a file and a bundle in it."""

    engine: Containers
    folder: Path

    def run(self, where: str, command: Sequence[str], options: Sequence[str] = ()) -> None:
        mount = ["--volume", f"{self.folder}:{where}"]
        done = self.engine.run(INFERENCE, *command, options=[*mount, *options])
        assert done.returncode == 0, done.stderr

    def files(self, pattern: str) -> list[str]:
        return sorted(path.name for path in self.folder.glob(pattern))


@pytest.fixture
def desk(engine: Containers, data_dir: Path, tmp_path: Path) -> Desk:
    shutil.copyfile(data_dir / FILE, tmp_path / "sample.h5ad")
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    tmp_path.chmod(0o777)
    return Desk(engine, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_the_kubernetes_jobs_commands_give_the_pipelines_bytes(desk: Desk, pipelines_own: Path) -> None:
    def run(name: str, **variables: object) -> None:
        pod = jobs()[name]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
        script = container["args"][0].replace("tasks=8", "tasks=2")  # a start takes seconds
        options = ["--workdir", container["workingDir"], "--user", user, *given]
        desk.run(container["volumeMounts"][0]["mountPath"], [*container["command"], script], options)

    run("celldrop-plan")
    for index in range(3):
        run("celldrop-annotate", JOB_COMPLETION_INDEX=index)
    assert desk.files("parts/*.arrow") == ["0.arrow", "1.arrow"], "the third index has nothing to do"
    run("celldrop-gather")
    for name in reproducible():
        assert (desk.folder / "results" / name).read_bytes() == (pipelines_own / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("images")
def test_the_batch_jobs_commands_give_the_pipelines_bytes(desk: Desk, pipelines_own: Path) -> None:
    def run(name: str, **variables: object) -> None:
        task = batch(name)["taskGroups"][0]["taskSpec"]
        container = task["runnables"][0]["container"]
        given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
        command = [container["entrypoint"], *container["commands"]]
        desk.run(task["volumes"][0]["mountPath"], command, given)

    for index in range(3):
        run("annotate.yaml", BATCH_TASK_INDEX=index, BATCH_TASK_COUNT=2)
    assert desk.files("parts/*.arrow") == ["0.arrow", "1.arrow"], "the third task has nothing to do"
    run("gather.yaml")
    for name in reproducible():
        assert (desk.folder / "results" / name).read_bytes() == (pipelines_own / name).read_bytes(), name
