"""Terraform on a folder: format, validate, test; offline against a stand-in provider where that tool lies beside us."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = ROOT.parent / "shared" / "tools" / "terraform-offline" / "tf-offline"
INSISTING = "CELLDROP_REQUIRE_DEPLOY_TOOLS"
LIMIT_S = 900
SELDOM_TIDIED = {"GOGC": "off", "GOMEMLIMIT": "1500MiB"}
"""Terraform plans the module anew for each of its tests: it collects no garbage before it has so much memory."""

ONLINE = """
terraform fmt -check -recursive -diff && terraform init -backend=false -input=false &&
terraform validate && if compgen -G 'tests/*.tftest.hcl'; then terraform test; fi
"""
"""The same with the provider itself, where its registry can be reached."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it came out."""

    passed: bool
    told: str


def check(module: Path) -> Outcome:
    """Run everything in a module; the test is skipped where nothing can be run, unless the environment insists."""
    if shutil.which("terraform") is None:
        _missing("terraform is not installed")
    command = [str(OFFLINE), str(module)] if OFFLINE.exists() else ["bash", "-euc", ONLINE]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        command,
        cwd=module,
        env={**environment, "TF_CLI_ARGS": "-no-color", "CHECKPOINT_DISABLE": "1", **SELDOM_TIDIED},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    told = done.stdout + done.stderr
    if "Failed to query available provider packages" in told:
        _missing("the provider can be had neither from the registry nor from shared/tools/terraform-offline")
    return Outcome(done.returncode == 0, told)


def _missing(what: str) -> None:
    if os.environ.get(INSISTING):
        pytest.fail(f"{what}, and {INSISTING} is set")
    pytest.skip(what)
