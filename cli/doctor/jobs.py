"""Checks of the Cloud Run jobs and their templates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import Commands, setting
from cli.doctor.deployed_as import image_faults, variable_faults
from cli.doctor.gathering import Deployed
from cli.doctor.job_templates import template_faults
from cli.doctor.silence import Remedy, silent
from shared.ports.survey import JobFacts, Part, Silence, Untold

API = "run.googleapis.com"
SEE = "roles/run.viewer"


def check_jobs(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check the CPU job, and the GPU job if one is set."""
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
        yield Check(
            CloudCheck.JOB.of("cpu"), Health.WRONG, words, "Deploy the job, and set CELLDROP_CPU_JOB to its name."
        )


def _no_gpu_job(name: str, found: Deployed) -> Check:
    needed = not isinstance(found.model, Untold) and found.model.needs_gpu
    words = "missing: " + ("the default model needs a GPU" if needed else "models that need a GPU cannot be used")
    mend = "Deploy it" + ("." if needed else ", or set CELLDROP_GPU_JOB to empty if no GPU is wanted.")
    none = setting("CELLDROP_GPU_JOB", "")
    return Check(name, Health.WRONG if needed else Health.WARNING, words, mend, () if needed else (none,))


def _described(facts: JobFacts) -> str:
    limits = ", ".join(f"{key} {value}" for key, value in sorted(facts.limits.items()))
    parts = [facts.image, limits, facts.accelerator, f"{facts.timeout_s} s a try", f"{facts.max_retries} retries"]
    account = f"as {facts.account}" if facts.account else ""
    return ", ".join(part for part in (*parts, account) if part)


def _job_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    yield from image_faults(facts, commands.describe_job(job))
    yield from template_faults(commands, job, facts, on_gpu=on_gpu)
    yield from variable_faults(commands.settings, facts, "job", partial(commands.set_job_variables, job))


def _job_remedy(commands: Commands, job: str, found: Deployed) -> Remedy:
    like = next((facts for facts in found.jobs.values() if isinstance(facts, JobFacts)), None)
    # Without another job as a template, the image is not known, so only list the existing jobs.
    create = commands.list_jobs() if like is None else commands.create_job(job, like)
    return Remedy(
        create=(create,),
        correct="Deploy it, or correct CELLDROP_CPU_JOB, CELLDROP_GPU_JOB or CELLDROP_REGION.",
        see=commands.let_caller(Part.JOB, job, SEE),
        enable=commands.enable(API),
    )
