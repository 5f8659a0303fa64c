"""axe-core finds nothing serious on any page in either scheme, and nothing runs out of a phone's width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.visitor import Site, secret_shown
from tests.harness.waiting import eventually

AXE = Axe()


# Whatever holds more than it is wide, the page and the boxes within that scroll.
TOO_WIDE = """[...document.querySelectorAll('*')]
  .filter((box) => box === document.documentElement || /auto|scroll/.test(getComputedStyle(box).overflowX))
  .filter((box) => box.scrollWidth > box.clientWidth)
  .map((box) => `${box.tagName} ${box.className}: ${box.scrollWidth} in ${box.clientWidth}`)"""


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps people out."""
    found = AXE.run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found if rule["impact"] in {"serious", "critical"} for node in rule["nodes"]]


def every_page(site: Site, page: Page, subject: str) -> Iterator[str]:
    """Open one page after the other; the name of the one that is open."""
    made = site.make(subject, "Nightly report", "worklogs:view", "teams:view", "plans:view", "accounts", expires_in_days=3, description="For the warehouse")
    old = site.make(subject, "Old one")
    site.api("DELETE", f"/tokens/{old.id}", subject=subject)
    site.status(made.secret)
    site.status(made.secret, "POST", "/4/worklogs")
    eventually(lambda: site.api("GET", f"/tokens/{made.id}/denials", subject=subject)["items"], "the refusal")
    for path in ("/tokens", "/tokens/new", f"/tokens/{made.id}", f"/owners?owner={subject}", "/audit", "/signed-out", "/nowhere"):
        page.goto(f"{site.url}{path}")
        if path == "/audit":
            expect(page.get_by_role("button", name="Copy request id").first).to_be_visible()
        if path.endswith(made.id):
            expect(page.get_by_role("link", name="New token with it")).to_be_visible()
        yield path
    page.goto(f"{site.url}/tokens/new?like={made.id}&replace=1")
    page.get_by_label("Name").fill("")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    yield "the form with a fault"
    page.goto(f"{site.url}/tokens")
    page.get_by_role("button", name="Regenerate").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "the question before regenerate"
    page.get_by_role("dialog").get_by_role("button", name="Regenerate").click()
    secret_shown(page)
    yield "the secret"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(site: Site, scheme: str) -> None:
    """Seen to fail with a paler --soft."""
    subject = site.subject()
    page = site.visit(subject, scheme=scheme, claims={"admin": True})
    assert {name: found for name in every_page(site, page, subject) if (found := serious(page))} == {}


def test_nothing_runs_out_of_a_phones_width(site: Site) -> None:
    """Nor of a box within the page. Seen to fail with rows that are no cards."""
    subject = site.subject()
    page = site.visit(subject, width=360, height=740, claims={"admin": True})
    assert {name: wide for name in every_page(site, page, subject) if (wide := page.evaluate(TOO_WIDE))} == {}
    page.goto(f"{site.url}/tokens")
    expect(page.get_by_role("link", name="New Token", exact=True)).to_be_in_viewport()
