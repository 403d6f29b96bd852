"""The module stands in Terraform itself, and what is wrong with it is noticed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.terraform_tool import LIMIT_S, ROOT, Outcome, check

DEPLOY = ROOT / "deploy"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("terraform"), pytest.mark.timeout(LIMIT_S)]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The module without its tests, in a copy of its surroundings."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    module = tmp_path / "deploy" / "terraform"
    shutil.rmtree(module / "tests")
    return module


def test_the_module_is_formatted_valid_and_passes_its_tests() -> None:
    outcome = check(DEPLOY / "terraform")
    assert outcome.passed, outcome.told
    found = re.search(r"(\d+) passed, (\d+) failed", outcome.told)
    assert found is not None
    assert (int(found.group(1)), int(found.group(2))) == (_runs(), 0)


def _runs() -> int:
    tests = (DEPLOY / "terraform" / "tests").glob("*.tftest.hcl")
    return sum(len(re.findall(r'^run "', path.read_text(), re.MULTILINE)) for path in tests)


def test_a_bare_copy_is_valid(bare: Path) -> None:
    outcome = check(bare)
    assert outcome.passed, outcome.told


MISSPELT = {
    "a resource": ("storage.tf", '"google_storage_bucket"', '"google_storage_buket"'),
    "an argument": ("jobs.tf", "max_retries                   =", "max_retrys                    ="),
    "an argument in a block": ("functions.tf", "startup_cpu_boost = true", "start_cpu_boost   = true"),
    "a block": ("jobs.tf", 'dynamic "node_selector"', 'dynamic "node_selectors"'),
    "a reference": (
        "firestore.tf",
        "= google_firestore_database.submissions.name",
        "= google_firestore_database.submission.name",
    ),
    "a local": ("main.tf", "region}-docker", "regions}-docker"),
    "a type": ("pubsub.tf", "max_delivery_attempts = local.push_attempts", 'max_delivery_attempts = "often"'),
    "an argument left out": ("firestore.tf", '  type                              = "FIRESTORE_NATIVE"\n', ""),
    "the format": ("storage.tf", "  force_destroy               =", "  force_destroy ="),
}


@pytest.mark.parametrize(("name", "old", "new"), MISSPELT.values(), ids=MISSPELT.keys())
def test_a_slip_is_noticed(bare: Path, name: str, old: str, new: str) -> None:
    file = bare / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert not check(bare).passed


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "hungry": ({"functions": {"dispatch": {"memory_mib": 8192}}}, "google_cloud_run_v2_service.function"),
    "starved": ({"jobs": {"cpu": {"memory_mib": 1024}}}, "google_cloud_run_v2_job.job"),
    "narrow": ({"jobs": {"gpu": {"cpu": 2, "memory_mib": 8192}}}, "google_cloud_run_v2_job.job"),
    "late": ({"tasks": {"timeout_s": 7200}}, "google_cloud_run_v2_job.job"),
    "swapped": ({"jobs": {"cpu": {"accelerator": "nvidia-l4"}}}, "google_cloud_run_v2_job.job"),
    "patient": ({"functions": {"ingest": {"timeout_s": 900}}}, "google_pubsub_subscription.push"),
}

PROVIDERS = """
mock_provider "google" {}

mock_provider "google" {
  alias = "billing"
}

variables {
  project   = "lab-project"
  region    = "europe-west4"
  image_tag = "0a1b2c3"
}
"""


def _run(name: str, refusing: str) -> str:
    return f"""
run "{name}" {{
  command = plan

  variables {{
    flavor = "{name}"
  }}

  expect_failures = [{refusing}]
}}
"""


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merged(base[key], value) for key, value in change.items() if isinstance(value, dict)}
    return {**base, **change, **both}


def _refusals(bare: Path, unfit: dict[str, tuple[dict[str, Any], str]]) -> Outcome:
    gpu = json.loads((DEPLOY / "flavors" / "gpu.json").read_text())
    for name, (change, _) in unfit.items():
        (bare.parent / "flavors" / f"{name}.json").write_text(json.dumps(_merged(gpu, change)))
    (bare / "tests").mkdir()
    runs = [_run(name, refusing) for name, (_, refusing) in unfit.items()]
    (bare / "tests" / "unfit.tftest.hcl").write_text(PROVIDERS.lstrip() + "".join(runs))
    return check(bare)


def test_sizes_that_cloud_run_would_refuse_are_refused_before(bare: Path) -> None:
    outcome = _refusals(bare, UNFIT)
    assert outcome.passed, outcome.told


def test_sizes_that_are_fit_are_not_refused(bare: Path) -> None:
    outcome = _refusals(bare, {"own": ({"jobs": {"cpu": {"cpu": 8}}}, "google_cloud_run_v2_job.job")})
    assert not outcome.passed
    assert "expected to fail" in outcome.told or "Missing expected failure" in outcome.told, outcome.told
