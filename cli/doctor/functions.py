"""Checks of the functions: the Cloud Run services of ingest, dispatch, reconcile and status."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import Commands
from cli.doctor.deployed_as import account_faults, image_faults, variable_faults
from cli.doctor.gathering import Deployed
from cli.doctor.job_templates import memory_mib_of
from cli.doctor.jobs import API, SEE
from cli.doctor.silence import MAY_LOOK, Remedy, silent
from shared.ports.survey import FunctionFacts, Silence, Untold

LEAST_S = 60
"""The least timeout of one request: a bucket or a database may take this long to answer."""
INSPECTING_MIB = 2048
"""The least memory of ingest: an inspection may use 1,536 MiB, and the function needs the rest."""


def check_functions(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check the functions. They are found only by name: each must have the prefix of the jobs' names."""
    for service, answer in found.functions.items():
        name = CloudCheck.FUNCTION.of(service)
        match answer:
            case FunctionFacts() as facts:
                words = ", ".join(part for part in (facts.image, f"{facts.timeout_s} s a request") if part)
                yield summed(name, words, _faults(commands, service, facts))
            case Untold(why=Silence.NOT_SET | Silence.NOT_OFFERED):  # Other checks report this.
                continue
            case Untold(why=Silence.MISSING):
                words = "no service with this name (its prefix comes from CELLDROP_CPU_JOB)"
                mend = "Deploy it under this name. A service with another name is not checked."
                yield Check(name, Health.WARNING, words, mend, (commands.list_functions(),))
            case Untold() as untold:
                yield silent(name, untold, _remedy(commands))


def _faults(commands: Commands, service: str, facts: FunctionFacts) -> Iterator[Fault]:
    yield from image_faults(facts, commands.describe_function(service))
    if facts.timeout_s < LEAST_S:
        longer = commands.update_function(service, f"--timeout={LEAST_S}")
        words = "the request timeout is too short: requests are cut off and delivered again"
        yield Fault(Health.WARNING, words, f"Set it to {LEAST_S} s.", (longer,))
    if service == commands.service("ingest") and memory_mib_of(facts.limits, INSPECTING_MIB) < INSPECTING_MIB:
        more = commands.update_function(service, f"--memory={INSPECTING_MIB}Mi")
        words = f"memory {facts.limits['memory']}: an inspection may need 1,536 MiB, and is refused without it"
        yield Fault(Health.WARNING, words, f"Give it {INSPECTING_MIB} MiB.", (more,))
    account = commands.account(service.rpartition("-")[2])
    own = commands.update_function(service, f"--service-account={account}")
    yield from account_faults(facts, "Give it its own account.", own)
    set_variables = partial(commands.set_function_variables, service)
    yield from variable_faults(commands.settings, facts, "function", set_variables)


def _remedy(commands: Commands) -> Remedy:
    return Remedy((), MAY_LOOK, commands.let_caller_in_project(SEE), commands.enable(API))
