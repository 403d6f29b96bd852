"""`celldrop doctor`: checks this installation, and says what is wrong and how to fix it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import assert_never

from cli.console import Exit, Output
from cli.doctor.check import Check, Health
from cli.embedded import open_embedded
from shared.bundles.catalogue import list_models
from shared.domain.errors import CelldropError
from shared.domain.plan import Accelerator
from shared.settings import Backend, Settings

LEAST_FREE_BYTES = 2 * 2**30


def examine(settings: Settings, output: Output) -> Exit:
    """Run every check and print the results. The exit status is 0 unless something is wrong."""
    checks = list(_checks(settings))
    output.result({"checks": [asdict(check) for check in checks]})
    rows = [[check.health, check.name, check.found] for check in checks]
    output.table(["", "check", "found"], rows)
    for check in checks:
        if check.mend or check.run:
            output.say(f"{check.name}: {check.mend}")
        for command in check.run:
            output.say(f"    {command}")
    wrong = any(check.health is Health.WRONG for check in checks)
    return Exit.INTERNAL if wrong else Exit.DONE


def _checks(settings: Settings) -> Iterator[Check]:
    yield _python()
    match settings.backend:
        case Backend.LOCAL:
            yield from _embedded(settings)
        case Backend.GCP:
            from cli.doctor.cloud import examine_deployment  # not needed with the local backend

            yield from examine_deployment(settings)
        case _:
            assert_never(settings.backend)


def _embedded(settings: Settings) -> Iterator[Check]:
    yield from _libraries()
    yield from _guarded("device", _device)
    yield _home(settings.home)
    yield from _guarded("models", lambda: _models(settings))


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except CelldropError as error:
        yield Check(name, Health.WRONG, error.message, error.hint)


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info < (3, 11):  # noqa: UP036  # it may have been installed despite requires-python
        return Check("python", Health.WRONG, version, "Install Python 3.11 or newer, and run `make setup` again.")
    return Check("python", Health.OK, version)


def _libraries() -> Iterator[Check]:
    for name in ("torch", "h5py", "hdf5plugin", "pyarrow", "safetensors"):
        there = importlib.util.find_spec(name) is not None
        mend = "" if there else "Run `make setup`."
        yield Check(name, Health.OK if there else Health.WRONG, "installed" if there else "missing", mend)


def _device() -> Iterator[Check]:
    from jobs.engine.device import choose_device, describe_device

    device = choose_device(Accelerator.CPU)
    facts = describe_device(device)
    yield Check("device", Health.OK, ", ".join(f"{key} {value}" for key, value in facts.items()))


def _home(home: Path) -> Check:
    folder = home.resolve()
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        return Check("home", Health.WRONG, f"{place} is not writable", "Set CELLDROP_HOME or --home to another folder.")
    free = shutil.disk_usage(place).free
    found = f"{folder}, {free / 2**30:.1f} GiB free"
    if free < LEAST_FREE_BYTES:
        return Check("home", Health.WARNING, found, "Free some space: results are as large as their input.")
    return Check("home", Health.OK, found)


def _models(settings: Settings) -> Iterator[Check]:
    from jobs.inference.task.models import load_model

    embedded = open_embedded(settings)
    blobs = embedded.local.ports.blobs
    cards = list_models(blobs, settings.models_bucket)
    for card in cards:
        load_model(blobs, settings.models_bucket, f"{card.name}/{card.version}/", card.digest)
    names = ", ".join(card.reference for card in cards)
    if not cards:
        yield Check(
            "models",
            Health.WRONG,
            f"none in {settings.models_dir}",
            "Run `celldrop models search` and `add`, `celldrop models import` or `celldrop models train`.",
        )
    elif not any(card.name == settings.default_model.partition("@")[0] for card in cards):
        yield Check(
            "models",
            Health.WARNING,
            names,
            f"CELLDROP_DEFAULT_MODEL is {settings.default_model}, which is not among them: set it to another model.",
        )
    else:
        yield Check("models", Health.OK, f"{names}: intact, digests match their cards")
