"""`celldrop reproduce`: annotates a file again as a manifest says, and compares the bytes of the results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cli.catalogue import find_card
from cli.console import Exit, Output
from cli.embedded import open_embedded, result_folder
from cli.folders import missing
from cli.following import see_through, tell_end
from cli.running import Wanted, drop_of
from jobs.inference.data_manager import crc32c_of
from jobs.inference.outputs.manifest import FileFacts, Manifest, parse_manifest
from jobs.inference.outputs.model_facts import ModelFacts
from jobs.modeling.sources import open_source
from shared.domain.errors import InputDiffersError, ModelNotFoundError, NotAManifestError, SettingsError
from shared.domain.options import OFF, ON
from shared.domain.outputs import MANIFEST, OUTPUTS
from shared.settings import Settings
from shared.wiring.folders import alone, is_held

_PREFIX, _LOCK = ".reproduce-", ".lock"


class Outcome(StrEnum):
    """How a file of the new run compares with that of the first."""

    SAME = "same bytes"
    DIFFERENT = "different"
    MISSING = "missing"
    NOT_COMPARED = "not compared"
    """Its bytes depend on the time or the machine, or its checksum is not known."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One file of both results."""

    name: str
    outcome: Outcome


def reproduce(settings: Settings, told: Path, file: Path, *, models: Sequence[str], output: Output) -> Exit:
    """Annotate ``file`` once more with the manifest's model and options, in a home of its own, and compare the results.

    Args:
        told: A manifest, or the folder of a result.
        models: As ``--model``; without any, the manifest's bundles are looked for among the installed ones.

    Raises:
        NotAManifestError: There is no manifest of this version.
        InputDiffersError: The file is not the one that the manifest is about.
        CelldropError: The model is not there, or the file cannot be used.
    """
    before = read_manifest(told)
    check_input(before, file)
    wanted, *others = models or bundles_of(settings, before)
    options = asked_then(before)
    with _own_home(settings.home.resolve()) as folder:
        embedded = open_embedded(settings.model_copy(update={"home": folder}))
        try:
            drop = drop_of(embedded, file, model=wanted, wanted=Wanted(options, tuple(others)), rerun=False)
            stored = see_through(embedded, embedded.submit(drop).value.id, output)
            found = result_folder(embedded.layout, stored.value)
            if found is None:
                return tell_end(stored.value, None, output)
            again = read_manifest(found)
        finally:
            embedded.close()
    return _tell(before, again, output)


