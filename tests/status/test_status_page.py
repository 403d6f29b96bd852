"""The page: what it shows, that it escapes, and that it needs nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from functions.status import page
from functions.status.page import MOST_LABELS, Shown
from functions.status.views import submission_list, submission_view
from shared.domain.submission import FINAL_STATES, Requester, State
from shared.domain.verdict import Finding, Severity
from tests.status.world import FILES, World

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}&"


class Outline(HTMLParser):
    """Elements with their attributes, and the text."""

    VOID = frozenset({"meta", "link", "br", "rect", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def outline(client: FlaskClient, path: str) -> Outline:
    response = client.get(path)
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
    found = Outline(response.text)
    assert found.open == []
    return found


def links(found: Outline) -> list[str | None]:
    return [attributes.get("href") for attributes in found.all("a")]


def test_the_first_page_says_what_to_do(client: FlaskClient) -> None:
    assert "Drop an .h5ad file" in outline(client, "/").text


def test_the_list_links_to_every_submission(client: FlaskClient, world: World) -> None:
    ids = [world.queued(), world.running("b.h5ad"), world.succeeded("c.h5ad"), world.rejected(), world.failed("d.h5ad")]
    assert {f"/submissions/{found}" for found in ids} <= set(links(outline(client, "/")))


def test_the_list_shows_progress_and_labels(client: FlaskClient, world: World) -> None:
    world.progress(world.running("a.h5ad"), 1350)
    world.succeeded("b.h5ad")
    found = outline(client, "/")
    assert [attributes["value"] for attributes in found.all("progress")] == ["50.0"]
    assert "CD4 T cell 44%" in " ".join(found.text.split())


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("all", ["refused.h5ad", "done.h5ad", "open.h5ad"]),
        ("open", ["open.h5ad"]),
        ("done", ["done.h5ad"]),
        ("without results", ["refused.h5ad"]),
        ("nonsense", ["refused.h5ad", "done.h5ad", "open.h5ad"]),
    ],
)
def test_the_list_can_be_narrowed(client: FlaskClient, world: World, choice: str, names: list[str]) -> None:
    world.queued("open.h5ad")
    world.succeeded("done.h5ad")
    world.rejected("refused.h5ad")
    text = Outline(client.get("/", query_string={"show": choice}).text).text
    assert re.findall(r"\w+\.h5ad", text) == names


def test_every_state_is_shown_somewhere() -> None:
    shown = {state for choice in Shown for state in choice.states}
    assert shown == set(State)
    assert FINAL_STATES.isdisjoint(Shown.OPEN.states)


def test_a_running_submission_shows_where_it_is_and_how_to_stop_it(client: FlaskClient, world: World) -> None:
    running = world.running(n_tasks=3)
    world.progress(running, 540)
    found = outline(client, f"/submissions/{running}")
    (form,) = found.all("form")
    assert (form["method"], form["action"]) == ("post", f"/submissions/{running}/cancel")
    assert [attributes["value"] for attributes in found.all("progress")] == ["20.0"]
    assert "540 of 2,700 cells" in found.text
    assert any(attributes.get("aria-current") == "step" for attributes in found.all("li"))


def test_a_finished_submission_leads_to_its_report_and_files(client: FlaskClient, world: World) -> None:
    done = world.succeeded()
    found = outline(client, f"/submissions/{done}")
    assert {f"/v1/submissions/{done}/files/{name}" for name in FILES} <= set(links(found))
    assert found.all("form") == []
    for text in ("1,200", "44%", "12 gene symbols occur twice.", "7,980 of the model's 8,025 genes"):
        assert text in found.text


def test_the_page_says_of_how_many_cells_the_label_is_reliable(client: FlaskClient, world: World) -> None:
    facts: dict[str, float | dict[str, int]] = {"n_cells": 2_700, "n_reliable_label": 1_890}
    facts["reliable_labels"] = {"CD4 T cell": 777}
    found = outline(client, f"/submissions/{world.succeeded(taken=facts)}")
    assert "70% of the cells have a reliable label" in found.text
    assert "777" in found.text
    assert "reliable" not in outline(client, f"/submissions/{world.succeeded('b.h5ad')}").text.casefold()


@pytest.mark.parametrize(
    ("unfamiliar", "judged", "words"),
    [
        (1_350, None, "Done"),
        (1_351, None, "Done, labels doubtful"),
        (500, 1_000, "Done"),
        (501, 1_000, "Done, labels doubtful"),
    ],
)
def test_labels_of_mostly_unfamiliar_cells_are_not_simply_done(
    client: FlaskClient, world: World, unfamiliar: int, judged: int | None, words: str
) -> None:
    facts = {"n_cells": 2_700, "n_unfamiliar": unfamiliar} | ({"n_judged": judged} if judged else {})
    done = world.succeeded(taken=facts)
    for path in ("/", f"/submissions/{done}"):
        (badge,) = re.findall(r'class="badge \w+">([^<]+)<', client.get(path).text)
        assert badge == words


def test_what_was_owed_and_given_up_is_told(client: FlaskClient, world: World) -> None:
    done = world.succeeded()
    noted = "sweep was given up after 16 tries: the bucket keeps what it has"
    stored = world.store.get(done)
    world.store.replace(replace(stored.value, given_up=noted), if_version=stored.version)
    assert noted in outline(client, f"/submissions/{done}").text
    assert client.get(f"/v1/submissions/{done}").json["given_up"] == noted  # type: ignore[index]  # of an object


def test_a_refused_submission_says_why_and_what_to_do(client: FlaskClient, world: World) -> None:
    text = outline(client, f"/submissions/{world.rejected()}").text
    for part in ("Refused", "X is scaled.", "Keep the counts in a layer.", "NO_USABLE_MATRIX"):
        assert part in text


def test_many_labels_are_grouped(world: World) -> None:
    counts = {f"label {n:03}": 1000 - n for n in range(100)}
    view = submission_view(world.service.look_up(world.succeeded(label_counts=counts)))
    rows = page.label_rows(view)
    assert len(rows) == MOST_LABELS + 1
    assert rows[-1].name == f"{100 - MOST_LABELS} other labels"
    assert sum(row.n_cells for row in rows) == sum(counts.values())
    assert sum(row.share for row in rows) == pytest.approx(1.0)


# --- Hostile text -------------------------------------------------------------------------------------------------


def hostile_paths(world: World) -> list[str]:
    finding = Finding(HOSTILE, Severity.WARNING, HOSTILE, HOSTILE)
    queued = world.queued(
        HOSTILE, options={HOSTILE: HOSTILE}, requester=Requester(HOSTILE, HOSTILE), findings=(finding,)
    )
    done = world.succeeded(HOSTILE + "2", files={HOSTILE: b"x", "report.html": b"x"}, label_counts={HOSTILE: 3})
    refused = world.rejected(HOSTILE + "3", HOSTILE)
    return ["/", *(f"/submissions/{found}" for found in (queued, done, refused))]


def test_hostile_text_is_only_text(client: FlaskClient, world: World) -> None:
    for path in hostile_paths(world):
        found = outline(client, path)
        assert len(found.all("script")) == 1
        assert found.all("img") == []
        assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
        assert "{{7*7}}" in found.text
        assert "49" not in found.text.replace("149", "")


@given(st.text(min_size=1, max_size=40))
def test_no_label_or_name_breaks_the_page(text: str) -> None:
    world = World()
    found = world.succeeded(text, label_counts={text: 1, text + "2": 2})
    view = submission_view(world.service.look_up(found))
    listing = submission_list(world.service.list(limit=1))
    for html in (page.submission(view), page.submissions(listing, Shown.ALL)):
        assert Outline(html).open == []


def test_a_name_cannot_read_backwards(client: FlaskClient, world: World) -> None:
    found = world.queued("a\u202egnp.h5ad\x1b")
    text = outline(client, f"/submissions/{found}").text
    assert "a\ufffdgnp.h5ad\ufffd" in text
    assert "\u202e" not in text


# --- Alone in the browser -----------------------------------------------------------------------------------------


def test_the_page_asks_nothing_of_other_servers(client: FlaskClient, world: World) -> None:
    for path in ("/", f"/submissions/{world.succeeded()}"):
        found = outline(client, path)
        asked = [
            attributes.get(name) for _, attributes in found.elements for name in ("src", "href") if name in attributes
        ]
        assert all(str(address).startswith(("/", "#", "data:,")) and str(address)[:2] != "//" for address in asked)


def test_the_page_has_nothing_that_its_policy_forbids(client: FlaskClient, world: World) -> None:
    for path in ("/", f"/submissions/{world.succeeded()}", f"/submissions/{world.running('b.h5ad')}"):
        response = client.get(path)
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        found = Outline(response.text)
        assert found.all("style") == []
        assert all("src" in attributes for attributes in found.all("script"))
        assert not any("style" in attributes for _, attributes in found.elements)


@pytest.mark.parametrize(("name", "mimetype"), [("page.css", "text/css"), ("refresh.js", "text/javascript")])
def test_the_pages_own_assets_are_served(client: FlaskClient, name: str, mimetype: str) -> None:
    response = client.get(f"/assets/{name}")
    assert (response.status_code, response.mimetype) == (200, mimetype)
    assert not re.search(r"https?:|@import|url\(", response.text)


def test_a_page_refreshes_itself_until_nothing_can_follow(client: FlaskClient, world: World) -> None:
    def refresh(path: str) -> str | None:
        (main,) = outline(client, path).all("main")
        return main.get("data-refresh-s")

    assert refresh("/") == str(page.IDLE_REFRESH_S)
    assert refresh(f"/submissions/{world.running()}") == str(page.ACTIVE_REFRESH_S)
    assert refresh("/") == str(page.ACTIVE_REFRESH_S)
    assert refresh(f"/submissions/{world.succeeded('b.h5ad')}") is None


def test_without_scripts_the_page_reloads(client: FlaskClient, world: World) -> None:
    metas = outline(client, f"/submissions/{world.running()}").all("meta")
    assert {"http-equiv": "refresh", "content": "5"} in metas


def test_the_page_can_be_heard(client: FlaskClient, world: World) -> None:
    for path in ("/", f"/submissions/{world.succeeded()}", f"/submissions/{world.running('b.h5ad')}"):
        found = outline(client, path)
        assert found.all("html") == [{"lang": "en"}]
        assert len(found.all("h1")) == 1
        assert all(attributes.get("aria-label") for attributes in found.all("progress"))
        assert all(attributes.get("aria-hidden") == "true" for attributes in found.all("svg"))
        identities = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
        assert len(identities) == len(set(identities))
