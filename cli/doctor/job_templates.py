"""Checks of a job's template: timeout, retries, parallelism, machine and account of its tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cli.doctor.check import Fault, Health
from cli.doctor.commands import Commands
from cli.doctor.deployed_as import account_faults
from shared.ports.survey import JobFacts

MAX_GPU_TIMEOUT_S = 3600
"""Cloud Run limits a task with a GPU to one hour: https://cloud.google.com/run/docs/configuring/task-timeout."""
GPU_LIMIT = "nvidia.com/gpu"
GPU_VCPUS = 4
GPU_MEMORY_MIB = 16 * 1024
"""The least CPU and memory with a GPU: https://cloud.google.com/run/docs/configuring/jobs/gpu."""

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|Mi|Gi|M|G|)")
_MIB = {"Mi": 1.0, "Gi": 1024.0, "M": 1e6 / 2**20, "G": 1e9 / 2**20, "": 1 / 2**20}


def template_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    """The faults of a job's template, and its differences from what the planner assumes."""
    yield from _time_faults(commands, job, facts, on_gpu=on_gpu)
    yield from _parallel_faults(commands, job, facts, on_gpu=on_gpu)
    if not facts.max_retries:
        mend = "Allow retries: an instance can be taken away at any time."
        more = commands.update_job(job, "--max-retries=3")
        yield Fault(Health.WARNING, "a failed task is not retried", mend, (more,))
    own = commands.update_job(job, f"--service-account={commands.account('task')}")
    yield from account_faults(facts, "Give its tasks their own account.", own)
    if on_gpu:
        yield from _gpu_faults(commands, job, facts)
    elif facts.accelerator:
        words = f"it has a GPU ({facts.accelerator}), which is billed but not used"
        yield Fault(Health.WARNING, words, "Deploy it without a GPU.", (commands.describe_job(job),))
    yield from _machine_faults(commands, job, facts, on_gpu=on_gpu)


def _time_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    wanted_s = commands.settings.task_timeout_s
    if on_gpu and wanted_s > MAX_GPU_TIMEOUT_S:
        words = f"CELLDROP_TASK_TIMEOUT_S is {wanted_s}, but a task with a GPU may take {MAX_GPU_TIMEOUT_S} s at most"
        yield Fault(Health.WRONG, words, "Set a lower timeout, and use more tasks (CELLDROP_ROWS_PER_TASK).")
    elif facts.timeout_s < wanted_s:
        # celldrop overrides the timeout when it starts an execution; a start by hand does not.
        words = f"its timeout is below CELLDROP_TASK_TIMEOUT_S, {wanted_s} s: tasks started by hand end early"
        longer = commands.update_job(job, f"--task-timeout={wanted_s}s")
        yield Fault(Health.WARNING, words, "Give the job the same timeout.", (longer,))
    elif facts.accelerator and facts.timeout_s > MAX_GPU_TIMEOUT_S:
        words = f"a task with a GPU may take {MAX_GPU_TIMEOUT_S} s at most: a longer one started by hand is refused"
        shorter = commands.update_job(job, f"--task-timeout={MAX_GPU_TIMEOUT_S}s")
        yield Fault(Health.WARNING, words, "Lower the job's timeout.", (shorter,))


def _parallel_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    """A start can override the number of tasks, but not the parallelism, which comes from the template."""
    settings = commands.settings
    name, wanted = ("GPU", settings.gpu_parallel) if on_gpu else ("CPU", settings.cpu_parallel)
    free = (commands.update_job(job, "--parallelism=0"),)
    mend = "Remove the parallelism: the plan limits the number of tasks."
    if facts.parallelism > facts.task_count:
        words = f"parallelism {facts.parallelism} is above its task count, {facts.task_count}, which the API forbids"
        yield Fault(Health.WARNING, words, mend, free)
    elif 0 < facts.parallelism < wanted:
        words = f"parallelism {facts.parallelism} is below CELLDROP_{name}_PARALLEL, {wanted}, which the plan assumes"
        yield Fault(Health.WARNING, words, mend, free)


def _gpu_faults(commands: Commands, job: str, facts: JobFacts) -> Iterator[Fault]:
    if not facts.accelerator or facts.limits.get(GPU_LIMIT, "1") == "0":
        yield Fault(Health.WRONG, "no GPU", "Give its tasks a GPU.", (commands.give_job_a_gpu(job),))
    if vcpus_of(facts.limits, GPU_VCPUS) < GPU_VCPUS or memory_mib_of(facts.limits, GPU_MEMORY_MIB) < GPU_MEMORY_MIB:
        words = f"Cloud Run requires at least {GPU_VCPUS} vCPUs and {GPU_MEMORY_MIB // 1024} GiB with a GPU"
        more = commands.update_job(job, f"--cpu={GPU_VCPUS}", f"--memory={GPU_MEMORY_MIB // 1024}Gi")
        yield Fault(Health.WRONG, words, "Give its tasks that much.", (more,))
    if facts.spare_zone:
        words = "GPU zonal redundancy is on, which costs more and has its own quota"
        mend = "Deploy it with GPU zonal redundancy off: a lost task is retried anyway."
        yield Fault(Health.WARNING, words, mend, (commands.describe_job(job),))


def _machine_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    """The faults of a machine that is smaller than the planner assumes."""
    settings = commands.settings
    kind = "GPU" if on_gpu else "CPU"
    vcpus, mib = (
        (settings.gpu_vcpus, settings.gpu_memory_mib) if on_gpu else (settings.cpu_vcpus, settings.cpu_memory_mib)
    )
    mend = "Set the job and the setting to the same value."
    if vcpus_of(facts.limits, vcpus) < vcpus:
        words = f"its CPU limit is below CELLDROP_{kind}_VCPUS, {vcpus}, which the plan assumes"
        yield Fault(Health.WARNING, words, mend, (commands.update_job(job, f"--cpu={vcpus}"),))
    if memory_mib_of(facts.limits, mib) < mib:
        words = f"its memory limit is below CELLDROP_{kind}_MEMORY_MIB, {mib}, which the plan assumes"
        yield Fault(Health.WARNING, words, mend, (commands.update_job(job, f"--memory={mib}Mi"),))


def vcpus_of(limits: Mapping[str, str], otherwise: float) -> float:
    """A container's vCPUs, given as ``4`` or ``4000m``; ``otherwise`` if there is no readable limit."""
    found = _QUANTITY.fullmatch(limits.get("cpu", ""))
    return otherwise if found is None else float(found[1]) * (0.001 if found[2] == "m" else 1)


def memory_mib_of(limits: Mapping[str, str], otherwise: float) -> float:
    """A container's memory in MiB, given as ``16Gi``; ``otherwise`` if there is no readable limit."""
    found = _QUANTITY.fullmatch(limits.get("memory", ""))
    return otherwise if found is None or found[2] not in _MIB else float(found[1]) * _MIB[found[2]]
