"""A proof of the local cloud: the steps of a proof in a project, walked on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import psutil
from google.cloud.run_v2 import Execution
from google.pubsub_v1 import SubscriberClient
from typing_extensions import override

from shared.adapters.gcp.jobs import connect
from tests.cloud.emulators import firestore_emulator
from tests.cloud.emulators_doors import StorageDoor
from tests.cloud.emulators_storage import storage_stand_in
from tests.cloud.local_cloud import Deployment, Emulators, LocalCloud
from tests.cloud.pipeline_local import deployed_at, upload_bundle
from tests.cloud.pubsub_emulator import pubsub_emulator
from tests.prove.evidence import executions_found
from tests.prove.options import BUNDLES, Options, changed_files, commit
from tests.prove.pipeline_steps import PipelineSteps
from tests.prove.programs import Programs
from tests.prove.reached import Reached
from tests.prove.report import Entry, Report
from tests.prove.walk import Place, Step, StepFailedError

TOKEN = "nobody-checks-it-here"
ENVIRONMENT = {"CELLDROP_SYSTEM_TOKEN": TOKEN, "NO_GCE_CHECK": "true"}


class LocalPlace(Place):
    """Emulators and stand-ins; its processes end with ours."""

    def __init__(self, options: Options, programs: Programs, report: Report) -> None:
        self._options = options
        self._report = report
        self._pipeline = PipelineSteps(options, programs, ENVIRONMENT)
        self._stack = ExitStack()
        self._reached: Reached | None = None
        self._emulators: Emulators | None = None

    @override
    def steps(self) -> Sequence[Step]:
        return (
            Step("apply", "starts the local cloud, in the place of terraform", 300, self._start),
            Step("upload", "the bundles of this checkout go into the models bucket", 120, self._upload),
            *self._pipeline.steps(lambda: self._up),
            Step("evidence", "what the stand-in says of executions", 60, self._evidence, needed=False),
        )

    @property
    @override
    def advice(self) -> str:
        return f"end the processes below {psutil.Process().pid}"

    @property
    def _up(self) -> Reached:
        if self._reached is None:
            raise StepFailedError("nothing is running")
        return self._reached

    def _start(self, entry: Entry) -> None:
        self._report.facts["commit"] = commit()
        self._report.facts["files_that_differ_from_the_commit"] = changed_files()
        self._report.facts["versions"] = {"python": sys.version.split()[0]}
        self._report.redact.learn(TOKEN)
        logs = self._options.folder / "logs" / "cloud"
        logs.mkdir()
        keep = self._stack.enter_context
        storage = keep(storage_stand_in())
        self._emulators = Emulators(keep(pubsub_emulator(logs)), keep(firestore_emulator(logs)), storage.url)
        deployment = Deployment(project=self._options.project, region=self._options.region)
        local = keep(LocalCloud(self._emulators, deployment, logs))
        at = deployed_at(local, self._emulators, logs)
        self._reached = Reached(
            prefix="celldrop",
            region=deployment.region,
            variables={**at.variables, "CELLDROP_RUN_ENDPOINT": local.run_endpoint},
            status_url=at.status_url,
            dead_requests=SubscriberClient.parse_subscription_path(at.dead_requests)["subscription"],
            run_endpoint=local.run_endpoint,
        )
        self._reached.save(self._options.folder)
        entry.found = {"functions": sorted(local.programs), "buckets": list(deployment.buckets)}

    def _upload(self, _: Entry) -> None:
        assert self._emulators is not None
        with StorageDoor(self._emulators.storage).client() as storage:
            for bundle in BUNDLES:
                upload_bundle(storage, self._up.models_bucket, bundle.name)

    def _evidence(self, entry: Entry) -> None:
        parent = f"projects/{self._up.project}/locations/{self._up.region}/jobs/{self._up.job}"
        listed = connect(self._up.run_endpoint).executions.list_executions(parent=parent)
        executions = [_as_gcloud(execution) for execution in listed]
        path = self._options.folder / "executions.json"
        path.write_text(json.dumps(executions, indent=1) + "\n")
        entry.found = executions_found(executions)

    @override
    def tear_down(self, entry: Entry) -> None:
        self._stack.close()
        self._report.left = [
            {"kind": "process", "name": " ".join(child.cmdline())[:100], "remove": f"kill {child.pid}"}
            for child in psutil.Process().children(recursive=True)
            if child.status() != psutil.STATUS_ZOMBIE
        ]
        if self._report.left:
            entry.fail(f"{len(self._report.left)} processes are left")


def _as_gcloud(execution: Execution) -> dict[str, Any]:
    """As `gcloud run jobs executions list` shows one."""
    found = json.loads(Execution.to_json(execution))
    counts = {f"{kind}Count": found.get(f"{kind}Count", 0) for kind in ("succeeded", "failed", "cancelled", "retried")}
    times = {name: found[name] for name in ("startTime", "completionTime") if found.get(name)}
    return {
        "metadata": {"name": found["name"].rpartition("/")[2], "creationTimestamp": found["createTime"]},
        "spec": {"taskCount": found["taskCount"]},
        "status": {**counts, **times},
    }
