"""The gcloud commands that fix a deployment, with its own resource names filled in."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from shared.ports.survey import Caller, JobFacts, LackingIndex, Part, SubscriptionFacts, Untold, project_of_account
from shared.settings import Settings, listed

ATTEMPTS = 20
"""Deliveries before a message goes to the dead-letter topic: two hours, with the pauses between them."""
ACK_DEADLINE_S = 60
LEFTOVER_DAYS = 7
NOT_IN_JOBS = frozenset(
    {
        "home",
        "models_dir",
        "added_models_dir",
        "catalogues",
        "max_model_bytes",
        "log_level",
        "log_format",
        "run_endpoint",
    }
)
"""Settings that may differ between this environment and a job."""
_RETRIES = ("--min-retry-delay=10s", "--max-retry-delay=600s")
_NEVER = "--expiration-period=never"
_FOR_GCLOUD_ACCOUNT = "user:$(gcloud config get account)"


@dataclass(frozen=True, slots=True)
class Commands:
    """Builds commands. Every name in them comes from the settings or from the deployment itself."""

    settings: Settings
    project: str
    caller: Caller | Untold

    # --- Cloud Storage ---

    def create_bucket(self, name: str) -> str:
        """Create a bucket in the region where the jobs run."""
        where = f"--location={self.settings.region}"
        return _line("gcloud storage buckets create", f"gs://{name}", where, "--uniform-bucket-level-access", *self._in)

    def update_bucket(self, name: str, *flags: str) -> str:
        """Change a bucket's settings."""
        return _line("gcloud storage buckets update", f"gs://{name}", *flags)

    def describe_bucket(self, name: str) -> str:
        """Show a bucket's settings."""
        return _line("gcloud storage buckets describe", f"gs://{name}")

    def release_holds(self, name: str) -> str:
        """Release the holds on all objects in a bucket."""
        return _line("gcloud storage objects update", f"gs://{name}/**", "--no-event-based-hold")

    def sweep_bucket(self, name: str) -> tuple[str, ...]:
        """Set a lifecycle rule that deletes objects older than LEFTOVER_DAYS."""
        rule = f'{{"rule": [{{"action": {{"type": "Delete"}}, "condition": {{"age": {LEFTOVER_DAYS}}}}}]}}'
        return (
            f"echo {shlex.quote(rule)} > leftovers.json",
            self.update_bucket(name, "--lifecycle-file=leftovers.json"),
        )

    def notify_of_drops(self, bucket: str) -> str:
        """Create the trigger that sends ingest an event for every new object."""
        filters = ("--event-filters=type=google.cloud.storage.object.v1.finalized", f"--event-filters=bucket={bucket}")
        where = (f"--location={self.settings.region}", f"--destination-run-region={self.settings.region}")
        account = f"--service-account={self.account('trigger')}"
        service = f"--destination-run-service={self.service('ingest')}"
        return _line(
            "gcloud eventarc triggers create", self.service("inbox"), *where, service, *filters, account, *self._in
        )

    def upload_model(self, bucket: str, name: str) -> str:
        """Upload all versions of a bundle from this machine."""
        folder = self.settings.models_dir / name
        return _line("gcloud storage cp --recursive", str(folder), f"gs://{bucket}/")

    # --- Cloud KMS ---

    def key_version(self, verb: str, key: str, version: str) -> str:
        """Enable or restore a version of a key."""
        return _line(f"gcloud kms keys versions {verb}", version, f"--key={key}")

    def new_key_version(self, key: str) -> str:
        """Create a new primary version of a key."""
        return _line("gcloud kms keys versions create", f"--key={key}", "--primary")

    def admit_storage(self, key: str) -> str:
        """Allow Cloud Storage's service agent to use a key."""
        return _line("gcloud storage service-agent", f"--authorize-cmek={key}", *self._in)

    def let_caller_see_key(self, key: str, role: str) -> str:
        """Grant the caller a role on a key."""
        return _line("gcloud kms keys add-iam-policy-binding", key, f"--member={self._member}", f"--role={role}")

    # --- Pub/Sub ---

    def create_topic(self, topic: str) -> str:
        """Create a topic."""
        return _line("gcloud pubsub topics create", *self._named(topic))

    def create_push(self, topic: str, function: str) -> tuple[str, ...]:
        """Create a push subscription to a function, with its dead-letter topic and the grants that it needs."""
        name = f"{_short(topic)}-push"
        dead = f"{_short(topic)}-dead"
        flags = (
            *self._push_flags(self.address_of(function)),
            f"--ack-deadline={ACK_DEADLINE_S}",
            *_RETRIES,
            _NEVER,
            *self._dead_letter_flags(dead),
        )
        command = "gcloud pubsub subscriptions create"
        create = _line(command, name, f"--topic={topic}", *flags, *self._in)
        return (*self._dead_letters(dead), create, *self._forwarder(name, dead))

    def update_push(self, subscription: SubscriptionFacts, function: str) -> str:
        """Set a subscription's endpoint and identity. All flags are given, as gcloud resets those left out."""
        is_safe = subscription.endpoint.startswith("https://")
        endpoint = subscription.endpoint if is_safe else self.address_of(function)
        account = subscription.token_account
        account = account if self.may_push(account) else self.push_account
        return self.update_subscription(subscription.name, *self._push_flags(endpoint, account))

    def add_dead_letters(self, subscription: str, topic: str) -> tuple[str, ...]:
        """Add a dead-letter topic, a subscription that keeps its messages, and Pub/Sub's right to forward them."""
        dead = f"{_short(topic)}-dead"
        update = self.update_subscription(subscription, *self._dead_letter_flags(dead))
        return (*self._dead_letters(dead), update, *self._forwarder(subscription, dead))

    def update_subscription(self, name: str, *flags: str) -> str:
        """Change a subscription's settings."""
        return _line("gcloud pubsub subscriptions update", *self._named(name), *flags)

    def wait_between_tries(self, name: str) -> str:
        """Set a retry policy with pauses between attempts."""
        return self.update_subscription(name, *_RETRIES)

    def never_expire(self, name: str) -> str:
        """Keep a subscription that is not used for a month; Pub/Sub deletes it otherwise."""
        return self.update_subscription(name, _NEVER)

    def create_pull(self, topic: str) -> str:
        """Create a pull subscription, which keeps messages until they are read."""
        command = "gcloud pubsub subscriptions create"
        return _line(command, f"{_short(topic)}-reader", f"--topic={topic}", _NEVER, *self._in)

    # --- Firestore ---

    def create_database(self, name: str | None = None) -> str:
        """Create the database of the status store, under the name of the settings or another one."""
        database = f"--database={name}" if name else self._database
        where = f"--location={self.settings.region}"
        return _line("gcloud firestore databases create", database, where, "--type=firestore-native", *self._in)

    def create_index(self, index: LackingIndex) -> str:
        """Create a composite index."""
        fields = [f"--field-config=field-path={name},order={way.lower()}" for name, way in index.fields]
        command = "gcloud firestore indexes composite create"
        of = "--collection-group=submissions"
        return _line(command, self._database, of, "--query-scope=collection", *fields, *self._in)

    # --- Cloud Run ---

    def list_jobs(self) -> str:
        """List the jobs."""
        return _line("gcloud run jobs list", *self._there)

    def create_job(self, name: str, like: JobFacts) -> str:
        """Create a job without a GPU from another job's image; an image built for a GPU also runs without one."""
        given = self.settings.model_dump(mode="json", include=self.settings.model_fields_set - NOT_IN_JOBS)
        values = {f"CELLDROP_{key.upper()}": str(value) for key, value in given.items()}
        account = (f"--service-account={like.account}",) if like.account else ()
        limits = [f"--{kind}={like.limits[kind]}" for kind in ("cpu", "memory") if kind in like.limits]
        time = (f"--task-timeout={self.settings.task_timeout_s}s", "--max-retries=3")
        variables = f"--set-env-vars={_variables(values)}"
        create = "gcloud run jobs create"
        return _line(create, name, f"--image={like.image}", *account, *limits, *time, variables, *self._there)

    def describe_job(self, name: str) -> str:
        """Show a deployed job."""
        return _line("gcloud run jobs describe", name, *self._there)

    def update_job(self, name: str, *flags: str) -> str:
        """Change a job's settings."""
        return _line("gcloud run jobs update", name, *flags, *self._there)

    def give_job_a_gpu(self, name: str) -> str:
        """Give each task one GPU. A beta command, since the stable ones of older SDKs cannot do this."""
        return _line("gcloud beta run jobs update", name, "--gpu=1", "--gpu-type=nvidia-l4", *self._there)

    def set_job_variables(self, name: str, values: Mapping[str, str]) -> str:
        """Set environment variables of a job."""
        return self.update_job(name, f"--update-env-vars={_variables(values)}")

    def describe_function(self, name: str) -> str:
        """Show a deployed function."""
        return _line("gcloud run services describe", name, *self._there)

    def list_functions(self) -> str:
        """List the services."""
        return _line("gcloud run services list", *self._there)

    def update_function(self, name: str, *flags: str) -> str:
        """Change a function's settings."""
        return _line("gcloud run services update", name, *flags, *self._there)

    def set_function_variables(self, name: str, values: Mapping[str, str]) -> str:
        """Set environment variables of a function."""
        return self.update_function(name, f"--update-env-vars={_variables(values)}")

    # --- Rights and services ---

    def let_caller(self, part: Part, name: str, role: str) -> str:
        """Grant the caller a role on one resource."""
        place: tuple[str, ...]
        match part:
            case Part.BUCKET:
                command, place = "storage buckets", (f"gs://{name}",)
            case Part.TOPIC:
                command, place = "pubsub topics", self._named(name)
            case Part.SUBSCRIPTION:
                command, place = "pubsub subscriptions", self._named(name)
            case Part.JOB:
                command, place = "run jobs", (name, *self._there)
            case Part.ACCOUNT:
                command, place = "iam service-accounts", (name, *_home(name))
            case _:
                assert_never(part)
        flags = (f"--member={self._member}", f"--role={role}")
        return _line(f"gcloud {command} add-iam-policy-binding", *place, *flags)

    def let_caller_in_project(self, role: str) -> str:
        """Grant the caller a role in the project."""
        member = f"--member={self._member}"
        return _line("gcloud projects add-iam-policy-binding", self.project, member, f"--role={role}")

    def enable(self, service: str, project: str = "") -> str:
        """Enable a Google API, in this project unless another is named."""
        return _line("gcloud services enable", service, f"--project={project or self.project}")

    # --- Service accounts ---

    def create_account(self, email: str) -> str:
        """Create a service account with this email address."""
        return _line("gcloud iam service-accounts create", email.partition("@")[0], *_home(email))

    def enable_account(self, email: str) -> str:
        """Enable a disabled service account."""
        return _line("gcloud iam service-accounts enable", email, *_home(email))

    # --- Names ---

    @property
    def push_account(self) -> str:
        """The account that pushes: the first one that the settings accept."""
        named = [account for account in listed(self.settings.push_accounts) if not account.startswith("@")]
        return named[0] if named else self.account("push")

    def may_push(self, account: str) -> bool:
        """Whether the settings accept pushes from an account."""
        allowed = {one.lower() for one in listed(self.settings.push_accounts)}
        return bool({account.lower(), "@" + account.lower().rpartition("@")[2]} & allowed)

    def service(self, part: str) -> str:
        """The Cloud Run service name of one part of the pipeline."""
        return part_name(self.settings, part)

    def address_of(self, function: str) -> str:
        """A shell expression for a function's URL, looked up when the command runs: no setting contains it."""
        there = shlex.join(["gcloud", "run", "services", "describe", self.service(function), *self._there])
        return f"$({there} --format='value(status.url)')"

    def account(self, part: str) -> str:
        """The service account that a part of the pipeline should run as."""
        return f"{self.service(part)}@{self.project}.iam.gserviceaccount.com"

    @property
    def _member(self) -> str:
        if isinstance(self.caller, Untold) or not self.caller.email:
            return _FOR_GCLOUD_ACCOUNT
        return f"{'user' if self.caller.is_user else 'serviceAccount'}:{self.caller.email}"

    @property
    def _in(self) -> tuple[str, ...]:
        return (f"--project={self.project}",)

    @property
    def _there(self) -> tuple[str, ...]:
        return (f"--region={self.settings.region}", *self._in)

    @property
    def _database(self) -> str:
        return f"--database={self.settings.firestore_database}"

    def _named(self, name: str) -> tuple[str, ...]:
        return (name,) if "/" in name else (name, *self._in)

    def _push_flags(self, endpoint: str, account: str = "") -> tuple[str, ...]:
        audience = self.settings.push_audience or endpoint
        return (
            f"--push-endpoint={endpoint}",
            f"--push-auth-service-account={account or self.push_account}",
            f"--push-auth-token-audience={audience}",
        )

    def _dead_letter_flags(self, dead: str) -> tuple[str, ...]:
        topic = f"projects/{self.project}/topics/{dead}"
        return (f"--dead-letter-topic={topic}", f"--max-delivery-attempts={ATTEMPTS}")

    def _dead_letters(self, dead: str) -> tuple[str, ...]:
        return (self.create_topic(dead), self.create_pull(dead))

    def _forwarder(self, subscription: str, dead: str) -> tuple[str, ...]:
        """Allow Pub/Sub's service agent to move messages from the subscription to the dead-letter topic."""
        number = f"$({shlex.join(['gcloud', 'projects', 'describe', self.project])} --format='value(projectNumber)')"
        member = f"--member=serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
        take = ("gcloud pubsub subscriptions add-iam-policy-binding", *self._named(subscription), member)
        put = ("gcloud pubsub topics add-iam-policy-binding", dead, *self._in, member)
        return (_line(*take, "--role=roles/pubsub.subscriber"), _line(*put, "--role=roles/pubsub.publisher"))


def _home(email: str) -> tuple[str, ...]:
    """The project flag for an account, if its email address contains the project."""
    project = project_of_account(email)
    return (f"--project={project}",) if project else ()


def part_name(settings: Settings, part: str) -> str:
    """The name of one part of the pipeline. All parts share the prefix of the jobs' names."""
    prefix, hyphen, _ = settings.cpu_job.rpartition("-")
    return f"{prefix if hyphen else 'celldrop'}-{part}"


def setting(name: str, value: str) -> str:
    """Set one of celldrop's settings in this shell."""
    return f"export {name}={shlex.quote(value)}"


def _variables(values: Mapping[str, str]) -> str:
    """Join variables with ``|`` instead of a comma, which some values contain."""
    return "^|^" + "|".join(f"{key}={value}" for key, value in values.items())


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _line(command: str, *words: str) -> str:
    return " ".join([command, *(_quoted(word) for word in words)])


def _quoted(word: str) -> str:
    """Quote a word for the shell, but leave a ``$(…)`` in it for the shell to run."""
    if "$(" not in word:
        return shlex.quote(word)
    return f'"{word}"'
