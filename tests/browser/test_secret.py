"""A secret is on the page once, and nowhere once the page is left: not in the page, the address, the history or the browser's storage."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.visitor import TOKEN, Site, row_of, secret_shown


def new_secret(page: Page, site: Site) -> str:
    page.goto(f"{site.url}/tokens/new")
    page.get_by_label("Name").fill("Held once")
    page.get_by_role("group", name="Worklogs", exact=True).get_by_label("View").check()
    page.get_by_role("button", name="Confirm").click()
    return secret_shown(page)


def kept(page: Page) -> str:
    """All that the browser keeps of the page besides what it shows."""
    return str(page.evaluate("JSON.stringify([location.href, history.state, {...localStorage}, {...sessionStorage}, document.cookie, document.title, name])"))


def holds(page: Page, secret: str) -> bool:
    """Whether the page, its fields or anything that the browser keeps for it hold the secret."""
    fields = page.evaluate("[...document.querySelectorAll('input, textarea')].map((field) => field.value).join(' ')")
    return any(secret in text for text in (page.content(), kept(page), fields))


def test_back_after_close_shows_no_secret(site: Site) -> None:
    """Seen to fail with the secret in the history's state."""
    page = site.visit()
    secret = new_secret(page, site)
    assert secret not in kept(page)
    page.get_by_role("button", name="Close").click()
    page.wait_for_url("**/tokens")
    page.go_back()
    expect(page.get_by_text(TOKEN)).to_have_count(0)
    assert not holds(page, secret)
    page.go_forward()
    assert not holds(page, secret)


def test_back_and_forward_from_the_open_secret_show_none(site: Site) -> None:
    """Seen to fail without the pagehide listener, where the browser keeps the page."""
    page = site.visit()
    secret = new_secret(page, site)
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    expect(page.get_by_text(TOKEN)).to_have_count(0)
    assert not holds(page, secret)
    page.go_back()
    page.go_forward()
    expect(page.get_by_role("heading", name="New Token")).to_be_visible()
    assert not holds(page, secret)


def test_a_reload_shows_the_form_again_and_makes_nothing(site: Site) -> None:
    subject = site.subject()
    page = site.visit(subject)
    secret = new_secret(page, site)
    page.reload()
    expect(page.get_by_role("heading", name="New Token")).to_be_visible()
    assert not holds(page, secret)
    assert len(site.names(subject)) == 1


def test_escape_ends_the_dialog_of_a_regenerated_secret_and_forgets_it(site: Site) -> None:
    subject = site.subject()
    old = site.make(subject, "Turned", "worklogs")
    page = site.visit(subject)
    row_of(page, "Turned").get_by_role("button", name="Regenerate").click()
    page.get_by_role("dialog").get_by_role("button", name="Regenerate").click()
    secret = secret_shown(page)
    expect(page.get_by_text("The old token has stopped everywhere: the node has confirmed.")).to_be_visible()
    assert (site.status(old.secret), site.status(secret)) == (401, 200)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not holds(page, secret)


def test_no_address_asked_for_held_a_secret(site: Site) -> None:
    page = site.visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    secret = new_secret(page, site)
    page.get_by_role("button", name="Close").click()
    page.wait_for_url("**/tokens")
    assert len(asked) > 5
    assert [url for url in asked if secret in url] == []
    assert [url for url in asked if not url.startswith(site.url)] == []


def test_two_tabs_end_one_token_and_the_second_is_told(site: Site) -> None:
    subject = site.subject()
    site.make(subject, "Shared", "worklogs")
    first = site.visit(subject)
    second = first.context.new_page()
    second.goto(f"{site.url}/tokens")
    row_of(first, "Shared").get_by_role("button", name="Revoke").click()
    first.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row_of(first, "Shared").get_by_text("Revoked")).to_be_visible()
    row_of(second, "Shared").get_by_role("button", name="Regenerate").click()
    dialog = second.get_by_role("dialog")
    dialog.get_by_role("button", name="Regenerate").click()
    expect(dialog.get_by_text("The token was revoked for good: make a new one.")).to_be_visible()
    expect(second.get_by_text(TOKEN)).to_have_count(0)


def test_two_tabs_regenerate_one_token_and_the_later_secret_counts(site: Site) -> None:
    subject = site.subject()
    site.make(subject, "Twice", "worklogs")
    first = site.visit(subject)
    second = first.context.new_page()
    second.goto(f"{site.url}/tokens")
    secrets = []
    for page in (first, second):
        row_of(page, "Twice").get_by_role("button", name="Regenerate").click()
        page.get_by_role("dialog").get_by_role("button", name="Regenerate").click()
        secrets.append(secret_shown(page))
    assert [site.status(secret) for secret in secrets] == [401, 200]
