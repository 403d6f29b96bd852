"""Every command of a proof is one that the real gcloud and the real terraform take, and its module stands in both."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deploy.terraform_tool import check
from tests.gcloud.gcloud import refusals
from tests.prove import gcloud_commands, terraform_commands
from tests.prove.gcloud_commands import KINDS
from tests.prove.leftovers import binding_removal
from tests.prove.options import BUNDLES, ROOT, Options
from tests.prove.preflight import BILLING, ENABLE, LOGINS
from tests.prove.terraform_commands import DEPLOY, Module, variables_of

IMAGES = "us-central1-docker.pkg.dev/lab-7/celldrop"
OPTIONS = Options("lab-7", "us-central1", "prove-1129-0130-ab12", Path("proof"), IMAGES, "abc")
MEMBER = "user:someone@example.org"
GCLOUD = (
    gcloud_commands.version(),
    gcloud_commands.account(),
    gcloud_commands.application_default(),
    gcloud_commands.identity_token(),
    gcloud_commands.project(OPTIONS),
    gcloud_commands.billing(OPTIONS),
    gcloud_commands.services(OPTIONS),
    gcloud_commands.image(OPTIONS, "celldrop-functions"),
    gcloud_commands.upload_bundles(BUNDLES, "prove-models"),
    gcloud_commands.executions(OPTIONS, "prove-cpu"),
    gcloud_commands.requests(OPTIONS),
    gcloud_commands.subscriptions(OPTIONS),
    gcloud_commands.delete_subscription(OPTIONS, "celldrop-tests-system-faults-1"),
    gcloud_commands.policy(OPTIONS),
    *(kind.listed(OPTIONS) for kind in KINDS),
)


def test_every_gcloud_command_is_one_that_gcloud_takes(tmp_path: Path) -> None:
    said = [kind.remove(OPTIONS, "name-1") for kind in KINDS]
    said += [binding_removal(OPTIONS, "serviceAccount:x@y.iam.gserviceaccount.com", "roles/datastore.user")]
    said += [*LOGINS, BILLING.format(project="lab-7"), ENABLE.format(project="lab-7")]
    assert refusals([*(shlex.join(command.argv) for command in GCLOUD), *said], tmp_path) == {}


def test_all_functions_of_the_module_of_commands_are_among_them() -> None:
    made = {name for name, value in vars(gcloud_commands).items() if callable(value) and name.islower()} - {"dataclass"}
    own = {name for name in made if not name.startswith("_")}
    assert own <= set(re.findall(r"gcloud_commands\.(\w+)\(", Path(__file__).read_text()))


def test_whatever_the_module_makes_and_can_outlive_it_is_looked_for() -> None:
    hcl = "\n".join(path.read_text() for path in (DEPLOY / "terraform").glob("*.tf"))
    made = set(re.findall(r'^resource "google_(\w+)"', hcl, re.MULTILINE))
    parts = {name for name in made if re.search(r"_iam_member|firestore_(?:index|field|backup)|project_service$", name)}
    assert made - parts - NOT_MADE_BY_A_PROOF == set(LOOKED_FOR)
    assert set(LOOKED_FOR.values()) <= {kind.name for kind in KINDS}


LOOKED_FOR = {
    "storage_bucket": "bucket",
    "pubsub_topic": "topic",
    "pubsub_subscription": "subscription",
    "cloud_run_v2_service": "service",
    "cloud_run_v2_job": "job",
    "firestore_database": "database",
    "eventarc_trigger": "trigger",
    "cloud_scheduler_job": "scheduler job",
    "service_account": "service account",
    "monitoring_dashboard": "dashboard",
    "monitoring_alert_policy": "alert policy",
}
NOT_MADE_BY_A_PROOF = {"artifact_registry_repository", "billing_budget", "monitoring_notification_channel"}
"""Their variables are not set."""


@pytest.fixture
def module(tmp_path: Path) -> Module:
    """The copy, with its override and variables."""
    options = replace(OPTIONS, project="lab-project", folder=tmp_path)
    found = Module.of(options)
    found.write(options, MEMBER)
    return found


def test_the_module_of_a_proof_is_what_it_says_in_terraform_itself(module: Module) -> None:
    tests = module.folder / "tests"
    shutil.copytree(DEPLOY / "terraform" / "tests" / "mocks", tests / "mocks")
    shutil.copy(Path(__file__).with_name("proof.tftest.hcl"), tests)
    outcome = check(module.folder)
    assert outcome.passed, outcome.told
    assert "1 passed, 0 failed" in outcome.told


def test_the_state_lies_beside_the_report(module: Module) -> None:
    words = ("terraform", "init", "-input=false", "-no-color", "-backend=true", "-get=false")
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    (module.folder / "versions.tf").write_text('terraform {\n  backend "gcs" {}\n}\n')
    for path in module.folder.glob("*.tf"):
        if path.name not in {"versions.tf", "proof_override.tf"}:
            path.unlink()
    (module.folder / "proof_override.tf").write_text(terraform_commands.BACKEND)
    subprocess.run(words, cwd=module.folder, capture_output=True, check=True)
    backend = json.loads((module.folder / ".terraform" / "terraform.tfstate").read_text())["backend"]
    assert backend["type"] == "local"
    assert (module.folder / backend["config"]["path"]).resolve() == module.state


def test_the_variables_are_ones_of_the_module(module: Module) -> None:
    hcl = "".join(path.read_text() for path in module.folder.glob("*.tf"))
    declared = set(re.findall(r'^variable "(\w+)"', hcl, re.MULTILINE))
    assert set(variables_of(OPTIONS, MEMBER)) <= declared
    assert len(OPTIONS.prefix) <= 20


@pytest.mark.parametrize("name", ["init", "plan", "show", "apply", "output", "destroy"])
def test_every_terraform_command_is_one_that_terraform_takes(name: str, tmp_path: Path) -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    command = getattr(Module(tmp_path), name)
    done = subprocess.run(command.argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert not re.search(r"flag provided but not defined|Usage: terraform|Too many command line", said), said


def test_a_flag_that_terraform_does_not_take_would_be_noticed(tmp_path: Path) -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    words = Module(tmp_path).command("plan", "-colour=no").argv
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "flag provided but not defined" in done.stdout + done.stderr


def test_the_make_target_hands_everything_on() -> None:
    words = ["make", "--dry-run", "prove-deployment", "PROJECT=lab-7", "PROVE=--region europe-west4"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m tests.prove --project lab-7 --region europe-west4" in done.stdout
