"""Every gcloud command of a proof, as the words of its argument list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.prove.options import Options
from tests.prove.programs import Command

LIST_LIMIT_S = 120.0
EVENTARC = "eventarc-"
"""Eventarc names its own subscriptions and topics so, with our trigger's name inside."""


def _gcloud(*words: str, limit_s: float = LIST_LIMIT_S, secret: bool = False) -> Command:
    return Command(("gcloud", *words), limit_s=limit_s, secret=secret)


def version() -> Command:
    """Of the SDK."""
    return _gcloud("version", "--format=json")


def account() -> Command:
    """Who is logged in."""
    return _gcloud("auth", "list", "--filter=status:ACTIVE", "--format=json", secret=True)


def application_default() -> Command:
    """Whether there are credentials for Terraform and the client libraries."""
    return _gcloud("auth", "application-default", "print-access-token", secret=True)


def identity_token() -> Command:
    """For the status function."""
    return _gcloud("auth", "print-identity-token", secret=True)


def project(options: Options) -> Command:
    """That it is there."""
    return _gcloud("projects", "describe", options.project, "--format=json")


def billing(options: Options) -> Command:
    """Whether it can pay."""
    return _gcloud("billing", "projects", "describe", options.project, "--format=json")


def services(options: Options) -> Command:
    """The APIs that are enabled."""
    return _gcloud("services", "list", "--enabled", f"--project={options.project}", "--format=json(config.name)")


def image(options: Options, name: str) -> Command:
    """That an image is there, and its digest."""
    address = f"{options.image_repository}/{name}:{options.image_tag}"
    return _gcloud("artifacts", "docker", "images", "describe", address, "--format=json")


def upload_bundles(bundles: Iterable[Path], bucket: str) -> Command:
    """Those of the checkout, one of which is the deployment's default."""
    return _gcloud("storage", "cp", "--recursive", *map(str, bundles), f"gs://{bucket}/", limit_s=600)


def executions(options: Options, job: str) -> Command:
    """What Cloud Run says of every execution."""
    place = (f"--project={options.project}", f"--region={options.region}")
    return _gcloud("run", "jobs", "executions", "list", f"--job={job}", *place, "--format=json", "--limit=500")


def requests(options: Options) -> Command:
    """What the functions answered to whoever called them."""
    log = f"projects/{options.project}/logs/run.googleapis.com%2Frequests"
    services = f'resource.labels.service_name=~"^{options.prefix}-"'
    wanted = f'logName="{log}" AND resource.type="cloud_run_revision" AND {services}'
    about = (f"--project={options.project}", "--freshness=3h", "--limit=5000", "--format=json")
    return _gcloud("logging", "read", wanted, *about, limit_s=300)


def subscriptions(options: Options) -> Command:
    """All of the project's, with their topics."""
    return _gcloud("pubsub", "subscriptions", "list", f"--project={options.project}", "--format=json(name,topic)")


def delete_subscription(options: Options, name: str) -> Command:
    """One that Terraform does not know: of the suite or the faults."""
    return _gcloud("pubsub", "subscriptions", "delete", name, f"--project={options.project}", "--quiet")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing that a deployment makes, how to list it, and how to remove one.

    Attributes:
        service: Of the API that must be enabled before any can be listed.
        key: The field of the list's JSON that names one; its last part after a slash counts.
        regional: Regions are named so: an option's name.
        removal: What follows ``gcloud``, with NAME in the place of the name.
    """

    name: str
    service: str
    listing: tuple[str, ...]
    removal: tuple[str, ...]
    key: str = "name"
    regional: str = ""

    def listed(self, options: Options) -> Command:
        """All of the project, or of the region."""
        return _gcloud(*self.listing, *self._place(options), f"--format=json({self.key})")

    def remove(self, options: Options, name: str) -> str:
        """The line for a shell that removes one."""
        words = [word.replace("NAME", name).replace("PROJECT", options.project) for word in self.removal]
        return " ".join(["gcloud", *words, *self._place(options), "--quiet"])

    def _place(self, options: Options) -> list[str]:
        place = [] if "projects" in self.listing else [f"--project={options.project}"]
        return [*place, f"--{self.regional}={options.region}"] if self.regional else place


KINDS = (
    Kind("bucket", "storage", ("storage", "buckets", "list"), ("storage", "rm", "--recursive", "gs://NAME")),
    Kind("topic", "pubsub", ("pubsub", "topics", "list"), ("pubsub", "topics", "delete", "NAME")),
    Kind("subscription", "pubsub", ("pubsub", "subscriptions", "list"), ("pubsub", "subscriptions", "delete", "NAME")),
    Kind("snapshot", "pubsub", ("pubsub", "snapshots", "list"), ("pubsub", "snapshots", "delete", "NAME")),
    Kind(
        "service",
        "run",
        ("run", "services", "list"),
        ("run", "services", "delete", "NAME"),
        key="metadata.name",
        regional="region",
    ),
    Kind(
        "job",
        "run",
        ("run", "jobs", "list"),
        ("run", "jobs", "delete", "NAME"),
        key="metadata.name",
        regional="region",
    ),
    Kind(
        "database",
        "firestore",
        ("firestore", "databases", "list"),
        ("firestore", "databases", "delete", "--database=NAME"),
    ),
    Kind(
        "trigger",
        "eventarc",
        ("eventarc", "triggers", "list"),
        ("eventarc", "triggers", "delete", "NAME"),
        regional="location",
    ),
    Kind(
        "scheduler job",
        "cloudscheduler",
        ("scheduler", "jobs", "list"),
        ("scheduler", "jobs", "delete", "NAME"),
        regional="location",
    ),
    Kind(
        "service account",
        "iam",
        ("iam", "service-accounts", "list"),
        ("iam", "service-accounts", "delete", "NAME@PROJECT.iam.gserviceaccount.com"),
        key="email",
    ),
    Kind(
        "dashboard",
        "monitoring",
        ("monitoring", "dashboards", "list"),
        ("monitoring", "dashboards", "delete", "NAME"),
        key="name,displayName",
    ),
    Kind(
        "alert policy",
        "monitoring",
        ("alpha", "monitoring", "policies", "list"),
        ("alpha", "monitoring", "policies", "delete", "NAME"),
        key="name,displayName",
    ),
)
"""Everything of the module that can outlive a tear-down."""


def policy(options: Options) -> Command:
    """Who has rights on the project: a deleted account may still be named there."""
    return _gcloud("projects", "get-iam-policy", options.project, "--format=json")
