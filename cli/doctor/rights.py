"""Checks which of the permissions that the pipeline's parts need are held by the caller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.doctor.check import Check, CloudCheck, Health
from cli.doctor.commands import Commands
from cli.doctor.gathering import TO_ACT_AS, TO_READ_FROM, Deployed, bucket_names, job_names, topic_names
from cli.doctor.silence import is_out
from shared.ports.survey import Part, Untold
from shared.settings import Settings, listed

_READ = "storage.objects.get"
_LIST = "storage.objects.list"
_CREATE = "storage.objects.create"
_DELETE = "storage.objects.delete"
_ALL = (_READ, _LIST, _CREATE, _DELETE)

ROLES = {
    _READ: "roles/storage.objectViewer",
    _LIST: "roles/storage.objectViewer",
    _CREATE: "roles/storage.objectUser",
    _DELETE: "roles/storage.objectUser",
    "pubsub.topics.publish": "roles/pubsub.publisher",
    "pubsub.subscriptions.consume": "roles/pubsub.subscriber",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "run.jobs.run": "roles/run.jobsExecutorWithOverrides",
    "run.jobs.runWithOverrides": "roles/run.jobsExecutorWithOverrides",
}
"""The narrowest role that has each permission."""
_FOLLOWING = {Part.SUBSCRIPTION: TO_READ_FROM, Part.ACCOUNT: TO_ACT_AS}
"""The permissions on resources that the settings do not name."""

YOURS = (
    "These are your own permissions, as you run doctor. Each part of the pipeline has its own account and permissions."
)


def wanted_rights(settings: Settings) -> dict[tuple[Part, str], tuple[str, ...]]:
    """The permissions that the pipeline's parts need, by resource."""
    by_bucket = {
        **dict.fromkeys(listed(settings.allowed_buckets), (_READ,)),
        settings.inbox_bucket: (_READ, _CREATE),
        settings.models_bucket: (_READ, _LIST),
        settings.work_bucket: _ALL,
        settings.results_bucket: _ALL,
    }
    buckets = {(Part.BUCKET, name): by_bucket[name] for name in bucket_names(settings)}
    topics = {(Part.TOPIC, name): ("pubsub.topics.publish",) for name in topic_names(settings)}
    jobs = {(Part.JOB, name): ("run.jobs.run", "run.jobs.runWithOverrides") for name in job_names(settings)}
    return {**buckets, **topics, **jobs}


def check_rights(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check the caller's permissions per resource. Resources that gave no answer are listed in one line."""
    wanted = wanted_rights(commands.settings)
    silent: list[str] = []
    for (part, name), held in found.rights.items():
        permissions = wanted.get((part, name), _FOLLOWING.get(part, ()))
        if not isinstance(held, Untold):
            yield _check(commands, part, name, [one for one in permissions if one not in held])
        elif not _is_absent(found, part, name):
            silent.append(f"{part} {_short(name)}")
    if silent:
        words = f"unknown: {', '.join(silent)}"
        yield Check(CloudCheck.RIGHTS.of(""), Health.WARNING, words, YOURS)


def _check(commands: Commands, part: Part, name: str, lacking: list[str]) -> Check:
    title = CloudCheck.RIGHTS.of(f"{part} {_short(name)}")
    if not lacking:
        return Check(title, Health.OK, "you have every permission that a part needs")
    roles = dict.fromkeys(ROLES[permission] for permission in lacking)
    run = tuple(commands.let_caller(part, name, role) for role in roles)
    return Check(title, Health.WARNING, f"you lack {', '.join(lacking)}", f"{YOURS} To get them:", run)


def _is_absent(found: Deployed, part: Part, name: str) -> bool:
    """Whether the resource itself is missing or did not answer, which another check reports."""
    places: dict[Part, Mapping[str, object]] = {
        Part.BUCKET: found.holdings,
        Part.TOPIC: found.topics,
        Part.JOB: found.jobs,
        Part.ACCOUNT: found.accounts,
    }
    return part in places and is_out(places[part].get(name))


def _short(name: str) -> str:
    return name.rpartition("/")[2]
