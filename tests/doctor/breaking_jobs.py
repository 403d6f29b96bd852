"""One thing of a job, of a function, or of the account that something acts as, that is not as it should be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cli.doctor.check import Health
from shared.ports.survey import Part, Silence, Untold
from tests.doctor.breaking import WARNING, WRONG, Break, with_fact, with_job
from tests.doctor.deployed import ACCOUNT, DENIED, FUNCTIONS, LIMITS, MISSING, TASK_ACCOUNT

GPU = {**LIMITS, "nvidia.com/gpu": "1"}


def with_function(part: str, **changes: Any) -> Break:
    name = f"celldrop-{part}"
    return with_fact("functions", name, replace(FUNCTIONS[name], **changes))


BROKEN_JOBS: dict[str, tuple[Break, str, Health, str]] = {
    # --- Templates ---
    "more at a time than there are": (
        with_job("celldrop-cpu", parallelism=20, task_count=1),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs update celldrop-cpu --parallelism=0 --region=europe-west4 --project=lab-7",
    ),
    "one after another": (
        with_job("celldrop-cpu", parallelism=1, task_count=1),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs update celldrop-cpu --parallelism=0",
    ),
    "the default account": (
        with_job("celldrop-cpu", account=""),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs update celldrop-cpu --service-account=celldrop-task@lab-7.iam.gserviceaccount.com",
    ),
    "a GPU for nothing": (
        with_job("celldrop-cpu", accelerator="nvidia-l4"),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs describe celldrop-cpu",
    ),
    "a kind of GPU and none of it": (
        with_job("celldrop-gpu", limits={**LIMITS, "nvidia.com/gpu": "0"}),
        "job celldrop-gpu",
        WRONG,
        "gcloud beta run jobs update celldrop-gpu --gpu=1 --gpu-type=nvidia-l4",
    ),
    "a GPU for more than an hour": (
        with_job("celldrop-gpu", timeout_s=7200),
        "job celldrop-gpu",
        WARNING,
        "gcloud run jobs update celldrop-gpu --task-timeout=3600s",
    ),
    "a GPU without memory": (
        with_job("celldrop-gpu", limits={**GPU, "memory": "8Gi"}),
        "job celldrop-gpu",
        WRONG,
        "gcloud run jobs update celldrop-gpu --cpu=4 --memory=16Gi",
    ),
    "a spare GPU": (
        with_job("celldrop-gpu", spare_zone=True),
        "job celldrop-gpu",
        WARNING,
        "gcloud run jobs describe celldrop-gpu",
    ),
    "fewer vCPUs than planned": (
        with_job("celldrop-cpu", limits={**LIMITS, "cpu": "2000m"}),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs update celldrop-cpu --cpu=4",
    ),
    "less memory than planned": (
        with_job("celldrop-cpu", limits={**LIMITS, "memory": "512Mi"}),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs update celldrop-cpu --memory=8192Mi",
    ),
    # --- Functions ---
    "no ingest": (
        with_fact("functions", "celldrop-ingest", MISSING),
        "function celldrop-ingest",
        WARNING,
        "gcloud run services list --region=europe-west4 --project=lab-7",
    ),
    "a function that may not be seen": (
        with_fact("functions", "celldrop-status", DENIED),
        "function celldrop-status",
        WARNING,
        "--role=roles/run.viewer",
    ),
    "a function that is not ready": (
        with_function("dispatch", trouble="it does not listen"),
        "function celldrop-dispatch",
        WRONG,
        "gcloud run services describe celldrop-dispatch --region=europe-west4 --project=lab-7",
    ),
    "a sample for a function": (
        with_function("dispatch", image="us-docker.pkg.dev/cloudrun/container/hello"),
        "function celldrop-dispatch",
        WRONG,
        "gcloud run services describe celldrop-dispatch",
    ),
    "little time for a request": (
        with_function("reconcile", timeout_s=10),
        "function celldrop-reconcile",
        WARNING,
        "gcloud run services update celldrop-reconcile --timeout=60",
    ),
    "little memory to inspect in": (
        with_function("ingest", limits={"cpu": "1", "memory": "512Mi"}),
        "function celldrop-ingest",
        WARNING,
        "gcloud run services update celldrop-ingest --memory=2048Mi",
    ),
    "a function as the default account": (
        with_function("status", account=""),
        "function celldrop-status",
        WARNING,
        "gcloud run services update celldrop-status --service-account=celldrop-status@lab-7.iam.gserviceaccount.com",
    ),
    "a function with other names": (
        with_function("ingest", variables={"CELLDROP_WORK_BUCKET": "other"}),
        "function celldrop-ingest",
        WRONG,
        "gcloud run services update celldrop-ingest '--update-env-vars=^|^CELLDROP_WORK_BUCKET=lab-work'",
    ),
    # --- Accounts ---
    "no account of tasks": (
        with_fact("accounts", TASK_ACCOUNT, MISSING),
        f"account {TASK_ACCOUNT}",
        WRONG,
        "gcloud iam service-accounts create celldrop-task --project=lab-7",
    ),
    "no account that pushes": (
        with_fact("accounts", ACCOUNT, MISSING),
        f"account {ACCOUNT}",
        WRONG,
        "gcloud iam service-accounts create push --project=lab-7",
    ),
    "a disabled account": (
        with_fact("accounts", TASK_ACCOUNT, False),
        f"account {TASK_ACCOUNT}",
        WRONG,
        f"gcloud iam service-accounts enable {TASK_ACCOUNT} --project=lab-7",
    ),
    "an account that may not be seen": (
        with_fact("accounts", TASK_ACCOUNT, DENIED),
        f"account {TASK_ACCOUNT}",
        WARNING,
        (
            "gcloud projects add-iam-policy-binding lab-7 --member=user:ada@example.org "
            "--role=roles/iam.serviceAccountViewer"
        ),
    ),
    "IAM switched off": (
        with_fact("accounts", TASK_ACCOUNT, Untold(Silence.DISABLED)),
        f"account {TASK_ACCOUNT}",
        WARNING,
        "gcloud services enable iam.googleapis.com --project=lab-7",
    ),
    "may not act as tasks": (
        with_fact("rights", (Part.ACCOUNT, TASK_ACCOUNT), frozenset()),
        f"rights account {TASK_ACCOUNT}",
        WARNING,
        (
            f"gcloud iam service-accounts add-iam-policy-binding {TASK_ACCOUNT} --project=lab-7 "
            "--member=user:ada@example.org --role=roles/iam.serviceAccountUser"
        ),
    ),
}

HARMLESS_JOBS: dict[str, Break] = {
    "little memory to dispatch in": with_function("dispatch", limits={"cpu": "1", "memory": "512Mi"}),
    "functions that a stand-in does not know": with_fact("functions", "celldrop-ingest", Untold(Silence.NOT_OFFERED)),
    "as many at a time as planned": with_job("celldrop-cpu", parallelism=100, task_count=100),
    "more memory than planned": with_job("celldrop-cpu", limits={"cpu": "8", "memory": "32Gi"}),
    "limits that cannot be read": with_job("celldrop-cpu", limits={"cpu": "many", "memory": "1Ti"}),
    "an account whose credentials are not there": with_fact("accounts", TASK_ACCOUNT, Untold(Silence.NOT_SET)),
}
