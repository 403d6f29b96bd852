"""The shell parts of the workflows, run: programs in Docker's and Terraform's place say what they were asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.gcloud.shell import commands_of
from tests.gcloud.written import runs_of
from tests.workflows.workflows import CALLED, ROOT, SCRIPTS, workflow

DIGEST = "sha256:" + "5" * 64


def run(
    script: str, *arguments: str | Path, programs: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    path = f"{programs}{os.pathsep}{os.environ['PATH']}" if programs else os.environ["PATH"]
    return subprocess.run(
        [SCRIPTS / script, *arguments],
        cwd=ROOT,
        env={"PATH": path, "HOME": os.environ.get("HOME", "/"), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/said"\n{body}\n')
    path.chmod(0o755)


def said(folder: Path) -> list[str]:
    return (folder / "said").read_text().splitlines()


def test_the_workflows_run_no_script_that_is_not_there() -> None:
    called = {
        words[0]
        for name in CALLED
        for script in runs_of(workflow(name))
        for words in commands_of(script)
        if words[0].startswith(".github/")
    }
    there = {f".github/scripts/{path.name}" for path in SCRIPTS.iterdir() if os.access(path, os.X_OK)}
    assert called == there - {".github/scripts/refuse-loss"}  # which deploy calls


# --- Tag and types ---


def test_a_tag_that_is_given_is_taken() -> None:
    assert run("image-tag", "v1.2_3-rc").stdout == "v1.2_3-rc\n"


@pytest.mark.parametrize("arguments", [(), ("",)])
def test_without_a_tag_it_is_the_short_hash_of_the_commit(arguments: tuple[str, ...]) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tag = run("image-tag", *arguments).stdout.strip()
    assert head.startswith(tag)
    assert 7 <= len(tag) <= 12


@pytest.mark.parametrize("tag", ["latest", "-rm", ".", "a b", "a;b", "$(id)", "a/b", "a:b", "v1\nlegs=x", "x" * 129])
def test_what_can_be_no_tag_is_refused(tag: str) -> None:
    done = run("image-tag", tag)
    assert (done.returncode, done.stdout) == (64, "")
    assert "expected" in done.stderr


@pytest.mark.parametrize(
    ("types", "legs"), [("standard", ["standard"]), ("cuda", ["cuda"]), ("both", ["standard", "cuda"])]
)
def test_types_are_built_side_by_side(types: str, legs: list[str]) -> None:
    assert json.loads(run("image-legs", types).stdout) == legs


@pytest.mark.parametrize("types", ["", "all", 'cuda"]'])
def test_other_types_are_refused(types: str) -> None:
    done = run("image-legs", types)
    assert (done.returncode, done.stdout) == (64, "")
    assert "expected standard, cuda or both" in done.stderr


# --- Docker ---


def test_the_base_is_the_one_of_the_dockerfiles_with_todays_digest(tmp_path: Path) -> None:
    program(tmp_path, "docker", f'[ "$1" = pull ] || echo "python@{DIGEST}"')
    done = run("base-image", programs=tmp_path)
    assert done.stdout == f"docker.io/library/python:3.11-slim@{DIGEST}\n"
    for path in (ROOT / "docker").glob("*.Dockerfile"):
        assert f"\nARG BASE={done.stdout.partition('@')[0]}\n" in path.read_text()


def test_a_base_without_a_digest_is_an_error(tmp_path: Path) -> None:
    program(tmp_path, "docker", "echo")
    done = run("base-image", programs=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected NAME@sha256:" in done.stderr


def test_all_that_was_built_is_pushed_as_latest(tmp_path: Path) -> None:
    names = ["r.example/p/celldrop-functions", "r.example/p/celldrop-inference"]
    program(tmp_path, "docker", f'[ "$1" != images ] || printf "%s\\n" {" ".join(names)}')
    assert run("push-latest", "v1", "r.example/p", programs=tmp_path).returncode == 0
    assert said(tmp_path) == [
        "docker images --filter reference=r.example/p/celldrop-*:v1 --format {{.Repository}}",
        *(line for name in names for line in (f"docker tag {name}:v1 {name}:latest", f"docker push {name}:latest")),
    ]


def test_latest_of_nothing_is_an_error(tmp_path: Path) -> None:
    program(tmp_path, "docker", "true")
    done = run("push-latest", "v1", "r.example/p", programs=tmp_path)
    assert done.returncode == 1
    assert "expected those that docker/build made" in done.stderr


def test_building_and_pushing_are_two_steps_of_the_same_names(tmp_path: Path) -> None:
    program(tmp_path, "docker", "true")
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    for skipped in ("PUSH", "BUILD"):
        command = [str(ROOT / "docker" / "build"), "standard", "v1", "r.example/p"]
        subprocess.run(command, env={**env, skipped: "true"}, capture_output=True, check=True)
    built = [name for line in said(tmp_path) for name in re.findall(r"^docker build .* -t (\S+)", line)]
    pushed = [name for line in said(tmp_path) for name in re.findall(r"^docker push (\S+)$", line)]
    assert built == pushed == [f"r.example/p/celldrop-{name}:v1" for name in ("functions", "inference")]


# --- Terraform ---

TERRAFORM = r"""
case $1 in
plan) for word; do case $word in -var-file=*) cp "${word#-var-file=}" "$(dirname "$0")/variables" ;; esac; done ;;
show) cat "$(dirname "$0")/plan" ;;
esac
"""


def plan(*changes: tuple[str, str, list[str]]) -> str:
    listed: list[dict[str, Any]] = [
        {"type": kind, "address": f"{kind}.{name}", "change": {"actions": actions}} for kind, name, actions in changes
    ]
    return json.dumps({"format_version": "1.2", "resource_changes": listed})


def deploy(folder: Path, planned: str, **variables: str) -> subprocess.CompletedProcess[str]:
    program(folder, "terraform", TERRAFORM)
    (folder / "plan").write_text(planned)
    return run("deploy", "state", programs=folder, TF_VAR_prefix="cells", **variables)


def test_a_deployment_is_planned_and_applied_on_its_own_state(tmp_path: Path) -> None:
    done = deploy(tmp_path, plan(("google_storage_bucket", "bucket", ["update"])), VARIABLES='{"inbox_days": 30}')
    assert done.returncode == 0, done.stderr
    lines = said(tmp_path)
    assert [line.split()[1] for line in lines] == ["init", "plan", "show", "apply"]
    assert "-backend-config=bucket=state -backend-config=prefix=celldrop/cells" in lines[0]
    assert lines[3].split()[-1] == lines[2].split()[-1]  # what was looked at is what is applied
    assert json.loads((tmp_path / "variables").read_text()) == {"inbox_days": 30}


def test_without_further_variables_there_are_none(tmp_path: Path) -> None:
    assert deploy(tmp_path, plan(), VARIABLES="").returncode == 0
    assert json.loads((tmp_path / "variables").read_text()) == {}


@pytest.mark.parametrize("kind", ["google_storage_bucket", "google_firestore_database"])
@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"], ["forget"]])
def test_a_plan_that_takes_data_away_is_not_applied(tmp_path: Path, kind: str, actions: list[str]) -> None:
    done = deploy(tmp_path, plan(("google_pubsub_topic", "jobs", ["delete"]), (kind, "it", actions)))
    assert done.returncode == 1
    assert f"{kind}.it" in done.stderr
    assert "google_pubsub_topic" not in done.stderr
    assert [line.split()[1] for line in said(tmp_path)] == ["init", "plan", "show"]


BUCKETS = 'resource "terraform_data" "bucket" {\n  triggers_replace = "%s"\n}\n'


@pytest.mark.slow
def test_a_plan_of_terraforms_own_is_understood(tmp_path: Path) -> None:
    """With what Terraform has built in, in a bucket's place: no provider is needed."""
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not installed")

    def command(*arguments: str) -> str:
        done = subprocess.run([terraform, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    def planned(region: str) -> int:
        (tmp_path / "main.tf").write_text(BUCKETS % region)
        command("plan", "-input=false", "-out=plan")
        shown = command("show", "-json", "plan").replace("terraform_data", "google_storage_bucket")
        (tmp_path / "plan.json").write_text(shown)
        return run("refuse-loss", tmp_path / "plan.json").returncode

    command("init", "-input=false")
    assert planned("us") == 0
    command("apply", "-input=false", "-auto-approve")
    assert planned("us") == 0
    assert planned("europe") == 1


# --- Variables of the repository ---


def test_what_is_not_set_is_told_by_name() -> None:
    done = run("expect", "GCP_PROJECT", "GCP_STATE_BUCKET", "GCP_DEPLOY_ACCOUNT", GCP_PROJECT="p", GCP_STATE_BUCKET="")
    assert done.returncode == 1
    assert "Found no GCP_STATE_BUCKET GCP_DEPLOY_ACCOUNT;" in done.stderr
    assert run("expect", "GCP_PROJECT", GCP_PROJECT="p").returncode == 0
