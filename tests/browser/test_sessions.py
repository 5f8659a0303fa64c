"""Signing in and out, and what a page does whose session has ended meanwhile."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.visitor import Site, row_of, secret_shown


def test_a_session_that_ended_is_told_and_what_was_typed_is_kept(site: Site) -> None:
    """Seen to fail where a 401 leads away from the form."""
    subject = site.subject()
    page = site.visit(subject)
    page.goto(f"{site.url}/tokens/new")
    page.get_by_label("Name").fill("Typed with care")
    page.get_by_role("group", name="Worklogs", exact=True).get_by_label("View").check()
    page.context.clear_cookies()
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("Typed with care")
    assert site.names(subject) == []
    again = page.context.new_page()
    again.goto(site.link(subject))
    again.wait_for_url("**/tokens")
    page.get_by_role("button", name="Confirm").click()
    assert site.status(secret_shown(page)) == 200


def test_a_list_whose_session_ended_says_so(site: Site) -> None:
    subject = site.subject()
    site.make(subject, "Left", "worklogs")
    page = site.visit(subject)
    page.context.clear_cookies()
    row_of(page, "Left").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Your session has ended")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()


def test_a_link_works_once_and_the_second_time_a_page_says_so(site: Site) -> None:
    link = site.link(site.subject())
    page = site.stranger()
    page.goto(link)
    page.wait_for_url("**/tokens")
    other = site.stranger()
    other.goto(link)
    expect(other.get_by_role("heading")).to_have_count(1)
    expect(other.get_by_text("A sign-in link works once, within five minutes: ask for a new one.")).to_be_visible()
    other.goto(site.url)
    expect(other.get_by_role("heading", name="You are not signed in")).to_be_visible()


def test_signing_out_ends_this_browsers_session_alone(site: Site) -> None:
    subject = site.subject()
    here, there = site.visit(subject), site.visit(subject)
    here.goto(f"{site.url}/tokens/new")
    here.get_by_role("button", name="Sign out", exact=True).click()
    expect(here.get_by_role("heading", name="You are signed out")).to_be_visible()
    here.go_back()
    expect(here.get_by_role("heading", name="You are not signed in")).to_be_visible()
    there.reload()
    expect(there.get_by_role("heading", name="API Integration")).to_be_visible()


def test_signing_out_everywhere_ends_all_of_them(site: Site) -> None:
    subject = site.subject()
    here, there = site.visit(subject), site.visit(subject)
    here.get_by_role("button", name="Sign out everywhere").click()
    expect(here.get_by_role("heading", name="You are signed out")).to_be_visible()
    there.reload()
    expect(there.get_by_role("heading", name="You are not signed in")).to_be_visible()


def test_nobodys_and_anothers_token_are_alike_not_there(site: Site) -> None:
    theirs = site.make(site.subject(), "Theirs", "worklogs")
    page = site.visit()
    pages = []
    for token_id in (theirs.id, "A" * 12):
        page.goto(f"{site.url}/tokens/{token_id}")
        expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()
        pages.append(page.get_by_role("main").inner_text().replace(token_id, "ID").rpartition(" ")[0])
    assert pages[0] == pages[1]
    page.goto(f"{site.url}/tokens/new?like={theirs.id}")
    expect(page.get_by_role("heading", name="There is nothing here")).to_be_visible()


def test_a_program_gets_a_problem_document_where_a_browser_gets_a_page(site: Site) -> None:
    page = site.visit()
    answers = {kind: page.request.get(f"{site.url}/nowhere", headers={"Accept": kind}) for kind in ("application/json", "text/html")}
    assert answers["application/json"].json()["code"] == "not_found"
    assert answers["text/html"].status == 404
    assert "<h1>There is nothing here</h1>" in answers["text/html"].text()
    assert page.request.get(f"{site.url}/api/v1/nowhere", headers={"Accept": "text/html"}).json()["code"] == "not_found"


def test_every_page_forbids_what_is_not_the_gateways_own(site: Site) -> None:
    page = site.visit(claims={"admin": True})
    for path in ("/tokens", "/tokens/new", "/owners", "/audit", "/signed-out", "/nowhere"):
        answer = page.request.get(f"{site.url}{path}", headers={"Accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert " style=" not in answer.text()
        assert " onclick=" not in answer.text()
