"""Flavors are what their schema says, and what our own parts and Cloud Run can live with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its types are in another package

from shared.adapters.gcp.bus import TIMEOUT_S
from shared.domain.plan import CPU_POOL, GPU_POOL, Pool
from shared.domain.prices import TIER_1, Shape
from shared.h5ad.read.limits import DEFAULT_LIMITS
from shared.settings import Settings

FLAVORS = Path(__file__).resolve().parents[2] / "deploy" / "flavors"
SCHEMA = json.loads((FLAVORS / "flavor.schema.json").read_text())
NAMES = ("default", "dev", "gpu", "large")
MIB = 2**20
RUNTIME_MIB = 400
"""For ingest itself and for the child's server, beside what the child may take."""

Flavor = dict[str, Any]


def flavor(name: str) -> Flavor:
    document: Flavor = json.loads((FLAVORS / f"{name}.json").read_text())
    return document


def faults(document: Flavor) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)]


def test_there_are_the_four_that_the_workflow_offers() -> None:
    assert {path.stem for path in FLAVORS.glob("*.json")} == {*NAMES, "flavor.schema"}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_a_flavor_is_what_the_schema_says(name: str) -> None:
    assert faults(flavor(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_ingest_outlives_the_hungriest_file_that_may_be_inspected(name: str) -> None:
    memory_mib = flavor(name)["functions"]["ingest"]["memory_mib"]
    assert memory_mib >= DEFAULT_LIMITS.memory_bytes // MIB + RUNTIME_MIB


@pytest.mark.parametrize("name", NAMES)
def test_ingest_may_take_as_long_as_an_inspection(name: str) -> None:
    assert flavor(name)["functions"]["ingest"]["timeout_s"] > DEFAULT_LIMITS.cpu_s


@pytest.mark.parametrize("name", NAMES)
def test_pubsub_waits_as_long_as_those_it_pushes_into_may_take(name: str) -> None:
    functions = flavor(name)["functions"]
    assert all(functions[function]["timeout_s"] <= 600 for function in ("ingest", "dispatch"))


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_of_reconcile_ends_before_cloud_run_cuts_it_off(name: str) -> None:
    timeout_s = flavor(name)["functions"]["reconcile"]["timeout_s"]
    pass_s = Settings.model_validate({"backend": "gcp", "reconcile_s": int(timeout_s * 0.7)}).pass_s
    assert timeout_s - pass_s >= 1.5 * TIMEOUT_S, "a publication that hangs at the end has its time"


@pytest.mark.parametrize("name", NAMES)
def test_the_planner_takes_the_sizes_of_tasks(name: str) -> None:
    tasks = flavor(name)["tasks"]
    settings = Settings.model_validate(
        {"rows_per_task": tasks["rows_per_task"], "max_tasks": tasks["max_tasks"], "task_timeout_s": tasks["timeout_s"]}
    )
    assert settings.fleet.max_tasks == tasks["max_tasks"]
    assert flavor(name)["jobs"]["cpu"]["parallelism"] <= tasks["max_tasks"]


@pytest.mark.parametrize("name", NAMES)
def test_the_planner_reckons_with_the_machines_of_the_flavor(name: str) -> None:
    jobs = flavor(name)["jobs"]
    fleet = Settings.model_validate({"backend": "gcp", **told(jobs)}).fleet
    assert fleet.cpu == pool(jobs["cpu"])
    assert fleet.gpu == (pool(jobs["gpu"]) if "gpu" in jobs else None)
    assert fleet.prices is not None


def test_what_the_planner_takes_for_granted_is_the_default_flavor_and_the_one_with_a_gpu() -> None:
    assert pool(flavor("default")["jobs"]["cpu"]) == CPU_POOL == Settings.model_validate({"backend": "gcp"}).fleet.cpu
    assert pool(flavor("gpu")["jobs"]["gpu"]) == GPU_POOL == Settings.model_validate({"backend": "gcp"}).fleet.gpu


def test_there_is_a_price_for_the_one_gpu_that_a_flavor_can_have() -> None:
    assert SCHEMA["$defs"]["job"]["properties"]["accelerator"]["enum"] == ["nvidia-l4"]
    assert TIER_1.l4_s > 0


def told(jobs: Flavor) -> dict[str, Any]:
    """The settings that main.tf makes of a flavor's jobs; the module's own tests hold it to these names."""
    named = {"gpu_job": "celldrop-gpu" if "gpu" in jobs else ""}
    for kind, job in jobs.items():
        named |= {f"{kind}_vcpus": job["cpu"], f"{kind}_memory_mib": job["memory_mib"]}
        named |= {f"{kind}_parallel": job["parallelism"]}
    return named


def pool(job: Flavor) -> Pool:
    return Pool(Shape(job["cpu"], job["memory_mib"], 1 if "accelerator" in job else 0), job["parallelism"])


@pytest.mark.parametrize("name", NAMES)
def test_an_execution_ends_before_its_parts_are_deleted(name: str) -> None:
    document = flavor(name)
    tasks, job = document["tasks"], document["jobs"]["cpu"]
    rounds = -(-tasks["max_tasks"] // job["parallelism"])
    assert rounds * tasks["timeout_s"] * (1 + job["max_retries"]) < 7 * 86_400


def test_only_the_gpu_flavor_has_one() -> None:
    assert [name for name in NAMES if "gpu" in flavor(name)["jobs"]] == ["gpu"]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_kept_warm(name: str) -> None:
    assert all(size["min_instances"] == 0 for size in flavor(name)["functions"].values())


def _set(*path: str, to: object) -> Callable[[Flavor], None]:
    def change(document: Flavor) -> None:
        *parents, last = path
        for parent in parents:
            document = document[parent]
        document[last] = to

    return change


def _drop(*path: str) -> Callable[[Flavor], None]:
    def change(document: Flavor) -> None:
        *parents, last = path
        for parent in parents:
            document = document[parent]
        del document[last]

    return change


REFUSED = {
    "a word that nobody reads": _set("functions", "ingest", "max_instance", to=3),
    "a function too few": _drop("functions", "reconcile"),
    "a function too many": _set("functions", "indexer", to={}),
    "no job without a GPU": _drop("jobs", "cpu"),
    "a size left out": _drop("functions", "status", "memory_mib"),
    "more memory than the processor takes": _set("functions", "dispatch", "memory_mib", to=4097),
    "less memory than the processor takes": _set("jobs", "cpu", "memory_mib", to=1024),
    "three processors": _set("jobs", "cpu", "cpu", to=3),
    "a number as text": _set("functions", "ingest", "max_instances", to="10"),
    "a GPU where there is to be none": _set("jobs", "cpu", "accelerator", to="nvidia-l4"),
    "a GPU job without a GPU": _drop("jobs", "gpu", "accelerator"),
    "a GPU that Cloud Run has not": _set("jobs", "gpu", "accelerator", to="nvidia-t4"),
    "too little memory beside a GPU": _set("jobs", "gpu", "memory_mib", to=8192),
    "more than an hour with a GPU": _set("tasks", "timeout_s", to=7200),
    "no tasks": _set("tasks", "max_tasks", to=0),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
def test_the_schema_refuses(change: Callable[[Flavor], None]) -> None:
    document = copy.deepcopy(flavor("gpu"))
    change(document)
    assert faults(document)


def test_without_a_gpu_a_task_may_take_longer_than_an_hour() -> None:
    document = flavor("default")
    document["tasks"]["timeout_s"] = 7200
    assert faults(document) == []
