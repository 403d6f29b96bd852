"""Looks whether a proof can be made in a project, before anything is made there."""

from __future__ import annotations

from typing import Any

from tests.prove import bill, gcloud_commands, terraform_commands
from tests.prove.leftovers import ANY_PROOF, leftovers
from tests.prove.options import ROOT, Options, changed_files, commit
from tests.prove.programs import ProgramError, Programs
from tests.prove.report import Entry, Report
from tests.prove.walk import StepFailedError

IMAGES = ("celldrop-functions", "celldrop-inference")
BEFORE = "cloudresourcemanager.googleapis.com"
"""Terraform itself asks it before it enables the others."""
LOGINS = ("gcloud auth login", "gcloud auth application-default login")
BILLING = "gcloud billing projects link {project} --billing-account=XXXXXX-XXXXXX-XXXXXX"
ENABLE = f"gcloud services enable {BEFORE} --project={{project}}"
REAL_FILES = ROOT.parent / "shared" / "data"


class Preflight:
    """Every check is made, so that all that is missing is said at once.

    Attributes:
        member: Who proves, as IAM names them.
        services: The APIs that are enabled.
    """

    def __init__(self, options: Options, programs: Programs, report: Report) -> None:
        self._options = options
        self._programs = programs
        self._report = report
        self.member = ""
        self.services: set[str] = set()

    def __call__(self, entry: Entry) -> None:
        """Raise StepFailedError unless all of it holds."""
        self._report.facts["commit"] = commit()
        self._report.facts["files_that_differ_from_the_commit"] = changed_files()
        self._within_budget(entry)
        if entry.problems:
            return
        checks = (self._tools, self._login, self._project, self._services, self._images)
        for check in checks:
            try:
                check(entry)
            except ProgramError as error:
                entry.fail(str(error))
        if not entry.problems:
            self._nothing_left(entry)
        if not REAL_FILES.is_dir():
            entry.notes.append(
                f"There are no real files at {REAL_FILES}: tests of the suite that need them are skipped."
            )

    def learn_account(self) -> str:
        """Who is logged in, whose address goes into no report; nobody: empty."""
        listed = self._programs.run(gcloud_commands.account(), may_fail=True)
        accounts = listed.json if not listed.status else []
        email = str(accounts[0]["account"]) if accounts else ""
        self._report.redact.learn(email, "[account]")
        return email

    def _within_budget(self, entry: Entry) -> None:
        found = bill.forecast(self._options.limit_minutes)
        self._report.facts["forecast"] = found.document
        if found.usd > self._options.budget_usd:
            entry.fail(
                f"The forecast is {found.usd} USD; expected at most {self._options.budget_usd}. "
                "Give --budget-usd or a smaller --limit-minutes."
            )

    def _tools(self, entry: Entry) -> None:
        found = {
            "terraform": self._programs.run(terraform_commands.version()).json["terraform_version"],
            "gcloud": self._programs.run(gcloud_commands.version()).json["Google Cloud SDK"],
        }
        self._report.facts["versions"] = found
        entry.found.update(found)

    def _login(self, entry: Entry) -> None:
        email = self.learn_account()
        if not email:
            raise ProgramError(f"Nobody is logged in to gcloud. Run: {LOGINS[0]}")
        robot = email.endswith(".gserviceaccount.com")
        self.member = f"{'serviceAccount' if robot else 'user'}:{email}"
        entry.found["account"] = "a service account" if robot else "a user"
        try:
            token = self._programs.run(gcloud_commands.application_default())
        except ProgramError as error:
            raise ProgramError(f"{error} Run: {LOGINS[1]}") from error
        self._report.redact.learn(token.stdout.strip())

    def _project(self, entry: Entry) -> None:
        project = self._programs.run(gcloud_commands.project(self._options)).json
        if project.get("lifecycleState") != "ACTIVE":
            raise ProgramError(f"The project is {project.get('lifecycleState')}; expected ACTIVE.")
        entry.found["project_number"] = project["projectNumber"]
        try:
            billing = self._programs.run(gcloud_commands.billing(self._options)).json
        except ProgramError as error:  # A service account needs one more API to ask; that is no reason to stop.
            entry.notes.append(f"could not look whether the project has billing: {error}")
            return
        if not billing.get("billingEnabled"):
            raise ProgramError(f"The project has no billing. Run: {BILLING.format(project=self._options.project)}")

    def _services(self, entry: Entry) -> None:
        listed = self._programs.run(gcloud_commands.services(self._options)).json
        self.services = {one["config"]["name"] for one in listed}
        entry.found["enabled_services"] = len(self.services)
        if BEFORE not in self.services:
            enable = ENABLE.format(project=self._options.project)
            raise ProgramError(f"Terraform needs {BEFORE} before anything else. Run: {enable}")

    def _images(self, entry: Entry) -> None:
        digests: dict[str, Any] = {}
        options = self._options
        for name in IMAGES:
            try:
                summary = self._programs.run(gcloud_commands.image(options, name)).json["image_summary"]
            except ProgramError as error:
                build = f"docker/build standard {options.image_tag} {options.image_repository}"
                raise ProgramError(
                    f"The image {name}:{options.image_tag} is not there. Run: {build}. {error}"
                ) from error
            digests[name] = summary["digest"]
        self._report.facts["images"] = {"repository": options.image_repository, "tag": options.image_tag, **digests}
        entry.found.update(digests)

    def _nothing_left(self, entry: Entry) -> None:
        found = leftovers(self._programs, self._options, ANY_PROOF, self.services, entry)
        if not found:
            return
        for left in found:
            entry.notes.append(f"left by an earlier proof, or one that runs now: {left['kind']} {left['name']}")
        if not self._options.despite_leftovers:
            entry.checks = found
            raise StepFailedError(
                f"Found {len(found)} leftovers of earlier proofs. Remove them "
                "(`python -m tests.prove --tear-down FOLDER`, or the commands below), or give --despite-leftovers."
            )
