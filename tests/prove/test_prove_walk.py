"""A proof with stand-ins for gcloud and terraform is torn down whatever happens, and its report has no secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.prove import fake_programs, markdown
from tests.prove.options import ROOT

STEPS = ("preflight", "plan", "apply", "upload", "doctor", "ready", "suite", "faults", "evidence", "tear-down")
LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Proof:
    """How one ended."""

    status: int
    said: str
    folder: Path
    lines: list[str]

    @property
    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return document

    @property
    def results(self) -> dict[str, str]:
        return {step["name"]: step["result"] for step in self.report["steps"]}

    def problems(self, name: str) -> str:
        return "; ".join(next(step["problems"] for step in self.report["steps"] if step["name"] == name))

    @property
    def destroyed(self) -> int:
        return len([line for line in self.lines if line.startswith("terraform destroy ")])


class Bench:
    """Starts proofs of a project that there is not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.scenario = folder / "scenario"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("gcloud", "terraform", "python"):
            program = self.bin / name
            program.write_text(f"#!{sys.executable} -SE\n{Path(fake_programs.__file__).read_text()}")
            program.chmod(0o755)

    def start(self, *arguments: str, **scenario: Any) -> subprocess.Popen[str]:
        self.scenario.write_text(json.dumps(scenario))
        return subprocess.Popen(
            [sys.executable, "-m", "tests.prove", *arguments, "--out", str(self.out)],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "FAKE_SCENARIO": str(self.scenario),
                "CELLDROP_PROVE_PAUSE_S": "0",
                "PYTHONPATH": str(ROOT),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def prove(self, *arguments: str, **scenario: Any) -> Proof:
        return self.ended(self.start(*self.project(*arguments), **scenario))

    def project(self, *arguments: str) -> list[str]:
        return ["--project", "lab-7", "--image-tag", "abc", "--python", str(self.bin / "python"), *arguments]

    def ended(self, process: subprocess.Popen[str]) -> Proof:
        said, _ = process.communicate(timeout=LIMIT_S)
        lines = self.folder / "lines"
        done = lines.read_text().splitlines() if lines.exists() else []
        folders = list(self.out.iterdir()) if self.out.exists() else [self.out]
        return Proof(process.returncode, said, folders[0], done)

    def wait_until_it_hangs(self) -> None:
        last_s = time.monotonic() + LIMIT_S
        while not (self.folder / "hanging").exists():
            assert time.monotonic() < last_s
            time.sleep(0.01)


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """One in which nothing goes wrong."""
    return Bench(tmp_path_factory.mktemp("passed")).prove()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_proof_goes_through_every_step_and_leaves_nothing(passed: Proof) -> None:
    proof = passed
    assert proof.results == dict.fromkeys(STEPS, "passed"), proof.said
    assert proof.status == 0
    assert proof.destroyed == 1
    assert proof.report["proved"]
    assert proof.report["left_behind"] == []
    order = [proof.lines.index(next(line for line in proof.lines if line.startswith(start))) for start in ORDER]
    assert order == sorted(order)


ORDER = (
    "gcloud version",
    "terraform init",
    "terraform plan",
    "terraform show",
    "terraform apply",
    "terraform output",
    "gcloud storage cp",
    "python -m cli.main doctor",
    "python -m tests.prove.faults",
    "python -m pytest",
    "gcloud run jobs executions list",
    "terraform destroy",
)


def test_the_report_has_versions_images_commit_bill_answers_and_every_program(passed: Proof) -> None:
    proof, report = passed, passed.report
    assert report["versions"] == {"terraform": "1.11.4", "gcloud": "528.0.0", "registry/hashicorp/google": "6.50.0"}
    assert report["images"]["celldrop-functions"] == "sha256:0123"
    assert len(report["commit"]) == 40
    assert 0 < report["forecast"]["usd"] < 1
    assert 0 < report["counted"]["usd"] < report["forecast"]["usd"]
    evidence = next(step for step in report["steps"] if step["name"] == "evidence")
    assert evidence["found"]["seconds_from_creation_to_start"] == {"median": 5.0, "most": 5.0}
    assert [(row["status"], row["requests"]) for row in evidence["checks"]] == [("503", "1"), ("204", "2")]
    assert len(report["programs"]) == len(proof.lines)
    faults = next(step for step in report["steps"] if step["name"] == "faults")
    assert faults["found"]["customer-key"] == {"answer": "[removed]", "quota": "lab-7"}
    page = (proof.folder / "report.md").read_text()
    assert page.startswith("# Proof of a deployment: Google Cloud, everything passed\n")
    assert all(f"| {step} | passed |" in page for step in STEPS)
    assert report["tests_skipped"] == 0
    assert ", everything passed, 2 tests of the suite skipped\n" in markdown.page({**report, "tests_skipped": 2})


def test_no_secret_and_no_address_is_written_anywhere(bench: Bench) -> None:
    proof = bench.prove(fails="logging read", doctor="wrong")
    kept = {path: path.read_text() for path in proof.folder.rglob("*") if path.is_file()}
    secrets = (fake_programs.TOKEN, fake_programs.JWT)
    assert [path for path, text in kept.items() if any(secret in text for secret in secrets)] == []
    reports = [text for path, text in kept.items() if path.name.startswith("report.") or path.parent.name == "logs"]
    assert len(reports) > 30
    assert not any(fake_programs.ACCOUNT in text for text in reports)
    assert "[account] has [removed]" in proof.problems("evidence")


FAILING = {
    "preflight": "artifacts docker",
    "plan": "^terraform plan",
    "apply": "^terraform apply",
    "upload": "storage cp",
    "doctor": "cli.main doctor",
    "ready": "--only first drop",
    "suite": "-m pytest ",
    "faults": "prove.faults .*out/[^ ]* --out",
    "evidence": "executions list",
}
NEEDED = ("preflight", "plan", "apply", "upload", "ready")


OFTEN = ("preflight", "plan", "apply", "suite", "faults")
"""One of each kind: the others fail in the same way, and have their turn with the exhaustive tests."""


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=[] if step in OFTEN else [pytest.mark.exhaustive]) for step in FAILING]
)
def test_whichever_step_fails_what_was_made_is_removed(bench: Bench, step: str) -> None:
    proof = bench.prove(fails=FAILING[step])
    assert proof.status == 1
    assert proof.results[step] == "failed", proof.said
    assert proof.results["tear-down"] == "passed"
    after = STEPS[STEPS.index(step) + 1 : -1]
    assert {proof.results[name] for name in after} <= ({"skipped"} if step in NEEDED else {"passed"})
    assert proof.destroyed == (0 if step in ("preflight", "plan") else 1)


