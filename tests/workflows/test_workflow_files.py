"""The workflows take what they are to take, hand it on safely, and lean on nothing that can change under them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.gcloud.written import runs_of
from tests.workflows.workflows import (
    CALLED,
    FOLDER,
    NAMES,
    ROOT,
    inputs,
    jobs,
    module_variables,
    step_that_uses,
    steps,
    text_of,
    workflow,
)

DOCKER_INPUTS = {"image-types": "standard", "image-tag": "", "add-latest-tag": False}
DEPLOY_INPUTS = {
    "image-tag": "",
    "service-account-email": "",
    "config-secret": "",
    "vpc-connector": "",
    "deployment-prefix": "celldrop",
    "flavor": "default",
    "region": "us-central1",
    "sql-instance": "",
}
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
EVERY = pytest.mark.parametrize("name", NAMES)


def test_there_are_these_and_no_others() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.yml" for name in NAMES}


# --- Inputs ---


@pytest.mark.parametrize("event", ["workflow_dispatch", "workflow_call"])
@pytest.mark.parametrize(("name", "expected"), [("docker-workflow", DOCKER_INPUTS), ("deploy-workflow", DEPLOY_INPUTS)])
def test_inputs_are_those_that_callers_know(name: str, expected: dict[str, Any], event: str) -> None:
    assert {key: value["default"] for key, value in inputs(name, event).items()} == expected


@pytest.mark.parametrize("name", CALLED)
def test_every_input_says_what_it_is(name: str) -> None:
    for event in ("workflow_dispatch", "workflow_call"):
        assert all(len(one["description"]) > 10 and one["type"] for one in inputs(name, event).values())


def test_image_types_are_those_that_are_built() -> None:
    types = inputs("docker-workflow", "workflow_dispatch")["image-types"]
    assert (types["type"], types["options"]) == ("choice", ["standard", "cuda", "both"])


def test_flavors_on_offer_are_those_that_there_are() -> None:
    offered = inputs("deploy-workflow", "workflow_dispatch")["flavor"]
    there = {path.stem for path in (ROOT / "deploy" / "flavors").glob("*.json")} - {"flavor.schema"}
    assert offered["type"] == "choice"
    assert set(offered["options"]) == there


def test_every_variable_that_terraform_is_given_is_one_of_the_module() -> None:
    given = set(re.findall(r"\bTF_VAR_(\w+):", text_of("deploy-workflow")))
    assert len(given) == 10
    assert given <= module_variables()


def test_every_input_of_a_deployment_reaches_terraform() -> None:
    (terraform,) = [step for step in steps("deploy-workflow") if step.get("name") == "Terraform"]
    given = {value: name for name, value in terraform["env"].items()}
    for key in DEPLOY_INPUTS.keys() - {"image-tag"}:
        variable = given[f"${{{{ inputs.{key} }}}}"].removeprefix("TF_VAR_")
        assert variable == key.removeprefix("deployment-").replace("-", "_")
    assert given["${{ steps.tag.outputs.tag }}"] == "TF_VAR_image_tag"


# --- Safety ---


@EVERY
def test_nothing_is_written_into_a_shell(name: str) -> None:
    runs = list(runs_of(workflow(name)))
    assert runs
    assert [run for run in runs if "${{" in run] == []


@EVERY
def test_what_is_used_is_pinned_by_its_digest(name: str) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.*)$", text_of(name), re.MULTILINE)
    assert used
    assert [one for one in used if not PINNED.match(one)] == []


def test_an_action_has_one_digest_everywhere() -> None:
    used = {one for name in NAMES for one in re.findall(r"uses: (.*)$", text_of(name), re.MULTILINE)}
    assert len({one.partition("@")[0] for one in used}) == len(used)


@EVERY
def test_a_job_may_do_nothing_but_read_and_identify_itself(name: str) -> None:
    assert workflow(name)["permissions"] == {}
    for job in jobs(name):
        wants_google = any("google-github-actions/auth@" in step.get("uses", "") for step in job["steps"])
        assert job["permissions"] == {"contents": "read", **({"id-token": "write"} if wants_google else {})}


@EVERY
def test_no_token_of_githubs_is_left_lying_about(name: str) -> None:
    checkouts = step_that_uses(name, "actions/checkout")
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@EVERY
def test_there_are_no_secrets(name: str) -> None:
    assert "secrets." not in text_of(name)
    assert "credentials_json" not in text_of(name)


@EVERY
def test_a_job_ends_some_time(name: str) -> None:
    assert all(0 < job["timeout-minutes"] <= 120 for job in jobs(name))


def test_nobody_is_logged_in_while_packages_are_installed() -> None:
    order = [step.get("name") or step["uses"].partition("@")[0] for step in steps("docker-workflow")]
    assert order.index("Build") < order.index("google-github-actions/auth") < order.index("Push")
    (build,) = [step for step in steps("docker-workflow") if step.get("name") == "Build"]
    assert build["env"]["PUSH"] == "true"  # the command that does nothing


def test_deployments_of_one_prefix_wait_for_one_another() -> None:
    (deploy,) = jobs("deploy-workflow")
    assert deploy["concurrency"] == {
        "group": "deploy-${{ inputs.deployment-prefix }}",
        "cancel-in-progress": False,
    }


def test_strangers_code_is_tested_without_any_rights() -> None:
    assert set(workflow("test-workflow")["on"]) == {"push", "pull_request", "schedule"}
    assert "vars." not in text_of("test-workflow")


def test_what_runs_on_github_is_what_runs_here() -> None:
    assert [run.split()[-1] for run in runs_of(workflow("test-workflow"))] == ["test-exhaustive", ".ci/run"]
