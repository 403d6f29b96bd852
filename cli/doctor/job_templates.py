"""What a job's template does to its tasks: how long, how often, how many at a time, on what machine and as whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cli.doctor.check import Fault, Health
from cli.doctor.commands import Commands
from cli.doctor.deployed_as import account_faults
from shared.ports.survey import JobFacts

MAX_GPU_TIMEOUT_S = 3600
"""Cloud Run lends a GPU to a task for an hour at most: https://cloud.google.com/run/docs/configuring/task-timeout."""
GPU_LIMIT = "nvidia.com/gpu"
GPU_VCPUS = 4
GPU_MEMORY_MIB = 16 * 1024
"""The least beside a GPU: https://cloud.google.com/run/docs/configuring/jobs/gpu."""

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|Mi|Gi|M|G|)")
_MIB = {"Mi": 1.0, "Gi": 1024.0, "M": 1e6 / 2**20, "G": 1e9 / 2**20, "": 1 / 2**20}


def template_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    """What is wrong with one, or other than the planner counts on."""
    yield from _time_faults(commands, job, facts, on_gpu=on_gpu)
    yield from _parallel_faults(commands, job, facts, on_gpu=on_gpu)
    if not facts.max_retries:
        mend = "Let Cloud Run try a task again: an instance may be taken away at any time."
        more = commands.update_job(job, "--max-retries=3")
        yield Fault(Health.WARNING, "a task is tried only once", mend, (more,))
    own = commands.update_job(job, f"--service-account={commands.account('task')}")
    yield from account_faults(facts, "Give its tasks an account of their own.", own)
    if on_gpu:
        yield from _gpu_faults(commands, job, facts)
    elif facts.accelerator:
        words = f"it has a GPU ({facts.accelerator}) that is paid for and not used"
        yield Fault(Health.WARNING, words, "Deploy it without.", (commands.describe_job(job),))
    yield from _machine_faults(commands, job, facts, on_gpu=on_gpu)


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
    elif facts.accelerator and facts.timeout_s > MAX_GPU_TIMEOUT_S:
        words = f"a GPU is lent for {MAX_GPU_TIMEOUT_S} s at most: started by hand, a task is refused"
        shorter = commands.update_job(job, f"--task-timeout={MAX_GPU_TIMEOUT_S}s")
        yield Fault(Health.WARNING, words, "Give the job no more.", (shorter,))


def _parallel_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    """A start names how many tasks, and cannot name how many at a time: what the template says of that stands."""
    settings = commands.settings
    name, wanted = ("GPU", settings.gpu_parallel) if on_gpu else ("CPU", settings.cpu_parallel)
    free = (commands.update_job(job, "--parallelism=0"),)
    mend = "Leave it out: the plan bounds how many tasks there are."
    if facts.parallelism > facts.task_count:
        words = f"parallelism {facts.parallelism} is above its task count, {facts.task_count}, as the API forbids"
        yield Fault(Health.WARNING, words, mend, free)
    elif 0 < facts.parallelism < wanted:
        words = f"tasks at a time: {facts.parallelism}, and the plan counts on CELLDROP_{name}_PARALLEL, {wanted}"
        yield Fault(Health.WARNING, words, mend, free)


def _gpu_faults(commands: Commands, job: str, facts: JobFacts) -> Iterator[Fault]:
    if not facts.accelerator or facts.limits.get(GPU_LIMIT, "1") == "0":
        yield Fault(Health.WRONG, "no GPU", "Give its tasks one.", (commands.give_job_a_gpu(job),))
    if vcpus_of(facts.limits, GPU_VCPUS) < GPU_VCPUS or memory_mib_of(facts.limits, GPU_MEMORY_MIB) < GPU_MEMORY_MIB:
        words = f"beside a GPU Cloud Run wants {GPU_VCPUS} vCPUs and {GPU_MEMORY_MIB // 1024} GiB at least"
        more = commands.update_job(job, f"--cpu={GPU_VCPUS}", f"--memory={GPU_MEMORY_MIB // 1024}Gi")
        yield Fault(Health.WRONG, words, "Give its tasks as much.", (more,))
    if facts.spare_zone:
        words = "its GPUs have a spare in another zone, which costs more and has a quota of its own"
        mend = "Deploy it with GPU zonal redundancy off: a task that is lost is started again."
        yield Fault(Health.WARNING, words, mend, (commands.describe_job(job),))


def _machine_faults(commands: Commands, job: str, facts: JobFacts, *, on_gpu: bool) -> Iterator[Fault]:
    """Less of a machine than the planner reckons with."""
    settings = commands.settings
    kind = "GPU" if on_gpu else "CPU"
    vcpus, mib = (
        (settings.gpu_vcpus, settings.gpu_memory_mib) if on_gpu else (settings.cpu_vcpus, settings.cpu_memory_mib)
    )
    mend = "Have the job and the setting say the same."
    if vcpus_of(facts.limits, vcpus) < vcpus:
        words = f"the plan counts on CELLDROP_{kind}_VCPUS, {vcpus}"
        yield Fault(Health.WARNING, words, mend, (commands.update_job(job, f"--cpu={vcpus}"),))
    if memory_mib_of(facts.limits, mib) < mib:
        words = f"the plan counts on CELLDROP_{kind}_MEMORY_MIB, {mib}"
        yield Fault(Health.WARNING, words, mend, (commands.update_job(job, f"--memory={mib}Mi"),))


def vcpus_of(limits: Mapping[str, str], otherwise: float) -> float:
    """Of a container, as ``4`` or ``4000m``; the other number where nothing is told that can be read."""
    found = _QUANTITY.fullmatch(limits.get("cpu", ""))
    return otherwise if found is None else float(found[1]) * (0.001 if found[2] == "m" else 1)


def memory_mib_of(limits: Mapping[str, str], otherwise: float) -> float:
    """Likewise of memory, as ``16Gi``."""
    found = _QUANTITY.fullmatch(limits.get("memory", ""))
    return otherwise if found is None or found[2] not in _MIB else float(found[1]) * _MIB[found[2]]