@contextmanager
def _own_home(home: Path) -> Iterator[Path]:
    """A folder of its own in the home, which is removed; with it, those of commands that were killed.

    Raises:
        SettingsError: The home cannot be written to.
    """
    folder = home / f"{_PREFIX}{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        for other in home.glob(f"{_PREFIX}*"):
            if not is_held(other / _LOCK):
                shutil.rmtree(other, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        raise SettingsError(
            f"the folder for results cannot be written to: {error.strerror}",
            where=str(home),
            hint="Choose another one with --out FOLDER.",
        ) from error
    try:
        with alone(folder / _LOCK, "celldrop"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def bundles_of(settings: Settings, told: Manifest) -> list[str]:
    """The names of the installed bundles that a manifest is about, that of the model itself first.

    Raises:
        ModelNotFoundError: There is none of a name and version, or it has another digest.
    """
    models = [told.model] if told.consensus is None else told.consensus.models
    return [_bundle_of(settings, model) for model in models]


def _bundle_of(settings: Settings, told: ModelFacts) -> str:
    reference = f"{told.name}@{told.version}"
    card = find_card(settings, reference, by_folder="celldrop reproduce MANIFEST FILE --model FOLDER")
    if card.digest != told.digest:
        raise ModelNotFoundError(
            f"{reference} is another bundle than then: its digest is {card.digest}",
            expected=told.digest,
            where=str(settings.models_dir),
            hint="Name the folder of each bundle that was used, in the same order: --model FOLDER.",
        )
    return reference


def asked_then(told: Manifest) -> dict[str, str]:
    """The options that give the same results whatever the defaults are now. The number of tasks does not matter."""
    used = told.options
    # A threshold that was not asked for is each model's own, and would be asked of all of them here.
    as_asked = {"matrix", "tasks", "truth", "min_score"}
    options = {key: value for key, value in used.requested.items() if key in as_asked}
    options |= {
        "top_k": str(used.top_k),
        "scores": used.scores,
        "map": _on(wanted=used.map),
        "composition": _on(wanted=used.composition),
        "pseudobulk": used.pseudobulk,
        "max_error": str(used.max_error),
        "clusters": used.clusters,
        "cas": _on(wanted=used.cas),
        "orthologues": _on(wanted=used.orthologues),
    }
    if used.samples is not None:
        options["samples"] = used.samples
    return options


def _on(*, wanted: bool) -> str:
    return ON if wanted else OFF


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, or that of a folder of results.

    Raises:
        NotAManifestError: There is none, or it is of another version.
    """
    place = path / MANIFEST.name if path.is_dir() else path
    try:
        return parse_manifest(place.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is of another version, or no manifest at all"
        raise NotAManifestError(
            f"no manifest of a result: {reason}",
            expected=f"{MANIFEST.name} of a result, or the folder that it is in",
            where=str(place),
        ) from error


def check_input(told: Manifest, file: Path) -> None:
    """Check that a file is the one that a manifest is about, as far as the manifest has its size and checksum.

    Raises:
        InputDiffersError: Its size or checksum is another.
        InputError: There is no such file.
    """
    if not file.is_file():
        raise missing(file)
    told_of = told.input
    with open_source(file) as source:
        compared = [(f"{source.size_bytes:,} bytes", f"{told_of.size_bytes:,} bytes")]
        if told_of.crc32c is not None:
            compared.append((f"the CRC32C {crc32c_of(source):08x}", f"the CRC32C {told_of.crc32c}"))
    for found, expected in compared:
        if found != expected:
            hint = f"Give the file that was annotated then: {told_of.name}."
            raise InputDiffersError(found, expected=expected, where=str(file), hint=hint)


def compare(before: Manifest, again: Manifest) -> Iterator[Compared]:
    """Compare the files of two results, those of the first in its order."""
    fixed = {output.name for output in OUTPUTS if output.same_bytes}
    theirs: dict[str, FileFacts] = {one.name: one for one in again.files}
    for one in before.files:
        other = theirs.get(one.name)
        if one.name not in fixed:
            outcome = Outcome.NOT_COMPARED
        elif other is None:
            outcome = Outcome.MISSING
        elif None in {one.crc32c, other.crc32c}:
            outcome = Outcome.NOT_COMPARED
        else:
            same = (one.size_bytes, one.crc32c) == (other.size_bytes, other.crc32c)
            outcome = Outcome.SAME if same else Outcome.DIFFERENT
        yield Compared(one.name, outcome)


def differences(before: Manifest, again: Manifest) -> Iterator[str]:
    """What differs between two runs that may explain different bytes."""
    if before.model.digest != again.model.digest:
        yield (
            f"the model: {before.model.name}@{before.model.version} ({before.model.digest[:12]}…) and "
            f"{again.model.name}@{again.model.version} ({again.model.digest[:12]}…)"
        )
    for name in sorted(before.software.keys() | again.software.keys()):
        first, second = before.software.get(name, "none"), again.software.get(name, "none")
        if first != second:
            yield f"{name}: {first} and {second}"
    if before.devices != again.devices:
        yield f"devices: {_devices(before)} and {_devices(again)}"


def _devices(told: Manifest) -> str:
    return "; ".join(", ".join(f"{key} {value}" for key, value in one.items()) for one in told.devices) or "not told"


def _tell(before: Manifest, again: Manifest, output: Output) -> Exit:
    compared, differs = list(compare(before, again)), list(differences(before, again))
    wrong = [one.name for one in compared if one.outcome in {Outcome.DIFFERENT, Outcome.MISSING}]
    output.result(
        {
            "reproduced": not wrong,
            "files": {one.name: one.outcome for one in compared},
            "differences": differs,
            "model": f"{again.model.name}@{again.model.version}",
        }
    )
    output.say()
    output.table(["file", "again"], [[one.name, one.outcome] for one in compared])
    if wrong:
        output.say(f"Not reproduced: {', '.join(wrong)}.", style="bold red")
    else:
        output.say("Reproduced: every file whose bytes do not depend on time has the same bytes.", style="bold green")
    for difference in differs:
        output.say(f"  between the runs differ  {difference}")
    return Exit.DIFFERENT if wrong else Exit.DONE
