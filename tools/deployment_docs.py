"""The page of docs/reference on the deployment: variables, outputs, flavors and rights, as the module has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
MODULE = DEPLOY / "terraform"
FLAVORS = DEPLOY / "flavors"

INTRODUCTION = """\
The Terraform module in `deploy/terraform` creates one deployment in one Google Cloud project. The names of all its
resources begin with `prefix`, so one project may contain several deployments. The module needs Terraform 1.9 or newer
and the google provider 6.50 or a later 6.

```sh
cd deploy/terraform
terraform init -backend-config="bucket=STATE_BUCKET" -backend-config="prefix=celldrop/PREFIX"
terraform apply -var project=PROJECT -var region=REGION -var image_tag=TAG
```

Before you apply the module:

- Create the state bucket.
- Enable `cloudresourcemanager.googleapis.com`, the service that Terraform itself needs first. The module enables the
  others.
- Push the images `celldrop-functions:TAG`, `celldrop-inference:TAG` and, for a flavor with a GPU,
  `celldrop-inference-cuda:TAG`. They must exist before the functions are created. If the module creates their
  repository, create that first (`-target=google_artifact_registry_repository.images`).

After that, upload the models with the command in the output `models_command`.

In a new project, some of Google's service agents (above all that of Eventarc) take some minutes to become known. If
the first `apply` fails because of this, run it again. `init` writes a lock file with the provider's checksums: keep
it with your own configuration.

To use `celldrop` with the deployment, take the settings from `terraform output -raw env_file`.

The module has been checked against the provider's schema, and by `terraform test` with simulated responses
(`tests/deploy`). It has not been applied to a project yet. `make prove-deployment PROJECT=…` does that in a temporary
deployment ([how](../how-to/prove-a-deployment.md)).

Settings come from environment variables, which the module sets. A setting that the module does not set is read from
the `.env` file in `config_secret`, which Secret Manager stores and Cloud Run mounts at `/etc/celldrop/.env`. To
change a setting that the module sets, change the module's variable. A secret with version `latest` is read each time
an instance or a task starts."""

FLAVOR_NOTES = """\
A flavor sets the sizes of the machines. It is a file in `deploy/flavors`, checked against `flavor.schema.json`. You
can add a flavor of your own beside the others and choose it by its name. No flavor keeps an instance warm: an idle
deployment pays for what it stores and for the pass that reconcile makes every minute.

`ingest` has more memory than the inspection of a file may use (1,536 MiB). A file that needs more is therefore
refused; with less memory, the platform would stop the instance and deliver the file again. The other sizes were
chosen, not measured. A GPU needs at least 4 vCPUs and 16 GiB, and its tasks may take at most an hour. Each region has
a quota for GPUs, and one for vCPUs, of which one execution of `large` may use 800 at a time."""

RIGHTS_NOTES = """\
Each part has its own service account. If `service_account_email` is set, all parts share that account, with the sum
of these rights. Rights are granted on the bucket, topic, job, service, secret or account itself. Firestore, Eventarc
and Cloud SQL allow grants only on the project; there, a condition limits the right to one database or one instance.
No part has a key. A test checks that this table equals the module."""

PEOPLE_NOTES = """\
`users` may drop files, read results and call `status`. `requesters` may publish requests and pull events. Nobody else
has access. Cloud Run authenticates the callers of a function ([ADR 7](../adr/0007-cloud-run-checks-who-calls.md));
`ingest`, `dispatch` and `reconcile` answer only Google's own services in the same project. The commands `status`,
`watch` and `cancel` of the command line read the database, so their users need `roles/datastore.user` as well.

Whoever applies the module needs `roles/owner`, or on the project: `artifactregistry.admin`, `cloudscheduler.admin`,
`datastore.owner`, `eventarc.admin`, `iam.serviceAccountAdmin`, `iam.serviceAccountUser`, `monitoring.editor`,
`pubsub.admin`, `resourcemanager.projectIamAdmin`, `run.admin`, `serviceusage.serviceUsageAdmin` and `storage.admin`;
`secretmanager.admin` with `config_secret`, and `billing.costsManager` on the billing account for a budget."""

WAY_NOTES = """\
- When an upload to the inbox is complete, Eventarc pushes an event to `ingest`. Eventarc keeps an event for a day and
  retries during that time. Its subscription (`eventarc-REGION-PREFIX-inbox-…`) has no dead-letter topic, so an alert
  watches it. It waits ten seconds for an answer. A file that takes longer to inspect is delivered and inspected again
  in the meantime, but this makes no second submission (docs/how-to/operate.md has the command that allows more time).
