"""Loopback is open to every user of a machine: only who has the home's key is answered."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.test import Client

from cli.home_key import HomeKey
from cli.serving import loopback_app
from shared.domain.errors import SettingsError
from tests.status.world import World


@pytest.fixture
def key(tmp_path: Path) -> HomeKey:
    return HomeKey.of(tmp_path)


@pytest.fixture
def stranger(key: HomeKey) -> Client:
    return Client(loopback_app(World().service, key))


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = HomeKey.of(tmp_path)
    assert HomeKey.of(tmp_path).secret == made.secret
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    made.path.chmod(0o644)
    HomeKey.of(tmp_path)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600


def test_an_empty_key_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "http-key").touch()
    assert len(HomeKey.of(tmp_path).secret) >= 32


PLACED: dict[str, Callable[[Path, Path], object]] = {
    "pipe": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "link": lambda path, elsewhere: path.symlink_to(elsewhere),
    "dangling": lambda path, _: path.symlink_to("nowhere"),
    "circle": lambda path, _: path.symlink_to(path),
    "bytes": lambda path, _: path.write_bytes(b"\xff\xfe"),
    "words": lambda path, _: path.write_text("two words\n"),
}


@pytest.mark.parametrize("place", PLACED.values(), ids=PLACED.keys())
def test_what_is_no_file_of_a_key_is_refused_and_left_alone(
    tmp_path: Path, place: Callable[[Path, Path], object]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("secret\n")
    elsewhere.chmod(0o644)
    place(tmp_path / "http-key", elsewhere)
    with pytest.raises(SettingsError) as caught:
        HomeKey.of(tmp_path)
    assert (caught.value.where, bool(caught.value.hint)) == (str(tmp_path / "http-key"), True)
    assert (elsewhere.read_text(), stat.S_IMODE(elsewhere.stat().st_mode)) == ("secret\n", 0o644)


@pytest.mark.parametrize("path", ["/", "/v1/submissions", "/v1/submissions/x:cancel", "/assetsx", "/nope"])
@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "Bearer guess", "Basic eDp5", "Bearer \u00e9"])
def test_a_stranger_learns_nothing(stranger: Client, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for query in ("", "?key=", "?key=guess"):
        assert stranger.get(path + query, headers=headers).status_code == 401
    assert stranger.post(path, headers=headers).status_code == 401


def test_the_page_that_refuses_looks_as_the_others_do(stranger: Client) -> None:
    refused = stranger.get("/", headers={"Accept": "text/html"})
    assert refused.status_code == 401
    sheets = re.findall(r'<link rel="stylesheet" href="([^"]+)"', refused.text)
    assert sheets
    assert [stranger.get(sheet).status_code for sheet in sheets] == [200] * len(sheets)
    assert stranger.get("/assets/../v1/submissions").status_code in {401, 404}


def test_whether_it_serves_is_for_everybody_to_know(stranger: Client) -> None:
    assert stranger.get("/healthz").status_code == 200


def test_a_program_sends_the_key_in_a_header(stranger: Client, key: HomeKey) -> None:
    response = stranger.get("/v1/submissions", headers={"Authorization": f"Bearer {key.secret}"})
    assert response.status_code == 200


def test_the_first_link_leaves_a_cookie_and_no_key_in_the_address(stranger: Client, key: HomeKey) -> None:
    response = stranger.get(f"/?key={key.secret}")
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = stranger.get("/")
    assert page.status_code == 200
    assert key.secret not in page.get_data(as_text=True)


def test_one_serves_cookie_opens_no_other_port(stranger: Client, key: HomeKey) -> None:
    stranger.get(f"/?key={key.secret}", base_url="http://localhost:1000/")
    assert stranger.get("/", base_url="http://localhost:1000/").status_code == 200
    assert stranger.get("/", base_url="http://localhost:2000/").status_code == 401
