"""What a proof is asked for on the command line, and the names that follow from it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROOFS = ROOT / "celldrop-out" / "proof"
PREFIX = "prove-"
"""What the prefix of every proof begins with, so that leftovers are recognised."""
SETTINGS = "proof-settings.json"
MODEL = "pbmc-sorted-765"
"""The bundle that the suite and the faults use."""
BUNDLES = tuple(sorted(path for path in (ROOT / "models").iterdir() if path.is_dir()))
LOCAL_PROJECT, LOCAL_REGION = "celldrop-local", "europe-west4"


@dataclass(frozen=True, slots=True)
class Options:
    """One proof.

    Attributes:
        prefix: Every name that it makes in the project begins with it.
        folder: Where its report, logs and Terraform state are kept.
        image_repository: ``HOST/PROJECT/REPOSITORY``.
        limit_minutes: For everything before the tear-down, which has a limit of its own.
        budget_usd: A forecast above it is refused before anything is made.
        python: The interpreter that runs the doctor, the suite and the faults.
        despite_leftovers: Go on where an earlier proof has left something.
    """

    project: str
    region: str
    prefix: str
    folder: Path
    image_repository: str
    image_tag: str
    local: bool = False
    keep: bool = False
    limit_minutes: float = 90.0
    budget_usd: float = 1.0
    python: str = sys.executable
    despite_leftovers: bool = False

    def save(self) -> None:
        """Write them down, for a later tear-down of what a killed proof left."""
        document = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}
        (self.folder / SETTINGS).write_text(json.dumps(document, indent=1) + "\n")


def saved_options(folder: Path) -> Options:
    """Those of an earlier proof, by its folder."""
    document = json.loads((folder / SETTINGS).read_text())
    return replace(Options(**document), folder=folder.resolve())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    found.add_argument("--project", help="the Google Cloud project to deploy into; it needs billing")
    found.add_argument("--region", default="us-central1", help="of everything (%(default)s)")
    found.add_argument("--image-repository", help="HOST/PROJECT/REPOSITORY (REGION-docker.pkg.dev/PROJECT/celldrop)")
    found.add_argument("--image-tag", help="of the images to run (the commit's short hash)")
    found.add_argument("--local", action="store_true", help="prove the local cloud instead of a project")
    found.add_argument("--keep", action="store_true", help="leave the deployment up")
    found.add_argument("--limit-minutes", type=float, default=90.0, help="before it is torn down (%(default)g)")
    found.add_argument("--budget-usd", type=float, default=1.0, help="refused when forecast above it (%(default)g)")
    found.add_argument("--despite-leftovers", action="store_true", help="go on where an earlier proof left something")
    found.add_argument("--out", type=Path, default=PROOFS, help="where the report's folder is made (%(default)s)")
    found.add_argument("--python", default=sys.executable, help="runs the doctor, the suite and the faults")
    found.add_argument("--tear-down", type=Path, metavar="FOLDER", help="only remove what the proof of a folder left")
    return found


def options_of(arguments: Sequence[str] | None, now: datetime, suffix: str) -> Options:
    """Read a command line; the prefix tells the minute, the suffix keeps two of one minute apart."""
    own = parser()
    given = own.parse_args(arguments)
    if given.tear_down is not None:
        if not (given.tear_down / SETTINGS).is_file():
            own.error(f"found no {SETTINGS} in {given.tear_down}; expected the folder of a proof")
        return replace(saved_options(given.tear_down), keep=False)
    if bool(given.project) == given.local:
        own.error("expected either --project PROJECT or --local")
    if given.keep and given.local:
        own.error("expected no --keep with --local: the local cloud ends with this program")
    project = given.project or LOCAL_PROJECT
    prefix = f"{PREFIX}{now:%m%d-%H%M}-{suffix}"
    return Options(
        project=project,
        region=LOCAL_REGION if given.local else given.region,
        prefix=prefix,
        folder=given.out.resolve() / f"{now:%Y-%m-%d}-{prefix}",
        image_repository=given.image_repository or f"{given.region}-docker.pkg.dev/{project}/celldrop",
        image_tag=given.image_tag or commit()[:7],
        local=given.local,
        keep=given.keep,
        limit_minutes=given.limit_minutes,
        budget_usd=given.budget_usd,
        python=given.python,
        despite_leftovers=given.despite_leftovers,
    )


def commit() -> str:
    """The checkout's commit."""
    return _git("rev-parse", "HEAD") or "unknown"


def changed_files() -> list[str]:
    """What differs from the commit: the report says whether the tree was dirty."""
    return _git("status", "--porcelain").splitlines()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
