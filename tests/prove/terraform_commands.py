"""The module's copy in a proof's folder, with its state beside it, and every terraform command on it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.prove.options import ROOT, Options
from tests.prove.programs import TERRAFORM_GRACE_S, Command

DEPLOY = ROOT / "deploy"
PLAN = "proof.tfplan"
STATE = "terraform.tfstate"
BACKEND = f"""\
# A throw-away deployment keeps its state beside its report: it needs no bucket, and whoever has the folder removes it.
terraform {{
  backend "local" {{
    path = "../../{STATE}"
  }}
}}
"""
RETRIES = """
# A message that nobody takes is given up within a minute, not after hours: the suite waits for one.
locals {
  push_attempts = 5
}

resource "google_pubsub_subscription" "push" {
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "10s"
  }
}
"""
OVERRIDE = BACKEND + RETRIES
FLAVOR = "dev"


@dataclass(frozen=True, slots=True)
class Module:
    """The copy that is applied; what removes it later is the very same."""

    folder: Path

    @classmethod
    def of(cls, options: Options) -> Module:
        """In a proof's folder."""
        return cls(options.folder / "deploy" / "terraform")

    @property
    def state(self) -> Path:
        """Its state."""
        return self.folder.parents[1] / STATE

    def write(self, options: Options, member: str) -> None:
        """Copy what is deployed, and give it a local backend and this proof's variables.

        Args:
            member: Who proves, as IAM names them: may drop files and call the status function.
        """
        without = shutil.ignore_patterns("tests", ".terraform*", "*.tfstate*", "*.tfvars*", "*_override.tf")
        shutil.copytree(DEPLOY / "terraform", self.folder, ignore=without)
        shutil.copytree(DEPLOY / "flavors", self.folder.parent / "flavors")
        shutil.copy(DEPLOY / "firestore.indexes.json", self.folder.parent)
        (self.folder / "proof_override.tf").write_text(OVERRIDE)
        variables = json.dumps(variables_of(options, member), indent=1)
        (self.folder / "proof.auto.tfvars.json").write_text(f"{variables}\n")

    def command(self, *words: str, limit_s: float = 300) -> Command:
        """One of terraform's, in the copy."""
        return Command(("terraform", *words), limit_s=limit_s, cwd=self.folder, grace_s=TERRAFORM_GRACE_S)

    @property
    def init(self) -> Command:
        """Fetches the provider."""
        return self.command("init", "-input=false", "-no-color")

    @property
    def plan(self) -> Command:
        """Writes down what would be made."""
        return self.command("plan", "-input=false", "-no-color", f"-out={PLAN}")

    @property
    def show(self) -> Command:
        """The plan as JSON."""
        return self.command("show", "-json", PLAN)

    @property
    def apply(self) -> Command:
        """Makes what was planned."""
        return self.command("apply", "-input=false", "-no-color", PLAN, limit_s=1500)

    @property
    def output(self) -> Command:
        """What was made, by name."""
        return self.command("output", "-json")

    @property
    def destroy(self) -> Command:
        """Removes all of it."""
        return self.command("destroy", "-auto-approve", "-input=false", "-no-color", limit_s=1500)


def version() -> Command:
    """Of terraform, and of the provider where one is fetched."""
    return Command(("terraform", "version", "-json"))


def variables_of(options: Options, member: str) -> dict[str, Any]:
    """Of the module."""
    return {
        "project": options.project,
        "region": options.region,
        "prefix": options.prefix,
        "flavor": FLAVOR,
        "image_repository": options.image_repository,
        "image_tag": options.image_tag,
        "protect_data": False,
        "users": [member],
        "labels": {"celldrop-proof": options.prefix},
    }


def changes_of(plan: dict[str, Any]) -> tuple[Counter[str], list[str]]:
    """What a plan creates, by type, and every change in it that is no creation."""
    created: Counter[str] = Counter()
    others = []
    for change in plan.get("resource_changes", []):
        actions = change["change"]["actions"]
        if actions == ["create"]:
            created[change["type"]] += 1
        elif actions not in (["no-op"], ["read"]):
            others.append(f"{change['address']}: {', '.join(actions)}")
    return created, others
