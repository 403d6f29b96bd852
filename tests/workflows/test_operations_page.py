"""The operations guide says what the workflows and the module take: every name in it is one of theirs."""

from __future__ import annotations

import re

from tests.gcloud.written import ROOT, Written, shell_blocks, written_commands
from tests.workflows.workflows import CALLED, MODULE, PAGE, inputs, module_variables, text_of, workflow


def on_the_page(program: str) -> list[tuple[str, ...]]:
    return [one.words for one in written_commands(ROOT, program) if one.path == "docs/how-to/operate.md"]


def everywhere(program: str) -> list[Written]:
    return list(written_commands(ROOT, program))


def test_the_workflows_are_run_with_inputs_that_they_have() -> None:
    lines = [one.words for one in everywhere("gh") if one.words[1:3] == ("workflow", "run")]
    assert {words[3] for words in lines} == {f"{name}.yml" for name in CALLED}
    for words in lines:
        assert set(words[4::2]) == {"-f"}
        given = {word.partition("=")[0] for word in words[5::2]}
        assert given <= inputs(words[3].removesuffix(".yml"), "workflow_dispatch").keys()


def test_the_first_lines_of_a_workflow_show_how_to_run_it() -> None:
    for name in CALLED:
        shown = re.search(rf"^#   gh workflow run {name}\.yml (.*)$", text_of(name), re.MULTILINE)
        assert shown is not None
        given = re.findall(r"-f ([\w-]+)=", shown[1])
        assert given
        assert set(given) <= inputs(name, "workflow_dispatch").keys()


def test_every_input_is_explained() -> None:
    page = PAGE.read_text()
    for name in CALLED:
        assert [key for key in inputs(name, "workflow_dispatch") if f"`{key}`" not in page] == []


def test_the_page_sets_every_variable_that_the_workflows_read() -> None:
    read = {name for workflow in CALLED for name in re.findall(r"\bvars\.(\w+)", text_of(workflow))}
    assert read == {words[3] for words in on_the_page("gh") if words[1:3] == ("variable", "set")}


def test_every_variable_that_terraform_is_given_is_one_of_the_module() -> None:
    given = [
        words[n + 1].partition("=")[0]
        for words in on_the_page("terraform")
        for n, word in enumerate(words)
        if word == "-var"
    ]
    assert len(given) > 5
    assert set(given) <= module_variables()
    named = {
        "inbox_days",
        "results_days",
        "record_days",
        "protect_data",
        "monitoring",
        "billing_account",
        "monthly_budget",
    }
    assert named <= module_variables()


def test_everything_that_terraform_is_told_of_is_in_the_module() -> None:
    text = "\n".join(path.read_text() for path in MODULE.glob("*.tf"))
    for kind, name in re.findall(r"\b(google_\w+)\.(\w+)", PAGE.read_text()):
        assert f'resource "{kind}" "{name}"' in text


def test_every_service_that_the_module_needs_is_enabled_by_hand_too() -> None:
    enabled = {word for words in on_the_page("gcloud") if words[1:3] == ("services", "enable") for word in words[3:]}
    listed = re.search(
        r"^  services = concat\($(.*?)^  \)$", (MODULE / "main.tf").read_text(), re.MULTILINE | re.DOTALL
    )
    assert listed is not None
    needed = {f"{name}.googleapis.com" for name in re.findall(r'"([a-z]{3,})"', listed[1])}
    assert len(needed) > 10
    # These two are what the workflows themselves stand on.
    assert enabled == needed | {"serviceusage.googleapis.com", "sts.googleapis.com"}


def test_the_deployer_has_the_roles_that_the_module_asks_for() -> None:
    (loop,) = re.findall(r"for role in (.*?); do", "\n".join(shell_blocks(PAGE.read_text())), re.DOTALL)
    reference = (ROOT / "docs" / "reference" / "deployment.md").read_text()
    told = reference.partition("Whoever applies the module needs")[2].partition("`secretmanager.admin`")[0]
    assert set(loop.replace("\\", " ").split()) == set(re.findall(r"`([a-z]+\.\w+)`", told))


def test_a_run_is_named_after_what_it_does() -> None:
    for name in CALLED:
        assert workflow(name)["run-name"].startswith(("Images ${{", "Deploy ${{"))
