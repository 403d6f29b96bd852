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
`deploy/terraform` makes everything of one deployment in one project; what it is named begins with `prefix`, so that a
project may hold several. It takes Terraform 1.9 or newer and the google provider 6.50 or a later 6.

```sh
cd deploy/terraform
terraform init -backend-config="bucket=STATE_BUCKET" -backend-config="prefix=celldrop/PREFIX"
terraform apply -var project=PROJECT -var region=REGION -var image_tag=TAG
```

The state bucket is there before. So is the service that Terraform itself asks first,
`cloudresourcemanager.googleapis.com`; the others it enables. The images are there before the functions: where the
module makes their repository, make that first (`-target=google_artifact_registry_repository.images`), and push
`celldrop-functions:TAG`, `celldrop-inference:TAG` and, for a flavor with a GPU, `celldrop-inference-cuda:TAG`. Models
are uploaded afterwards, as the output `models_command` says. Agents of Google's that a new project has not had before
(Eventarc's, above all) take minutes to be known: where the first `apply` says so, run it again. `init` writes a lock
file with the provider's checksums: keep it with your own configuration.

Against what was made, `celldrop` works with the settings of `terraform output -raw env_file`.

All of it has been checked against the provider's schema and by `terraform test` with made-up answers
(`tests/deploy`). It has not been applied to a project yet; `make prove-deployment PROJECT=…` does so, for a while
([how](../how-to/prove-a-deployment.md)).

Settings come from variables, which the module sets, and below them from the `.env` file of `config_secret`, which
Secret Manager keeps and Cloud Run mounts at `/etc/celldrop/.env`: whoever wants to change one of the module's own
settings changes the module's variable. A secret of version `latest` is read at each start of an instance or a task."""

FLAVOR_NOTES = """\
A flavor is a file of `deploy/flavors`, checked against `flavor.schema.json`; one of your own stands beside the others
and is chosen by its name. None of these keeps an instance warm: idle, a deployment costs what it stores, and
reconcile's pass every minute.

`ingest` has room for a file that asks for as much memory as the inspection allows any (1,536 MiB): such a file is
then refused, where the platform would end the instance, and deliver the file again. The other sizes are chosen, not
measured. A GPU goes with at least 4 vCPUs and 16 GiB, and its tasks may take an hour at most; GPUs have a quota of
their own in each region, and so have the 800 vCPUs that one execution of `large` may ask for at a time."""

RIGHTS_NOTES = """\
Each part has a service account of its own, or all have the one that `service_account_email` gives, with the sum of
these rights. Rights are granted on the bucket, topic, job, service, secret or account itself. Firestore, Eventarc and
Cloud SQL grant only on the project; there, a condition holds the right to one database or one instance. No part has a
key. A test keeps this table equal to the module."""

PEOPLE_NOTES = """\
`users` may drop files, read results and call `status`; `requesters` may publish requests and pull events. Nobody else
is let in. Cloud Run itself checks who calls a function ([ADR 7](../adr/0007-cloud-run-checks-who-calls.md));
`ingest`, `dispatch` and `reconcile` answer only Google's own services of the same project. The command line's own
`status`, `watch` and `cancel` read the database: whoever uses them needs `roles/datastore.user` as well.

Whoever applies the module needs `roles/owner`, or on the project: `artifactregistry.admin`, `cloudscheduler.admin`,
`datastore.owner`, `eventarc.admin`, `iam.serviceAccountAdmin`, `iam.serviceAccountUser`, `monitoring.editor`,
`pubsub.admin`, `resourcemanager.projectIamAdmin`, `run.admin`, `serviceusage.serviceUsageAdmin` and `storage.admin`;
`secretmanager.admin` with `config_secret`, and `billing.costsManager` on the billing account for a budget."""

WAY_NOTES = """\
- An object that is whole in the inbox is an event of Eventarc, pushed into `ingest`. Eventarc keeps an event for a
  day and delivers it until then; its subscription (`eventarc-REGION-PREFIX-inbox-…`) has no dead-letter topic, so
  that an alert watches it. It waits ten seconds for an answer: a file that takes longer to look at is looked at once
  more meanwhile, and makes no second submission (docs/how-to/operate.md has the line that gives it longer).
- `PREFIX-jobs` is pushed into `dispatch`, `PREFIX-requests` into `ingest`: 20 deliveries, 10 s to 10 min apart, then
  the message goes to `PREFIX-jobs-dead` or `PREFIX-requests-dead`, whose subscriptions keep it for a week. Reconcile
  asks again for a job whose message was lost.
- `PREFIX-events` has one subscription of that name to pull from, with `PREFIX-events-dead` behind it, for the first
  system that listens; what nobody pulls is gone after a week. Others [make their
  own](../how-to/integrate-over-pubsub.md).
- Cloud Scheduler calls `reconcile` every minute.
- Firestore's indexes are those of `deploy/firestore.indexes.json`, written from the code. With `record_days`, it
  removes records by the field `expires_at`; without, that field is empty and nothing is removed."""


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
        "ingest", "roles/storage.objectViewer", "inbox, models, `allowed_buckets`", "looks at files, finds the model"
    ),
    Right("ingest", "roles/pubsub.publisher", "jobs, events", "tells dispatch and the world"),
    Right(
        "dispatch", "roles/run.jobsExecutorWithOverrides", "jobs cpu, gpu", "starts executions, ends superseded ones"
    ),
    Right("dispatch", "roles/run.viewer", "jobs cpu, gpu", "looks whether one is over"),
    Right("dispatch", "roles/iam.serviceAccountUser", "task", "has the executions that it starts act as that account"),
    Right("dispatch", "roles/pubsub.publisher", "jobs, events", "tells of what cannot be started"),
    Right("task", "roles/storage.objectViewer", "inbox, models, `allowed_buckets`", "reads its rows and the weights"),
    Right("task", "roles/storage.objectUser", "work, results", "writes parts and results, removes what lost"),
    Right("task", "roles/pubsub.publisher", "jobs, events", "tells of the outcome, or asks for another start"),
    Right("reconcile", "roles/storage.objectUser", "work, results", "publishes manifests, sweeps (ADR 2)"),
    Right("reconcile", "roles/run.jobsExecutorWithOverrides", "jobs cpu, gpu", "ends executions that nobody waits for"),
    Right("reconcile", "roles/run.viewer", "jobs cpu, gpu", "looks whether an execution still runs"),
    Right("reconcile", "roles/iam.serviceAccountUser", "task", "likewise, where it starts one again"),
    Right("reconcile", "roles/pubsub.publisher", "jobs, events", "pays whatever is owed"),
    Right("status", "roles/storage.objectViewer", "results", "hands results out"),
    Right("status", "roles/run.jobsExecutor", "jobs cpu, gpu", "ends the executions of what is cancelled"),
    Right("status", "roles/run.viewer", "jobs cpu, gpu", "looks whether they were over already"),
    Right("status", "roles/pubsub.publisher", "events", "tells of a cancellation"),
    Right("status", "roles/iam.serviceAccountTokenCreator", "itself", "may sign links to results; nothing does yet"),
    *(Right(part, "roles/datastore.user", "the database", "reads and changes records") for part in WORKERS),
    *(Right(part, "roles/secretmanager.secretAccessor", "`config_secret`", "has it mounted") for part in WORKERS),
    *(Right(part, "roles/cloudsql.client", "`sql_instance`", "has it attached") for part in WORKERS),
    Right("push", "roles/run.invoker", "ingest, dispatch", "Pub/Sub calls as this account"),
    Right("trigger", "roles/run.invoker", "ingest", "Eventarc calls as this account"),
    Right("trigger", "roles/eventarc.eventReceiver", "the project", "takes the inbox's events"),
    Right("schedule", "roles/run.invoker", "reconcile", "Cloud Scheduler calls as this account"),
    Right(STORAGE_AGENT, "roles/pubsub.publisher", "the project", "publishes to a topic that Eventarc names"),
    Right(PUBSUB_AGENT, "roles/iam.serviceAccountTokenCreator", "push, trigger", "makes the tokens of its calls"),
    Right(PUBSUB_AGENT, "roles/pubsub.publisher", "the -dead topics", "moves what is given up"),
    Right(PUBSUB_AGENT, "roles/pubsub.subscriber", "the subscriptions", "takes it from there"),
    Right("`users`", "roles/storage.objectCreator", "inbox", "drop files"),
    Right("`users`", "roles/storage.objectViewer", "results", "read results"),
    Right("`users`", "roles/run.invoker", "status", "look up and cancel"),
    Right("`requesters`", "roles/pubsub.publisher", "requests", "ask"),
    Right("`requesters`", "roles/pubsub.subscriber", "events", "hear"),
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
