"""A token's own page: its facts, another name, a pause, its end."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.visitor import Site


def test_it_is_renamed_suspended_and_resumed(site: Site) -> None:
    subject = site.subject()
    made = site.make(subject, "First name", "worklogs:view", allowed_ips=["127.0.0.0/8"])
    page = site.visit(subject)
    page.get_by_role("link", name="First name").click()
    expect(page.get_by_text("127.0.0.0/8")).to_be_visible()
    page.get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(" ")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("1 to 100 characters")).to_be_visible()
    dialog.get_by_label("Name").fill("Second name")
    dialog.get_by_label("Description").fill("Says what it is for")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Second name")).to_be_visible()
    expect(page.get_by_text("Says what it is for").first).to_be_visible()

    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("has stopped everywhere")).to_be_visible()
    assert site.status(made.secret) == 401
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("works again")).to_be_visible()
    assert site.status(made.secret) == 200


def test_a_near_end_is_told_with_a_way_on(site: Site) -> None:
    subject = site.subject()
    made = site.make(subject, "Ending", "worklogs:view", expires_in_days=2)
    page = site.visit(subject)
    page.goto(f"{site.url}/tokens/{made.id}")
    expect(page.get_by_text("Expires in 2 days. Its end can’t be moved")).to_be_visible()
    page.get_by_role("link", name="new token", exact=True).click()
    expect(page.get_by_label("Mark it as replaced by the new one")).to_be_checked()


def test_cancel_changes_nothing(site: Site) -> None:
    subject = site.subject()
    made = site.make(subject, "Stays", "worklogs:view")
    page = site.visit(subject)
    page.goto(f"{site.url}/tokens/{made.id}")
    for name in ("Regenerate", "Revoke", "Suspend"):
        page.get_by_role("button", name=name).click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
    assert site.status(made.secret) == 200
