"""Every gcloud command that is written in a page, a script or a workflow is one that the real gcloud takes."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.gcloud.gcloud import refusals
from tests.gcloud.written import ROOT, Written, commands_in_file, written_commands


def refused(written: list[Written], folder: Path) -> list[str]:
    said = refusals((shlex.join(one.words) for one in written), folder)
    wrong = []
    for one in written:
        command = shlex.join(one.words)
        words = said.get(command, "")
        named = one.in_prose and words.startswith(f"Usage: {command} ")
        if words and not named:
            wrong.append(f"{one.path}: {command}\n{words}")
    return wrong


def test_every_command_that_is_written_is_one_that_gcloud_takes(tmp_path: Path) -> None:
    written = list(written_commands(ROOT, "gcloud"))
    assert {"docs/how-to/operate.md", ".github/workflows/deploy-workflow.yml"} <= {one.path for one in written}
    assert not refused(written, tmp_path)


PAGE = """\
Say `gcloud storage cp`, or `gcloud storage copy`.

```sh
# Don't: gcloud run jobs nonsense
gcloud pubsub topics create events --colour=red >/dev/null && gcloud pubsub topics create events
NUMBER=$(gcloud projects descrive lab)
gcloud projects add-iam-policy-binding lab --role=roles/viewer \\
  --member="user:$(gcloud config fetch account)"
```
"""


def test_what_gcloud_does_not_take_would_be_noticed_wherever_it_stands(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nif ! gcloud run service list; then exit 1; fi\n")
    workflow = tmp_path / "work.yml"
    workflow.write_text("jobs:\n  one:\n    steps:\n      - run: |\n          gcloud artifacts image list | cat\n")
    module = tmp_path / "outputs.tf"
    module.write_text('value = "gcloud storage cpp a gs://${google_storage_bucket.b["x"].name}/"\n')
    written = [
        one
        for path in (page, script, workflow, module)
        for one in commands_in_file(path, path.name)
        if one.words[0] == "gcloud"
    ]
    said = refused(written, tmp_path)
    assert sorted(one.partition("\n")[0] for one in said) == [
        "outputs.tf: gcloud storage cpp a gs://name-1/",
        "page.md: gcloud config fetch account",
        "page.md: gcloud projects descrive lab",
        "page.md: gcloud pubsub topics create events --colour=red",
        "page.md: gcloud storage copy",
        "script: gcloud run service list",
        "work.yml: gcloud artifacts image list",
    ]
