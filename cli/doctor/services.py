"""Checks of what keeps the state and of what computes: the Firestore database and the Cloud Run jobs."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import NOT_IN_JOBS, Commands, setting
from cli.doctor.gathering import Deployed
from cli.doctor.silence import Remedy, is_missing, silent
from shared.ports.survey import DatabaseFacts, JobFacts, LackingIndex, Part, Silence, Untold
from shared.settings import Settings

FIRESTORE_API = "firestore.googleapis.com"
RUN_API = "run.googleapis.com"
SEE_DATABASE = "roles/datastore.viewer"
SEE_JOB = "roles/run.viewer"

MAX_GPU_TIMEOUT_S = 3600
"""Cloud Run lends a GPU to a task for an hour at most."""
PLACEHOLDER = "us-docker.pkg.dev/cloudrun/container/"
"""Google's samples, which many deploy first, to have something there."""


def check_database(commands: Commands, found: Deployed) -> Iterator[Check]:
    """The database itself, and every kind of search in it."""
    settings = commands.settings
    name = CloudCheck.DATABASE.of(settings.firestore_database)
    facts = found.database
    # Whoever may not see the database may still be told, by its searches, that there is none.
    told = found.lacking if is_missing(found.lacking) and isinstance(facts, Untold) else facts
    remedy = _database_remedy(commands, commands.create_database())
    if isinstance(told, DatabaseFacts) and not told.is_native:
        mend = "Create another one, in Native mode, and name it in CELLDROP_FIRESTORE_DATABASE."
        yield Check(name, Health.WRONG, "not in Native mode", mend, (commands.create_database(),))
    elif isinstance(told, DatabaseFacts):
        yield Check(name, Health.OK, f"Native mode, in {told.location}")
        yield from _check_indexes(commands, found)
    elif isinstance(told, Untold) and told.why in {Silence.DENIED, Silence.NOT_OFFERED}:
        yield silent(name, told, remedy)
        yield from _check_indexes(commands, found)
    elif isinstance(told, Untold):
        yield silent(name, told, remedy)


def _check_indexes(commands: Commands, found: Deployed) -> Iterator[Check]:
    lacking = found.lacking
    if isinstance(lacking, Untold):
        yield silent(CloudCheck.INDEX.of(""), lacking, _database_remedy(commands))
        return
    for index in lacking:
        mend = "Create the index; building it takes some minutes, in which nothing changes here."
        name = CloudCheck.INDEX.of(_columns(index))
        yield Check(name, Health.WRONG, index.words, mend, (commands.create_index(index),))
    if not lacking:
        yield Check(CloudCheck.INDEX.of(""), Health.OK, "every kind of search is answered")


def _columns(index: LackingIndex) -> str:
    return ", ".join(f"{name} {way.lower()}" for name, way in index.fields)


def _database_remedy(commands: Commands, *create: str) -> Remedy:
    return Remedy(
        create=create,
        correct="Create it, or correct CELLDROP_FIRESTORE_DATABASE.",
        see=commands.let_caller_in_project(SEE_DATABASE),
        enable=commands.enable(FIRESTORE_API),
    )


def check_jobs(commands: Commands, found: Deployed) -> Iterator[Check]:
    """The job on CPUs, and the one on a GPU where it is set."""
    settings = commands.settings
    for job, facts in found.jobs.items():
        name = CloudCheck.JOB.of(job)
        on_gpu = job == settings.gpu_job
        if isinstance(facts, JobFacts):
            yield summed(name, _described(facts), _job_faults(commands, job, facts, on_gpu=on_gpu))
        elif on_gpu and facts.why is Silence.MISSING:
            yield _no_gpu_job(name, found)
        else:
            yield silent(name, facts, _job_remedy(commands, job, found))
    if settings.cpu_job not in found.jobs:
        words = "CELLDROP_CPU_JOB is empty: nothing can be computed"
        yield Check(CloudCheck.JOB.of("cpu"), Health.WRONG, words, "Deploy the job and name it.")


