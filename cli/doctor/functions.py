"""Checks of the functions: the Cloud Run services that ingest, dispatch, reconcile and status are."""

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
"""For one request: a slow answer of a bucket or a database is waited for as long."""
INSPECTING_MIB = 2048
"""An inspection may take 1,536 MiB; beside it there is the function."""


def check_functions(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Those that are called as the jobs are; nothing but their names tells which they are."""
    for service, told in found.functions.items():
        name = CloudCheck.FUNCTION.of(service)
        match told:
            case FunctionFacts() as facts:
                words = ", ".join(part for part in (facts.image, f"{facts.timeout_s} s a request") if part)
                yield summed(name, words, _faults(commands, service, facts))
            case Untold(why=Silence.NOT_SET | Silence.NOT_OFFERED):  # Other checks say so.
                continue
            case Untold(why=Silence.MISSING):
                words = "no service of this name, which CELLDROP_CPU_JOB leads to"
                mend = "Deploy it. One that is called otherwise is not looked at."
                yield Check(name, Health.WARNING, words, mend, (commands.list_functions(),))
            case Untold() as untold:
                yield silent(name, untold, _remedy(commands))


def _faults(commands: Commands, service: str, facts: FunctionFacts) -> Iterator[Fault]:
    yield from image_faults(facts, commands.describe_function(service))
    if facts.timeout_s < LEAST_S:
        longer = commands.update_function(service, f"--timeout={LEAST_S}")
        yield Fault(Health.WARNING, "requests are cut off early, and delivered again", "Give it time.", (longer,))
    if service == commands.service("ingest") and memory_mib_of(facts.limits, INSPECTING_MIB) < INSPECTING_MIB:
        more = commands.update_function(service, f"--memory={INSPECTING_MIB}Mi")
        words = f"memory {facts.limits['memory']}: an inspection may take 1,536 MiB, and files that need it are refused"
        yield Fault(Health.WARNING, words, f"Give it {INSPECTING_MIB} MiB.", (more,))
    account = commands.account(service.rpartition("-")[2])
    own = commands.update_function(service, f"--service-account={account}")
    yield from account_faults(facts, "Give it an account of its own.", own)
    tell = partial(commands.set_function_variables, service)
    yield from variable_faults(commands.settings, facts, "function", tell)


def _remedy(commands: Commands) -> Remedy:
    return Remedy((), MAY_LOOK, commands.let_caller_in_project(SEE), commands.enable(API))
