"""Where a deployment is that stands: written down for the programs that the suite and the faults are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEPLOYMENT = "deployment.json"
ENV = "deployment.env"


@dataclass(frozen=True, slots=True)
class Reached:
    """A deployment, in a project or on this machine.

    Attributes:
        variables: CELLDROP_ ones, and on this machine those of emulators.
        dead_requests: The subscription of the requests' dead letters.
        run_endpoint: Of the stand-in for Cloud Run; empty for Google's.
    """

    prefix: str
    region: str
    variables: Mapping[str, str]
    status_url: str
    dead_requests: str
    run_endpoint: str = ""

    @property
    def local(self) -> bool:
        """Not at Google's."""
        return bool(self.run_endpoint)

    @property
    def project(self) -> str:
        """Its project."""
        return self.variables["CELLDROP_PROJECT"]

    @property
    def models_bucket(self) -> str:
        """Where bundles are."""
        return self.variables["CELLDROP_MODELS_BUCKET"]

    @property
    def job(self) -> str:
        """The job without a GPU."""
        return self.variables["CELLDROP_CPU_JOB"]

    def save(self, folder: Path) -> None:
        """Write it down, and its settings as an .env file."""
        (folder / DEPLOYMENT).write_text(json.dumps(asdict(self), indent=1) + "\n")
        lines = [f"{name}='{value}'\n" for name, value in self.variables.items()]
        (folder / ENV).write_text("".join(lines))

    def suite_environment(self, folder: Path) -> dict[str, str]:
        """What docs/how-to/test-a-deployment.md asks for, and where emulators are: a variable of each."""
        emulators = {name: value for name, value in self.variables.items() if not name.startswith("CELLDROP_")}
        return {
            **emulators,
            "CELLDROP_SYSTEM_ENV": str(folder / ENV),
            "CELLDROP_SYSTEM_STATUS_URL": self.status_url,
            "CELLDROP_SYSTEM_DEAD_REQUESTS": self.dead_requests,
        }


def reached(folder: Path) -> Reached:
    """The one that a proof of a folder has made."""
    return Reached(**json.loads((folder / DEPLOYMENT).read_text()))


def from_outputs(prefix: str, outputs: Mapping[str, Any]) -> Reached:
    """As Terraform says what it made."""
    variables: dict[str, str] = dict(outputs["environment"]["value"])
    return Reached(
        prefix=prefix,
        region=variables["CELLDROP_REGION"],
        variables=variables,
        status_url=outputs["status_url"]["value"].rstrip("/") + "/",
        dead_requests=outputs["subscriptions"]["value"]["requests_dead"],
    )