def _no_gpu_job(name: str, found: Deployed) -> Check:
    needed = not isinstance(found.model, Untold) and found.model.needs_gpu
    words = "not there: " + ("the default model needs a GPU" if needed else "no model that needs a GPU can be used")
    mend = "Deploy it" + ("." if needed else ", or set CELLDROP_GPU_JOB to nothing where none is wanted.")
    none = setting("CELLDROP_GPU_JOB", "")
    return Check(name, Health.WRONG if needed else Health.WARNING, words, mend, () if needed else (none,))


def _described(facts: JobFacts) -> str:
    limits = ", ".join(f"{key} {value}" for key, value in sorted(facts.limits.items()))
    parts = [facts.image, limits, facts.accelerator, f"{facts.timeout_s} s a try", f"{facts.max_retries} retries"]
    account = f"as {facts.account}" if facts.account else ""
    return ", ".join(part for part in (*parts, account) if part)


def _job_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    settings = commands.settings
    look = (commands.describe_job(job),)
    if facts.trouble:
        yield Fault(Health.WRONG, f"not ready: {facts.trouble}", "Look at what is deployed.", look)
    if facts.image.startswith(PLACEHOLDER):
        yield Fault(Health.WRONG, "the image is Google's sample", "Deploy celldrop's own.", look)
    yield from _time_faults(commands, job, facts, on_gpu=on_gpu)
    if not facts.max_retries:
        mend = "Let Cloud Run try a task again: an instance may be taken away at any time."
        more = commands.update_job(job, "--max-retries=3")
        yield Fault(Health.WARNING, "a task is tried only once", mend, (more,))
    if on_gpu and not facts.accelerator:
        gpu = commands.give_job_a_gpu(job)
        yield Fault(Health.WRONG, "no GPU", "Give its tasks one.", (gpu,))
    others = _other_values(settings, facts)
    if others:
        words = f"it is told otherwise than we are: {', '.join(others)}"
        mend = "Have the job and this environment say the same."
        yield Fault(Health.WRONG, words, mend, (commands.set_job_variables(job, others),))


def _time_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    wanted_s = commands.settings.task_timeout_s
    if on_gpu and wanted_s > MAX_GPU_TIMEOUT_S:
        words = f"CELLDROP_TASK_TIMEOUT_S is {wanted_s}, and a GPU is lent for {MAX_GPU_TIMEOUT_S} s at most"
        yield Fault(Health.WRONG, words, "Set less, and more tasks (CELLDROP_ROWS_PER_TASK).")
    elif facts.timeout_s < wanted_s:
        # A start by celldrop names its own limit; one by hand does not.
        words = f"CELLDROP_TASK_TIMEOUT_S is {wanted_s}: started by hand, a task is cut off before"
        longer = commands.update_job(job, f"--task-timeout={wanted_s}s")
        yield Fault(Health.WARNING, words, "Give the job as long.", (longer,))


def _other_values(settings: Settings, facts: JobFacts) -> dict[str, str]:
    """What the job's own variables say otherwise, as it would have to be."""
    ours = settings.model_dump(mode="json")
    return {
        variable: str(value)
        for name, value in ours.items()
        if name not in NOT_IN_JOBS and value is not None
        for variable in (f"CELLDROP_{name.upper()}",)
        if facts.variables.get(variable, str(value)) != str(value)
    }


def _job_remedy(commands: Commands, job: str, found: Deployed) -> Remedy:
    like = next((facts for facts in found.jobs.values() if isinstance(facts, JobFacts)), None)
    # Without another to be like, nothing here says what image it is to be made of: show what there is.
    create = commands.list_jobs() if like is None else commands.create_job(job, like)
    return Remedy(
        create=(create,),
        correct="Deploy it, or correct CELLDROP_CPU_JOB, CELLDROP_GPU_JOB or CELLDROP_REGION.",
        see=commands.let_caller(Part.JOB, job, SEE_JOB),
        enable=commands.enable(RUN_API),
    )
