"""Pictures of every page, as the docs show them. They go to docs/images only with SCREENSHOTS=1 (``make screenshots``), else to a folder that is thrown away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visitor import Site, secret_shown
from tests.harness.gateway import ROOT, Made

WANTED = {"tokens", "tokens-dark", "tokens-phone", "new-token", "secret", "token", "regenerate", "all-owners", "audit"}
TOKENS: list[tuple[str, list[str], int, str]] = [
    ("Field service app", ["worklogs", "plans:view", "teams:view"], 180, ""),
    ("Old time clock", ["worklogs"], 60, ""),
    ("Customer portal", ["accounts:view"], 90, "Shows customers their hours"),
    ("Payroll export", ["worklogs:view", "approvals", "accounts:view", "financial-manager:view", "periods:view"], 4, ""),
    ("Data warehouse", [], 365, ""),
    ("Team planner", ["plans", "teams"], 730, ""),
    ("Nightly report", ["worklogs:view", "teams:view"], 90, "Sends the day’s hours to the warehouse"),
]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return ROOT / "docs" / "images" if os.environ.get("SCREENSHOTS") else tmp_path


def prepare(site: Site, subject: str) -> Made:
    """An owner's tokens in every state; the last one is the one that is used."""
    made = [site.make(subject, name, *grants, expires_in_days=days, description=words) for name, grants, days, words in TOKENS]
    site.api("DELETE", f"/tokens/{made[1].id}", subject=subject)
    site.api("POST", f"/tokens/{made[2].id}/suspend", {}, subject=subject)
    for token, times in ((made[-1], 12), (made[0], 3), (made[5], 1)):
        assert {site.status(token.secret, path=path) for path in ("/4/worklogs/12", "/4/teams") for _ in range(times)} <= {200, 403}
    site.status(made[-1].secret, "POST", "/4/worklogs")
    return made[-1]


def test_every_page_has_its_picture(site: Site, images: Path) -> None:
    subject = f"{site.subject()}@example.com"
    used = prepare(site, subject)
    taken = set()

    def take(page: Page, name: str, *, whole: bool = False) -> None:
        page.mouse.move(0, 0)
        page.screenshot(path=images / f"{name}.png", full_page=whole, animations="disabled")
        taken.add(name)

    page = site.visit(subject, height=640)
    expect(page.locator("tbody tr")).to_have_count(len(TOKENS))
    take(page, "tokens")
    for name, options in (("tokens-dark", {"scheme": "dark", "height": 640}), ("tokens-phone", {"width": 390, "height": 844})):
        other = site.visit(subject, **options)  # type: ignore[arg-type]
        take(other, name)
    page.goto(f"{site.url}/tokens/{used.id}")
    page.set_viewport_size({"width": 1280, "height": 960})
    page.wait_for_load_state("networkidle")
    take(page, "token", whole=True)
    page.get_by_role("button", name="Regenerate").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    take(page, "regenerate")
    page.goto(f"{site.url}/tokens/new")
    page.get_by_label("Name").fill("Invoice robot")
    page.get_by_role("group", name="Worklogs", exact=True).get_by_label("View").check()
    page.get_by_role("group", name="Accounts", exact=True).get_by_label("Manage").check()
    take(page, "new-token", whole=True)
    page.get_by_role("button", name="Confirm").click()
    secret_shown(page)
    page.evaluate("document.querySelector('.secret code').textContent = 'sgt_' + 'x'.repeat(12) + '_' + 'x'.repeat(38)")  # no picture holds a secret
    page.set_viewport_size({"width": 1280, "height": 480})
    take(page, "secret")
    admin = site.visit(claims={"admin": True}, height=640)
    admin.goto(f"{site.url}/owners?owner={subject}")
    take(admin, "all-owners")
    admin.goto(f"{site.url}/audit")
    admin.wait_for_load_state("networkidle")
    take(admin, "audit")
    assert taken == WANTED
    assert [name for name in WANTED if (images / f"{name}.png").stat().st_size < 5000] == []