- `PREFIX-jobs` is pushed to `dispatch`, and `PREFIX-requests` to `ingest`. A message is delivered up to 20 times,
  with pauses of 10 s to 10 min. Then it is moved to `PREFIX-jobs-dead` or `PREFIX-requests-dead`, and their
  subscriptions keep it for a week. If the message of a job is lost, reconcile requests the job again.
- `PREFIX-events` has one pull subscription of the same name for the first system that listens, with
  `PREFIX-events-dead` as its dead-letter topic. Messages that are not pulled are deleted after a week. Other systems
  [create their own subscriptions](../how-to/integrate-over-pubsub.md).
- Cloud Scheduler calls `reconcile` every minute.
- Firestore's indexes are those in `deploy/firestore.indexes.json`, which is generated from the code. If `record_days`
  is set, Firestore deletes records by the field `expires_at`. Otherwise that field is empty and nothing is deleted."""


class Right(NamedTuple):
    """One row of the table of rights."""

    who: str
    role: str
    on: str
    why: str


_PARTS = ("ingest", "dispatch", "status", "reconcile", "task, cpu", "task, gpu", "tasks")
WORKERS = ("ingest", "dispatch", "status", "reconcile", "task")
STORAGE_AGENT, PUBSUB_AGENT = "Cloud Storage's agent", "Pub/Sub's agent"

RIGHTS = (
    Right(
        "ingest", "roles/storage.objectViewer", "inbox, models, `allowed_buckets`", "inspects files, finds the model"
    ),
    Right("ingest", "roles/pubsub.publisher", "jobs, events", "sends jobs to dispatch, publishes events"),
    Right(
        "dispatch",
        "roles/run.jobsExecutorWithOverrides",
        "jobs cpu, gpu",
        "starts executions, stops those that were replaced",
    ),
    Right("dispatch", "roles/run.viewer", "jobs cpu, gpu", "checks whether an execution has ended"),
    Right("dispatch", "roles/iam.serviceAccountUser", "task", "runs its executions as that account"),
    Right("dispatch", "roles/pubsub.publisher", "jobs, events", "reports what cannot be started"),
    Right("task", "roles/storage.objectViewer", "inbox, models, `allowed_buckets`", "reads its rows and the weights"),
    Right(
        "task",
        "roles/storage.objectUser",
        "work, results",
        "writes parts and results, removes those that were not committed",
    ),
    Right("task", "roles/pubsub.publisher", "jobs, events", "publishes the outcome, or requests another start"),
    Right("reconcile", "roles/storage.objectUser", "work, results", "publishes manifests, deletes leftovers (ADR 2)"),
    Right(
        "reconcile",
        "roles/run.jobsExecutorWithOverrides",
        "jobs cpu, gpu",
        "stops executions that are no longer needed",
    ),
    Right("reconcile", "roles/run.viewer", "jobs cpu, gpu", "checks whether an execution still runs"),
    Right("reconcile", "roles/iam.serviceAccountUser", "task", "the same, when it starts one again"),
    Right("reconcile", "roles/pubsub.publisher", "jobs, events", "publishes the messages that are still unsent"),
    Right("status", "roles/storage.objectViewer", "results", "serves results"),
    Right("status", "roles/run.jobsExecutor", "jobs cpu, gpu", "stops the executions of cancelled submissions"),
    Right("status", "roles/run.viewer", "jobs cpu, gpu", "checks whether they had already ended"),
    Right("status", "roles/pubsub.publisher", "events", "publishes cancellations"),
    Right("status", "roles/iam.serviceAccountTokenCreator", "itself", "may sign links to results; nothing does yet"),
    *(Right(part, "roles/datastore.user", "the database", "reads and changes records") for part in WORKERS),
    *(Right(part, "roles/secretmanager.secretAccessor", "`config_secret`", "mounts it") for part in WORKERS),
    *(Right(part, "roles/cloudsql.client", "`sql_instance`", "attaches it") for part in WORKERS),
    Right("push", "roles/run.invoker", "ingest, dispatch", "Pub/Sub calls as this account"),
    Right("trigger", "roles/run.invoker", "ingest", "Eventarc calls as this account"),
    Right("trigger", "roles/eventarc.eventReceiver", "the project", "receives the inbox's events"),
    Right("schedule", "roles/run.invoker", "reconcile", "Cloud Scheduler calls as this account"),
    Right(STORAGE_AGENT, "roles/pubsub.publisher", "the project", "publishes to a topic that Eventarc names"),
    Right(PUBSUB_AGENT, "roles/iam.serviceAccountTokenCreator", "push, trigger", "creates the tokens for its calls"),
    Right(PUBSUB_AGENT, "roles/pubsub.publisher", "the -dead topics", "moves undeliverable messages"),
    Right(PUBSUB_AGENT, "roles/pubsub.subscriber", "the subscriptions", "takes messages from there"),
    Right("`users`", "roles/storage.objectCreator", "inbox", "drop files"),
    Right("`users`", "roles/storage.objectViewer", "results", "read results"),
    Right("`users`", "roles/run.invoker", "status", "look up and cancel"),
    Right("`requesters`", "roles/pubsub.publisher", "requests", "send requests"),
    Right("`requesters`", "roles/pubsub.subscriber", "events", "receive events"),
)


def page() -> str:
    """The page, for ``tools.reference_docs``."""
    sections = {
        "Variables": _table(["variable", "default", "meaning"], variables()),
        "Outputs": _table(["output", "what it is"], outputs()),
        "Flavors": "\n\n".join([FLAVOR_NOTES, *_flavor_tables()]),
        "What leads where": WAY_NOTES,
        "Rights": "\n\n".join([RIGHTS_NOTES, _table(["who", "role", "on", "for"], _right_rows()), PEOPLE_NOTES]),
    }
    return "\n\n".join([INTRODUCTION, *(f"## {title}\n\n{text}" for title, text in sections.items())])


def variables() -> list[list[str]]:
    """Name, default and meaning of each variable, in the module's order."""
    return [[f"`{name}`", _default(body), _described(body)] for name, body in _blocks("variable")]


