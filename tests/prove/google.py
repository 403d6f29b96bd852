"""A proof in a real project: plan, apply, use, tear down."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from tests.prove import bill, gcloud_commands
from tests.prove.evidence import doors, executions_found
from tests.prove.leftovers import leftovers
from tests.prove.options import BUNDLES, Options
from tests.prove.pipeline_steps import PipelineSteps
from tests.prove.preflight import Preflight
from tests.prove.programs import ProgramError, Programs
from tests.prove.reached import Reached, from_outputs
from tests.prove.report import Entry, Report
from tests.prove.terraform_commands import Module, changes_of
from tests.prove.walk import Place, Step, StepFailedError

TRIES = 4
"""Of apply and destroy: agents that a new project has not had before take minutes to be known."""
QUOTA = "GOOGLE_CLOUD_QUOTA_PROJECT"
"""Without one, Google's libraries warn of a user's credentials, and a warning is an error in tests."""


class GooglePlace(Place):
    """A project.

    Args:
        pause_s: Between two tries of apply, destroy, and the look for leftovers.
        had_begun: An earlier process has begun to apply: there may be something to remove.
    """

    def __init__(
        self, options: Options, programs: Programs, report: Report, pause_s: float, *, had_begun: bool = False
    ) -> None:
        self._options = options
        self._programs = programs
        self._report = report
        self._pause_s = pause_s
        self._begun = had_begun
        self._module = Module.of(options)
        self._preflight = Preflight(options, programs, report)
        self._pipeline = PipelineSteps(options, programs, {QUOTA: options.project})
        self._reached: Reached | None = None

    @override
    def steps(self) -> Sequence[Step]:
        return (
            Step("preflight", "what is needed is there, and the forecast is within the budget", 600, self._preflight),
            Step("plan", "terraform plan, which creates and changes nothing else", 900, self._plan),
            Step("apply", "terraform apply", 2400, self._apply),
            Step("upload", "the bundles of this checkout go into the models bucket", 600, self._upload),
            *self._pipeline.steps(lambda: self._up),
            Step("evidence", "what Google says of executions and requests", 600, self._evidence, needed=False),
        )

    @property
    @override
    def advice(self) -> str:
        folder = self._options.folder
        return f"python -m tests.prove --tear-down {folder}, or terraform -chdir={self._module.folder} destroy"

    @property
    def _up(self) -> Reached:
        if self._reached is None:
            raise StepFailedError("nothing is deployed")
        return self._reached

    # --- Making it ---

    def _plan(self, entry: Entry) -> None:
        self._module.write(self._options, self._preflight.member)
        self._programs.run(self._module.init)
        self._provider_version()
        self._planned(entry)

    def _planned(self, entry: Entry, *, again: bool = False) -> None:
        self._programs.run(self._module.plan)
        created, others = changes_of(self._programs.run(self._module.show).json)
        entry.found[f"created{' at another try' * again}"] = dict(created)
        if others and not again:
            raise StepFailedError(f"The plan does more than create: {'; '.join(others[:5])}. Nothing was applied.")
        entry.notes += [f"at another try: {other}" for other in others]
        if not created and not again:
            raise StepFailedError("The plan creates nothing.")

    def _provider_version(self) -> None:
        selected = self._programs.run(self._module.command("version", "-json")).json.get("provider_selections", {})
        self._report.facts.setdefault("versions", {}).update(selected)

    def _apply(self, entry: Entry) -> None:
        self._begun = True
        for left in reversed(range(TRIES)):
            try:
                self._programs.run(self._module.apply)
                break
            except ProgramError as error:
                if not left:
                    raise
                entry.notes.append(f"applied again after {self._pause_s:g} s: {error}")
                time.sleep(self._pause_s)
                self._planned(entry, again=True)
        outputs = self._programs.run(self._module.output).json
        self._reached = from_outputs(self._options.prefix, outputs)
        self._reached.save(self._options.folder)
        entry.found.update({name: output["value"] for name, output in outputs.items() if name in {"images", "jobs"}})

    def _upload(self, _: Entry) -> None:
        self._programs.run(gcloud_commands.upload_bundles(BUNDLES, self._up.models_bucket))

    def _evidence(self, entry: Entry) -> None:
        executions = self._programs.run(gcloud_commands.executions(self._options, self._up.job)).json or []
        requests = self._programs.run(gcloud_commands.requests(self._options)).json or []
        self._keep("executions.json", executions)
        self._keep("requests.json", requests)
        entry.found |= executions_found(executions)
        entry.checks = doors(requests)
        self._report.facts["counted"] = bill.counted(executions, requests).document
        entry.notes.append("counted: executions and requests only; Firestore, Storage and Pub/Sub list no counts")

    def _keep(self, name: str, document: Any) -> None:
        (self._options.folder / name).write_text(self._report.redact(json.dumps(document, indent=1)) + "\n")

    # --- Removing it ---

    @override
    def tear_down(self, entry: Entry) -> None:
        if not self._begun:
            entry.notes.append("nothing had been applied")
            return
        if self._options.keep:
            entry.notes.append(f"kept, as --keep asked for. Remove it with: {self.advice}")
            self._report.facts["kept"] = self.advice
            return
        self._preflight.learn_account()
        self._remove_subscriptions(entry)
        self._destroy(entry)
        self._look(entry)

    def _remove_subscriptions(self, entry: Entry) -> None:
        """Those that the suite and the faults made beside Terraform."""
        try:
            listed = self._programs.run(gcloud_commands.subscriptions(self._options)).json or []
            ours = [one["name"] for one in listed if f"/topics/{self._options.prefix}-" in one["topic"]]
            for name in (name.rpartition("/")[2] for name in ours):
                if name.startswith("celldrop-tests-system-"):
                    self._programs.run(gcloud_commands.delete_subscription(self._options, name))
        except ProgramError as error:
            entry.notes.append(f"subscriptions of the suite: {error}")

    def _destroy(self, entry: Entry) -> None:
        for left in reversed(range(TRIES)):
            try:
                self._programs.run(self._module.destroy)
            except ProgramError as error:
                if not left:
                    entry.fail(f"{error}. By hand: {self.advice}")
                    return
                entry.notes.append(f"destroyed again after {self._pause_s:g} s: {error}")
                time.sleep(self._pause_s)
            else:
                return

    def _look(self, entry: Entry) -> None:
        wanted = re.compile(re.escape(self._options.prefix))
        for left in reversed(range(TRIES)):
            look = Entry("look", "")
            found = leftovers(self._programs, self._options, wanted, None, look)
            if not found or not left:
                break
            time.sleep(self._pause_s)  # Lists lag behind what was removed.
        entry.notes += look.notes
        for problem in look.problems:
            entry.fail(problem)
        self._report.left = found
        if found:
            entry.fail(f"{len(found)} things are left; the commands that remove them stand below")
