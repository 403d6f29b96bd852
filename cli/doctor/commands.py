"""The commands that mend a deployment, with its own names in them, as gcloud takes them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from shared.ports.survey import Caller, JobFacts, LackingIndex, Part, SubscriptionFacts, Untold, project_of_account
from shared.settings import Settings, listed

ATTEMPTS = 20
"""Deliveries before a message is dead: with the pauses between them, two hours."""
ACK_DEADLINE_S = 60
LEFTOVER_DAYS = 7
NOT_IN_JOBS = frozenset({"home", "models_dir", "log_level", "log_format", "run_endpoint"})
"""Settings that may well differ between here and a job."""
_RETRIES = ("--min-retry-delay=10s", "--max-retry-delay=600s")
_NEVER = "--expiration-period=never"
_FOR_GCLOUD_ACCOUNT = "user:$(gcloud config get account)"


@dataclass(frozen=True, slots=True)
class Commands:
    """Every name comes from the settings or from what was found."""

    settings: Settings
    project: str
    caller: Caller | Untold

    # --- Cloud Storage ---

    def create_bucket(self, name: str) -> str:
        """A bucket where the jobs run."""
        where = f"--location={self.settings.region}"
        return _line("gcloud storage buckets create", f"gs://{name}", where, "--uniform-bucket-level-access", *self._in)

    def update_bucket(self, name: str, *flags: str) -> str:
        """A bucket's settings."""
        return _line("gcloud storage buckets update", f"gs://{name}", *flags)

    def describe_bucket(self, name: str) -> str:
        """How a bucket is set up."""
        return _line("gcloud storage buckets describe", f"gs://{name}")

    def release_holds(self, name: str) -> str:
        """Let go of everything in a bucket."""
        return _line("gcloud storage objects update", f"gs://{name}/**", "--no-event-based-hold")

    def sweep_bucket(self, name: str) -> tuple[str, ...]:
        """Delete what is older than some days, and for good."""
        rule = f'{{"rule": [{{"action": {{"type": "Delete"}}, "condition": {{"age": {LEFTOVER_DAYS}}}}}]}}'
        return (
            f"echo {shlex.quote(rule)} > leftovers.json",
            self.update_bucket(name, "--lifecycle-file=leftovers.json"),
        )

    def notify_of_drops(self, bucket: str) -> str:
        """Have ingest told of every new object."""
        filters = ("--event-filters=type=google.cloud.storage.object.v1.finalized", f"--event-filters=bucket={bucket}")
        where = (f"--location={self.settings.region}", f"--destination-run-region={self.settings.region}")
        account = f"--service-account={self.account('trigger')}"
        service = f"--destination-run-service={self.service('ingest')}"
        return _line(
            "gcloud eventarc triggers create", self.service("inbox"), *where, service, *filters, account, *self._in
        )

    def upload_model(self, bucket: str, name: str) -> str:
        """A bundle of this machine's, in all its versions."""
        folder = self.settings.models_dir / name
        return _line("gcloud storage cp --recursive", str(folder), f"gs://{bucket}/")

    # --- Cloud KMS ---

    def key_version(self, verb: str, key: str, version: str) -> str:
        """Have a version of a key be used again."""
        return _line(f"gcloud kms keys versions {verb}", version, f"--key={key}")

    def new_key_version(self, key: str) -> str:
        """A version that encrypts from now on."""
        return _line("gcloud kms keys versions create", f"--key={key}", "--primary")

    def admit_storage(self, key: str) -> str:
        """Let Cloud Storage's service agent use a key."""
        return _line("gcloud storage service-agent", f"--authorize-cmek={key}", *self._in)

    def let_caller_see_key(self, key: str, role: str) -> str:
        """Give the caller a role on a key."""
        return _line("gcloud kms keys add-iam-policy-binding", key, f"--member={self._member}", f"--role={role}")

    # --- Pub/Sub ---

    def create_topic(self, topic: str) -> str:
        """A topic."""
        return _line("gcloud pubsub topics create", *self._named(topic))

    def create_push(self, topic: str, function: str) -> tuple[str, ...]:
        """A subscription that pushes to a function, with all that one needs."""
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
        """Where it pushes and as whom: all of it, as gcloud takes away what is not said again."""
        is_safe = subscription.endpoint.startswith("https://")
        endpoint = subscription.endpoint if is_safe else self.address_of(function)
        account = subscription.token_account
        account = account if self.may_push(account) else self.push_account
        return self.update_subscription(subscription.name, *self._push_flags(endpoint, account))

    def add_dead_letters(self, subscription: str, topic: str) -> tuple[str, ...]:
        """A topic for what is never taken, with a subscription that keeps it, and Pub/Sub's right to forward."""
        dead = f"{_short(topic)}-dead"
        update = self.update_subscription(subscription, *self._dead_letter_flags(dead))
        return (*self._dead_letters(dead), update, *self._forwarder(subscription, dead))

    def update_subscription(self, name: str, *flags: str) -> str:
        """A subscription's settings."""
        return _line("gcloud pubsub subscriptions update", *self._named(name), *flags)

    def wait_between_tries(self, name: str) -> str:
        """A retry policy."""
        return self.update_subscription(name, *_RETRIES)

    def never_expire(self, name: str) -> str:
        """Keep a subscription that nothing came through for a month."""
        return self.update_subscription(name, _NEVER)

    def create_pull(self, topic: str) -> str:
        """A subscription that keeps messages until somebody reads them."""
        command = "gcloud pubsub subscriptions create"
        return _line(command, f"{_short(topic)}-reader", f"--topic={topic}", _NEVER, *self._in)

    # --- Firestore ---

    def create_database(self) -> str:
        """The status store's."""
        where = f"--location={self.settings.region}"
        return _line("gcloud firestore databases create", self._database, where, "--type=firestore-native", *self._in)

    def create_index(self, index: LackingIndex) -> str:
        """A composite index."""
        fields = [f"--field-config=field-path={name},order={way.lower()}" for name, way in index.fields]
        command = "gcloud firestore indexes composite create"
        of = "--collection-group=submissions"
        return _line(command, self._database, of, "--query-scope=collection", *fields, *self._in)

    # --- Cloud Run ---

    def list_jobs(self) -> str:
        """What jobs there are."""
        return _line("gcloud run jobs list", *self._there)

    def create_job(self, name: str, like: JobFacts) -> str:
        """A job without a GPU, of another's image: one made for a GPU computes without as well."""
        given = self.settings.model_dump(mode="json", include=self.settings.model_fields_set - NOT_IN_JOBS)
        values = {f"CELLDROP_{key.upper()}": str(value) for key, value in given.items()}
        account = (f"--service-account={like.account}",) if like.account else ()
        limits = [f"--{kind}={like.limits[kind]}" for kind in ("cpu", "memory") if kind in like.limits]
        time = (f"--task-timeout={self.settings.task_timeout_s}s", "--max-retries=3")
        told = f"--set-env-vars={_variables(values)}"
        create = "gcloud run jobs create"
        return _line(create, name, f"--image={like.image}", *account, *limits, *time, told, *self._there)

    def describe_job(self, name: str) -> str:
        """What is deployed."""
        return _line("gcloud run jobs describe", name, *self._there)

    def update_job(self, name: str, *flags: str) -> str:
        """A job's settings."""
        return _line("gcloud run jobs update", name, *flags, *self._there)

    def give_job_a_gpu(self, name: str) -> str:
        """One GPU a task; of the beta commands, as those of older SDKs cannot."""
        return _line("gcloud beta run jobs update", name, "--gpu=1", "--gpu-type=nvidia-l4", *self._there)

    def set_job_variables(self, name: str, values: Mapping[str, str]) -> str:
        """Variables of a job."""
        return self.update_job(name, f"--update-env-vars={_variables(values)}")

    def describe_function(self, name: str) -> str:
        """What is deployed."""
        return _line("gcloud run services describe", name, *self._there)

    def list_functions(self) -> str:
        """What services there are."""
        return _line("gcloud run services list", *self._there)

    def update_function(self, name: str, *flags: str) -> str:
        """A function's settings."""
        return _line("gcloud run services update", name, *flags, *self._there)

    def set_function_variables(self, name: str, values: Mapping[str, str]) -> str:
        """Variables of a function."""
        return self.update_function(name, f"--update-env-vars={_variables(values)}")

    # --- Rights and services ---

    def let_caller(self, part: Part, name: str, role: str) -> str:
        """Give the caller a role on one thing."""
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
        """Give the caller a role in the project."""
        member = f"--member={self._member}"
        return _line("gcloud projects add-iam-policy-binding", self.project, member, f"--role={role}")

    def enable(self, service: str, project: str = "") -> str:
        """Switch a service on; in this project, if no other is named."""
        return _line("gcloud services enable", service, f"--project={project or self.project}")

    # --- Service accounts ---

    def create_account(self, email: str) -> str:
        """An account, by the address that it is to have."""
        return _line("gcloud iam service-accounts create", email.partition("@")[0], *_home(email))

    def enable_account(self, email: str) -> str:
        """Let a disabled account act again."""
        return _line("gcloud iam service-accounts enable", email, *_home(email))

    # --- Names ---

    @property
    def push_account(self) -> str:
        """The account that pushes: the first that the settings let in."""
        named = [account for account in listed(self.settings.push_accounts) if not account.startswith("@")]
        return named[0] if named else self.account("push")

    def may_push(self, account: str) -> bool:
        """Whether the settings let an account push."""
        allowed = {one.lower() for one in listed(self.settings.push_accounts)}
        return bool({account.lower(), "@" + account.lower().rpartition("@")[2]} & allowed)

    def service(self, part: str) -> str:
        """The name of a part."""
        return part_name(self.settings, part)

    def address_of(self, function: str) -> str:
        """Where a function answers, asked when the command is run: nothing in the settings says so."""
        there = shlex.join(["gcloud", "run", "services", "describe", self.service(function), *self._there])
        return f"$({there} --format='value(status.url)')"

    def account(self, part: str) -> str:
        """The account that a part is to run as."""
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
        """Pub/Sub's own account takes from the one and puts into the other."""
        number = f"$({shlex.join(['gcloud', 'projects', 'describe', self.project])} --format='value(projectNumber)')"
        member = f"--member=serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
        take = ("gcloud pubsub subscriptions add-iam-policy-binding", *self._named(subscription), member)
        put = ("gcloud pubsub topics add-iam-policy-binding", dead, *self._in, member)
        return (_line(*take, "--role=roles/pubsub.subscriber"), _line(*put, "--role=roles/pubsub.publisher"))


def _home(email: str) -> tuple[str, ...]:
    """The project of an account, where its address tells."""
    project = project_of_account(email)
    return (f"--project={project}",) if project else ()


def part_name(settings: Settings, part: str) -> str:
    """What a part is called: all of them begin as the jobs' names do."""
    prefix, hyphen, _ = settings.cpu_job.rpartition("-")
    return f"{prefix if hyphen else 'celldrop'}-{part}"


def setting(name: str, value: str) -> str:
    """Set one of ours for this shell."""
    return f"export {name}={shlex.quote(value)}"


def _variables(values: Mapping[str, str]) -> str:
    """With another mark between them than the comma, which some values have in them."""
    return "^|^" + "|".join(f"{key}={value}" for key, value in values.items())


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _line(command: str, *words: str) -> str:
    return " ".join([command, *(_quoted(word) for word in words)])


def _quoted(word: str) -> str:
    """Where a command stands in the word, the shell is to see it, and nothing else of the word."""
    if "$(" not in word:
        return shlex.quote(word)
    return f'"{word}"'