@pytest.mark.parametrize("broken", [{"suite": True}, {"doctor": "wrong"}, {"fault": "differs"}], ids=str)
def test_what_does_not_hold_fails_the_proof(bench: Bench, broken: dict[str, Any]) -> None:
    proof = bench.prove(**broken)
    assert proof.status == 1
    assert proof.destroyed == 1
    assert not proof.report["proved"]


def test_the_report_names_what_differs_from_the_docs_at_its_top(bench: Bench) -> None:
    proof = bench.prove(fault="differs")
    assert proof.report["differs_from_the_docs"] == ["customer-key"]
    assert '| differs_from_the_docs | ["customer-key"] |' in (proof.folder / "report.md").read_text()


def test_an_apply_that_google_is_not_ready_for_is_planned_and_tried_again(bench: Bench) -> None:
    proof = bench.prove(fails="^terraform apply", times=2)
    assert proof.status == 0, proof.said
    assert [line.split()[1] for line in proof.lines if line.startswith("terraform ")][3:10] == [
        *("plan", "show", "apply"),
        *("plan", "show", "apply"),
        "plan",
    ]


def test_a_plan_that_changes_what_is_there_is_not_applied(bench: Bench) -> None:
    proof = bench.prove(action=["delete", "create"])
    assert "google_pubsub_topic.x: delete, create" in proof.problems("plan")
    assert not any(line.startswith("terraform apply") for line in proof.lines)


def test_a_forecast_above_the_budget_is_refused_before_anything_is_asked(bench: Bench) -> None:
    proof = bench.prove("--budget-usd", "0.01")
    assert proof.status == 1
    assert proof.lines == []
    assert "expected at most 0.01" in proof.problems("preflight")


def test_a_project_without_billing_is_refused_with_the_command_that_links_it(bench: Bench) -> None:
    proof = bench.prove(billing=False)
    assert "gcloud billing projects link lab-7" in proof.problems("preflight")
    assert not any(line.startswith("terraform init") for line in proof.lines)


def test_what_an_earlier_proof_left_is_refused_with_the_commands_that_remove_it(bench: Bench) -> None:
    before = {"storage buckets list": [{"name": "prove-0101-0000-beef-inbox-lab-7"}, {"name": "celldrop-inbox"}]}
    proof = bench.prove(before=before)
    assert proof.status == 1
    [check] = proof.report["steps"][0]["checks"]
    remove = "gcloud storage rm --recursive gs://prove-0101-0000-beef-inbox-lab-7 --project=lab-7 --quiet"
    assert check["remove"] == remove
    assert not any(line.startswith("terraform init") for line in proof.lines)


