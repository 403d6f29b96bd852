"""tools/lint objects to what is wrong in workflows, scripts, Dockerfiles and flavors, and to nothing that is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gcloud.written import files_of
from tests.workflows.workflows import ROOT

BIN = Path(sys.executable).parent
LINTERS = ("actionlint", "check-jsonschema", "hadolint", "shellcheck", "zizmor")
FOLDERS = (".github", "deploy", "docker", "docs", "tools")

pytestmark = pytest.mark.slow


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is linted, known to git."""
    if missing := [name for name in LINTERS if shutil.which(name, path=BIN) is None]:
        pytest.skip(f"no {', '.join(missing)} in {BIN}; `make setup` installs them")
    for path in files_of(ROOT):
        name = path.relative_to(ROOT)
        if name.parts[0] in FOLDERS:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / name)
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(tree), "VENV": str(BIN.parent)}
    return subprocess.run([tree / "tools" / "lint"], env=env, capture_output=True, text=True, check=False, timeout=120)


def test_there_is_nothing_to_object_to(tree: Path) -> None:
    done = lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr


DEPLOY = ".github/workflows/deploy-workflow.yml"
WRONG = {
    "a script with a word unquoted": (".github/scripts/refuse-loss", '"$1")', "$1)", "SC2086"),
    "a step with a word unquoted": (DEPLOY, 'deploy "$GCP_STATE_BUCKET"', "deploy $GCP_STATE_BUCKET", "SC2086"),
    "an input that is not there": (DEPLOY, "inputs.flavor }}", "inputs.flavour }}", "flavour"),
    "an input in a shell": (
        DEPLOY,
        'deploy "$GCP_STATE_BUCKET"',
        'deploy "${{ inputs.region }}"',
        "template-injection",
    ),
    "an action by its tag": (
        DEPLOY,
        "auth@7c6bc770dae815cd3e89ee6cdf493a5fab2cc093 # v3.0.0",
        "auth@v3.0.0",
        "unpinned-uses",
    ),
    "a workflow that is none": (DEPLOY, "permissions: {}", "permission: {}", "permission"),
    "a Dockerfile that uses another shell's word": (
        "docker/functions.Dockerfile",
        "USER 10001:10001",
        "USER root\nRUN cd /tmp",
        "DL300",
    ),
    "a flavor with a word too many": ("deploy/flavors/dev.json", '"max_tasks"', '"most_tasks"', "most_tasks"),
    "a schema that is none": ("docs/reference/manifest.schema.json", '"object"', '"objekt"', "objekt"),
}


@pytest.mark.parametrize(("name", "right", "wrong", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told(tree: Path, name: str, right: str, wrong: str, told: str) -> None:
    text = (tree / name).read_text()
    assert right in text
    (tree / name).write_text(text.replace(right, wrong, 1))
    done = lint(tree)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
