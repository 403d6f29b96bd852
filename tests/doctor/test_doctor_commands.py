"""The commands that doctor tells are ones that the real gcloud takes, and a shell reads as they are meant."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

from cli.doctor.commands import Commands
from shared.ports.survey import Caller, Part, Silence, Untold
from tests.doctor.broken import ALL_BROKEN
from tests.doctor.deployed import CALLER, MISSING, NOBODY, TOPICS, not_ok, settings, sound
from tests.gcloud.gcloud import refusals

SILENT = [
    replace(
        sound(),
        buckets=dict.fromkeys(sound().buckets, Untold(why)),
        holdings=dict.fromkeys(sound().holdings, Untold(why)),
        topics=dict.fromkeys(sound().topics, Untold(why)),
        subscriptions=dict.fromkeys(sound().subscriptions, Untold(why)),
        jobs=dict.fromkeys(sound().jobs, Untold(why)),
        rights=dict.fromkeys(sound().rights, frozenset()),
        notifications=Untold(why),
        model=Untold(why),
        database=Untold(why),
        lacking=Untold(why),
    )
    for why in Silence
]


def test_every_command_is_one_that_gcloud_takes(tmp_path: Path) -> None:
    lines = {
        line
        for found in (*SILENT, *(broken(sound()) for broken, *_ in ALL_BROKEN.values()))
        for check in not_ok(found).values()
        for line in check.run
    }
    assert len([line for line in lines if line.startswith("gcloud ")]) > 50
    assert all(line.startswith(("gcloud ", "echo ", "export ")) for line in lines)
    assert not refusals((line for line in lines if line.startswith("gcloud ")), tmp_path)


def test_what_gcloud_does_not_take_would_be_noticed(tmp_path: Path) -> None:
    wrong = "gcloud pubsub topics create events --colour=red"
    inner = '"--member=user:$(gcloud config fetch account)"'
    nested = f"gcloud pubsub topics add-iam-policy-binding events {inner} --role=roles/pubsub.publisher"
    assert set(refusals([wrong, nested], tmp_path)) == {wrong, "gcloud config fetch account"}


def test_names_that_mean_something_to_a_shell_are_quoted() -> None:
    commands = Commands(settings(firestore_database="it's $HOME", push_accounts="a b@example.org"), "lab-7", NOBODY)
    assert "--database=it's $HOME" in shlex.split(commands.create_database())
    assert "--push-auth-service-account=a b@example.org" in shlex.split(commands.create_push("jobs", "dispatch")[2])


def test_a_name_beside_a_command_that_the_shell_is_to_run_cannot_be_one_itself(tmp_path: Path) -> None:
    evil = '"; touch evil; "`touch evil`$(touch evil)'
    line = Commands(settings(region=evil), "lab-7", NOBODY).create_push("jobs", "dispatch")[2]
    # In gcloud's stead, something that writes down what it was given.
    stand_in = 'gcloud() { printf "%s\\n" "$@" >> given; }; '
    subprocess.run(["bash", "-c", stand_in + line], cwd=tmp_path, check=True)
    assert f"--region={evil}" in (tmp_path / "given").read_text().splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_a_service_account_is_given_rights_as_one() -> None:
    robot = replace(CALLER, is_user=False, email="ci@lab-7.iam.gserviceaccount.com")
    line = Commands(settings(), "lab-7", robot).let_caller(Part.JOB, "celldrop-cpu", "roles/run.viewer")
    assert "--member=serviceAccount:ci@lab-7.iam.gserviceaccount.com" in shlex.split(line)


def test_credentials_that_were_never_told_leave_it_to_gcloud() -> None:
    for caller in (MISSING, Caller("x")):
        line = Commands(settings(), "lab-7", caller).let_caller_in_project("roles/pubsub.viewer")
        assert shlex.split(line)[4] == "--member=user:$(gcloud config get account)"


def test_parts_are_called_as_the_jobs_are() -> None:
    commands = Commands(settings(cpu_job="lab-cells-cpu", push_accounts=""), "lab-7", CALLER)
    create = commands.create_push("jobs", "dispatch")[2]
    assert "gcloud run services describe lab-cells-dispatch " in create
    assert "--push-auth-service-account=lab-cells-push@lab-7.iam.gserviceaccount.com" in create


def test_every_topic_has_dead_letters_of_its_own() -> None:
    commands = Commands(settings(), "lab-7", CALLER)
    named = {commands.add_dead_letters(f"{topic}-push", topic)[0] for topic in TOPICS}
    assert len(named) == len(TOPICS)