def test_what_is_left_after_the_tear_down_is_named_and_fails_the_proof(bench: Bench) -> None:
    prefix = json.dumps({"name": "projects/lab-7/topics/eventarc-PREFIX-inbox-7"})
    process = bench.start(*bench.project(), hangs="^terraform destroy")
    bench.wait_until_it_hangs()
    [folder] = bench.out.iterdir()
    own = folder.name[len("2026-11-29-") :]
    left = {"pubsub topics list": [json.loads(prefix.replace("PREFIX", own))]}
    bench.scenario.write_text(json.dumps({"left": left}))
    (hanging,) = [pid for pid in children(process.pid) if "destroy" in command_of(pid)]
    os.kill(hanging, signal.SIGTERM)
    proof = bench.ended(process)
    assert proof.status == 1
    [found] = proof.report["left_behind"]
    assert found["remove"] == f"gcloud pubsub topics delete eventarc-{own}-inbox-7 --project=lab-7 --quiet"
    assert f"`{found['remove']}`" in (proof.folder / "report.md").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_step_and_everything_is_removed(bench: Bench, number: signal.Signals) -> None:
    process = bench.start(*bench.project(), hangs="^terraform apply")
    bench.wait_until_it_hangs()
    process.send_signal(number)
    proof = bench.ended(process)
    assert proof.status == 1
    assert proof.results["apply"] == "stopped"
    assert proof.results["suite"] == "skipped"
    assert any(line.startswith("interrupted terraform apply") for line in proof.lines)
    assert proof.destroyed == 1
    assert proof.problems("apply") == f"{number.name} was received"


def test_a_second_signal_does_not_skip_the_tear_down_and_says_how_it_is_done_by_hand(bench: Bench) -> None:
    process = bench.start(*bench.project(), hangs="^terraform destroy")
    bench.wait_until_it_hangs()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    said = ""
    while "by hand" not in said:
        said += process.stdout.readline()
    assert "python -m tests.prove --tear-down" in said
    bench.scenario.write_text("{}")
    (hanging,) = [pid for pid in children(process.pid) if "destroy" in command_of(pid)]
    os.kill(hanging, signal.SIGKILL)
    proof = bench.ended(process)
    assert proof.results["tear-down"] == "passed"
    assert proof.destroyed == 2


def test_who_stops_reading_keeps_nothing_from_being_removed(bench: Bench) -> None:
    process = bench.start(*bench.project(), hangs="^terraform apply")
    bench.wait_until_it_hangs()
    assert process.stdout is not None
    process.stdout.close()
    process.terminate()
    process.wait(LIMIT_S)
    assert "terraform destroy" in (bench.folder / "lines").read_text()
    [folder] = bench.out.iterdir()
    assert '"name": "tear-down"' in (folder / "report.json").read_text()


def test_the_time_limit_stops_the_step_and_everything_is_removed(bench: Bench) -> None:
    proof = bench.prove("--limit-minutes", "0.1", hangs="^terraform apply")
    [stopped] = [step for step, result in proof.results.items() if result == "stopped"]
    assert "limit of 0.1 minutes" in proof.problems(stopped)
    # On a machine that is slow beyond measure the limit may come before the apply.
    assert proof.destroyed == (1 if stopped == "apply" else 0)


def test_a_deployment_is_kept_where_that_is_asked_for_and_removed_later(bench: Bench) -> None:
    proof = bench.prove("--keep")
    assert (proof.status, proof.destroyed) == (0, 0)
    assert "--tear-down" in "".join(proof.report["steps"][-1]["notes"])
    later = bench.ended(bench.start("--tear-down", str(proof.folder)))
    assert (later.status, later.destroyed) == (0, 1)
    assert "everything passed" in (proof.folder / "tear-down.md").read_text()
    assert "--tear-down" in (proof.folder / "report.md").read_text().partition("## Left behind")[2]


def test_what_a_killed_proof_left_is_removed_by_its_folder(bench: Bench) -> None:
    process = bench.start(*bench.project(), hangs="-m pytest ")
    bench.wait_until_it_hangs()
    process.kill()
    killed = bench.ended(process)
    for pid in [pid for pid in all_processes() if str(bench.bin) in command_of(pid)]:
        os.kill(pid, signal.SIGKILL)
    assert killed.destroyed == 0
    assert not killed.report["proved"]
    later = bench.ended(bench.start("--tear-down", str(killed.folder)))
    assert (later.status, later.destroyed) == (0, 1)


@pytest.mark.parametrize(
    "arguments", [[], ["--local", "--project", "lab-7"], ["--local", "--keep"], ["--tear-down", "nowhere"]], ids=str
)
def test_what_cannot_be_meant_is_refused(bench: Bench, arguments: list[str]) -> None:
    proof = bench.ended(bench.start(*arguments))
    assert proof.status == 2
    assert "expected" in proof.said


def all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def children(parent: int) -> list[int]:
    found = []
    for pid in all_processes():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(pid)
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
