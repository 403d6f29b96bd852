"""The Terraform module agrees with the code: settings, indexes, rights, names, words of Google's own."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest
from google.cloud.firestore_admin_v1.types import Database, Index
from google.cloud.run_v2 import ExecutionEnvironment, IngressTraffic, VpcAccess

from shared.settings import ENV_FILE, PushAuth, Settings, StatusAuth
from tools import firestore_indexes
from tools.deployment_docs import FLAVORS, MODULE, RIGHTS, WORKERS, Right, outputs, variables

HCL = {path.name: path.read_text() for path in sorted(MODULE.glob("*.tf"))}
ALL = "\n".join(HCL.values())
TESTS = "\n".join(path.read_text() for path in sorted((MODULE / "tests").glob("*.tftest.hcl")))
PARTS = ("ingest", "dispatch", "status", "reconcile", "task", "push", "trigger", "schedule")
OURS = re.compile(r"_(bucket|topic|job)$|^(backend|project|region|firestore_database|allowed_buckets|record_days)$")
"""Settings that name what the module makes."""


def settings_set() -> dict[str, str]:
    """Variable to its expression, in ``own_environment``."""
    return dict(re.findall(r"\b(CELLDROP_[A-Z_]+) += (.*?)(?: })?$", HCL["main.tf"], re.MULTILINE))


def test_the_indexes_are_those_that_the_code_needs() -> None:
    assert firestore_indexes.FILE.read_text() == firestore_indexes.content(), "run `make docs`"


def test_terraform_reads_that_very_file() -> None:
    path = re.search(r'jsondecode\(file\("\$\{path\.module}/(.*?)"\)\)', HCL["firestore.tf"])
    assert path is not None
    assert (MODULE / path.group(1)).resolve() == firestore_indexes.FILE


def test_every_setting_of_the_module_is_one() -> None:
    known = {f"CELLDROP_{name.upper()}" for name in Settings.model_fields} | {ENV_FILE}
    assert settings_set().keys() <= known


def test_every_setting_that_names_a_part_is_set() -> None:
    named = {f"CELLDROP_{name.upper()}" for name in Settings.model_fields if OURS.search(name)}
    assert named <= settings_set().keys()


def test_whoever_may_call_is_checked_by_cloud_run_alone() -> None:
    found = settings_set()
    assert found["CELLDROP_PUSH_AUTH"] == f'"{PushAuth.PLATFORM}"'
    assert found["CELLDROP_STATUS_AUTH"] == f'"{StatusAuth.PLATFORM}"'
    assert not re.search(r"allUsers|allAuthenticatedUsers|invoker_iam_disabled", ALL.replace("never allUsers", ""))


def granted() -> set[tuple[str, str]]:
    """Part and role of every grant to a part."""
    lists = re.findall(r'part = "(\w+)", role = "([\w./]+)"', ALL)
    workers = re.findall(r'local\.workers *: \{ part = part, role = "([\w./]+)"', ALL)
    mounted = ["roles/secretmanager.secretAccessor"]  # By account, not by part.
    return {*lists, *((part, role) for part in WORKERS for role in [*workers, *mounted])}


def test_every_right_of_a_part_is_told_with_its_reason() -> None:
    told = {(right.who, right.role) for right in RIGHTS if right.who in PARTS}
    on_accounts = {("status", "roles/iam.serviceAccountTokenCreator")}
    on_accounts |= {(part, "roles/iam.serviceAccountUser") for part in ("dispatch", "reconcile")}
    assert granted() | on_accounts == told


def test_no_role_is_granted_that_the_page_does_not_name() -> None:
    assert set(re.findall(r"roles/[\w.]+", ALL)) == {right.role for right in RIGHTS}


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: f"{right.who} {right.role}")
def test_no_right_is_one_to_change_rights_or_code(right: Right) -> None:
    assert not re.search(r"admin|owner|editor|developer", right.role, re.IGNORECASE)


def test_every_variable_is_tried() -> None:
    names = {name.strip("`") for name, *_ in variables()}
    assert {name for name in names if not re.search(rf"\b{name} *= ", TESTS)} == {"labels"}


def test_every_variable_and_output_says_what_it_is() -> None:
    assert all(meaning.endswith(".") for *_, meaning in [*variables(), *outputs()])


def test_every_flavor_is_tried() -> None:
    flavors = {path.stem for path in FLAVORS.glob("*.json")} - {"flavor.schema", "default"}
    assert all(f'flavor = "{name}"' in TESTS for name in flavors)


def test_the_provider_is_pinned() -> None:
    assert re.search(r'source +=\s"hashicorp/google"\s+version = "~> 6\.50"', HCL["versions.tf"])


def words(attribute: str) -> set[str]:
    """The words in capitals that stand in the expressions of an attribute."""
    lines = re.findall(rf"^ +{attribute} += (.*)$", ALL, re.MULTILINE)
    return {word for line in lines for word in re.findall(r'"([A-Z][A-Z0-9_]+)"', line)}


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        (("execution_environment",), ExecutionEnvironment),
        (("ingest", "dispatch", "reconcile", "status"), IngressTraffic),
        (("egress",), VpcAccess.VpcEgress),
        (("type",), Database.DatabaseType),
        (("concurrency_mode",), Database.ConcurrencyMode),
        (("app_engine_integration_mode",), Database.AppEngineIntegrationMode),
        (("point_in_time_recovery_enablement",), Database.PointInTimeRecoveryEnablement),
        (("delete_protection_state",), Database.DeleteProtectionState),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_word_that_terraform_cannot_check_is_one_of_googles(attributes: tuple[str, ...], kind: type[Enum]) -> None:
    found = set[str]().union(*(words(attribute) for attribute in attributes))
    assert found
    assert found <= set(kind.__members__)


def test_the_words_of_the_indexes_are_googles() -> None:
    indexes = firestore_indexes.content()
    assert set(re.findall(r'"order": "(\w+)"', indexes)) <= set(Index.IndexField.Order.__members__)
    assert set(re.findall(r'"queryScope": "(\w+)"', indexes)) <= set(Index.QueryScope.__members__)


def test_the_module_lies_beside_what_it_reads() -> None:
    read = re.findall(r'file(?:exists)?\("\$\{path\.module}/(\.\./[\w.-]+)', ALL)
    assert read
    assert all((MODULE / Path(path)).exists() for path in read)