def outputs() -> list[list[str]]:
    """Name and meaning of each output."""
    return [[f"`{name}`", _described(body)] for name, body in _blocks("output")]


def flavors() -> dict[str, Any]:
    """Every flavor by name, the default first."""
    names = sorted((path.stem for path in FLAVORS.glob("*.json") if path.stem != "flavor.schema"), key=_default_first)
    return {name: json.loads((FLAVORS / f"{name}.json").read_text()) for name in names}


def _default_first(name: str) -> tuple[bool, str]:
    return name != "default", name


def _blocks(kind: str) -> Iterator[tuple[str, str]]:
    for path in sorted(MODULE.glob(f"{kind}s*.tf")):
        yield from re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', path.read_text(), re.MULTILINE | re.DOTALL)


def _described(body: str) -> str:
    found = re.search(r'^  description = "(.*)"$', body, re.MULTILINE)
    assert found is not None
    return found.group(1)


def _default(body: str) -> str:
    found = re.search(r"^  default +=  *(.*)$", body, re.MULTILINE)
    return f"`{found.group(1)}`" if found else "required"


def _right_rows() -> Iterator[list[str]]:
    """Rights that several have alike share a row."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for right in RIGHTS:
        alike.setdefault((right.role, right.on, right.why), []).append(right.who)
    for (role, on, why), who in alike.items():
        yield [", ".join(who), f"`{role}`", on, why]


def _flavor_tables() -> Iterator[str]:
    found = flavors()
    yield _table(["flavor", "for"], [[f"`{name}`", flavor["description"]] for name, flavor in found.items()])
    sizes = [dict(_sizes(flavor)) for flavor in found.values()]
    parts = sorted({part for size in sizes for part in size}, key=_PARTS.index)
    rows = [[part, *(size.get(part, "none") for size in sizes)] for part in parts]
    yield _table(["", *(f"`{name}`" for name in found)], rows)


def _sizes(flavor: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, size in flavor["functions"].items():
        instances = f"{size['min_instances']} to {size['max_instances']} instances of {size['concurrency']} requests"
        yield name, f"{_machine(size)}, {instances}, {size['timeout_s']} s"
    for name, size in flavor["jobs"].items():
        gpu = f", {size['accelerator']}" if "accelerator" in size else ""
        at_once = f"at most {size['parallelism']} at once"
        yield f"task, {name}", f"{_machine(size)}{gpu}, {at_once}, {size['max_retries']} retries"
    tasks = flavor["tasks"]
    more = f"up to {tasks['max_tasks']} where fewer would each take too long"
    yield "tasks", f"{tasks['rows_per_task']:,} cells each, {more}, {tasks['timeout_s']:,} s"


def _machine(size: dict[str, Any]) -> str:
    return f"{size['cpu']} vCPU, {size['memory_mib']:,} MiB"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, *rows]]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
