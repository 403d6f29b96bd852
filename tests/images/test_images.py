"""What an image is: its user, its contents, its size."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared.h5ad.read.filters import ALLOWED, PLUGINS
from tests.images.containers import CUDA, FUNCTIONS, INFERENCE, Containers, podman, require_image
from tests.images.locks import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

PROBE = Path(__file__).with_name("probe.py")
MOST_BYTES = {FUNCTIONS: 450e6, INFERENCE: 1.2e9, CUDA: 7.5e9}
Facts = dict[str, Any]


@pytest.fixture(params=[FUNCTIONS, INFERENCE, CUDA])
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    require_image(name)
    return name


@pytest.fixture(scope="module")
def probe(engine: Containers) -> Callable[[str], Facts]:
    """Looks an image through, once."""

    @cache
    def look(name: str) -> Facts:
        done = engine.python(name, PROBE)
        assert (done.returncode, done.stderr) == (0, "")
        found: Facts = json.loads(done.stdout)
        return found

    return look


@pytest.fixture
def facts(image: str, probe: Callable[[str], Facts]) -> Facts:
    return probe(image)


def test_its_user_is_not_root_and_can_write_nowhere_but_in_tmp(facts: Facts) -> None:
    assert facts["ids"] == [10001, 10001]
    assert facts["writable"] == ["/tmp"]
    assert facts["scratch"].startswith("/tmp/")


def test_nothing_is_left_of_how_it_was_built(facts: Facts) -> None:
    assert facts["tools"] == facts["builders"] == facts["leftovers"] == []


def test_what_it_loads_is_compiled(facts: Facts) -> None:
    assert facts["uncompiled"] == []


def test_it_decodes_the_filters_that_files_may_use_and_knows_no_other_plugins(facts: Facts) -> None:
    assert facts["plugins"] == sorted(PLUGINS.values())
    assert {*facts["decoded"], "shuffle", "fletcher32", "scale-offset"} == set(ALLOWED.values())


def test_it_is_no_larger_than_promised(image: str) -> None:
    assert int(podman("image", "inspect", "--format", "{{.Size}}", image).stdout) <= MOST_BYTES[image]


def test_it_is_labelled(image: str) -> None:
    labels = json.loads(podman("image", "inspect", "--format", "{{json .Labels}}", image).stdout)
    assert labels["org.opencontainers.image.title"] == image
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]


def test_the_functions_image_wants_to_know_which(engine: Containers) -> None:
    require_image(FUNCTIONS)
    done = engine.run(FUNCTIONS)
    assert done.returncode == 64
    assert "expected one of: ingest dispatch status reconcile" in done.stderr


def test_a_task_that_nobody_describes_says_so(engine: Containers) -> None:
    require_image(INFERENCE)
    done = engine.run(INFERENCE)
    assert done.returncode != 0
    assert "CLOUD_RUN_TASK_INDEX" in done.stderr
