"""Pictures of every page, as the docs show them, each taken once what the page is for is on it. They go to docs/images only with SCREENSHOTS=1 (``make screenshots``), else to a folder that is thrown away."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visitor import Site, row_of, secret_shown
from tests.harness.gateway import ROOT, Made
from tests.harness.waiting import eventually

WANTED = {"tokens", "tokens-dark", "tokens-phone", "new-token", "secret", "token", "token-phone", "regenerate", "all-owners", "revoke-all", "audit"}
WANTED |= {"sign-in", "link-used", "signed-out"}
TOKENS: list[tuple[str, list[str], int, str]] = [
    ("Field service app", ["worklogs", "plans:view", "teams:view"], 180, ""),
    ("Old time clock", ["worklogs"], 60, ""),
    ("Customer portal", ["accounts:view"], 90, "Shows customers their hours"),
    ("Payroll export", ["worklogs:view", "approvals", "accounts:view", "financial-manager:view", "periods:view"], 4, ""),
    ("Data warehouse", [], 365, ""),
    ("Team planner", ["plans", "teams"], 730, ""),
    ("Nightly report", ["worklogs:view", "teams", "accounts:view"], 90, "Sends the day’s hours to the warehouse"),
]
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return ROOT / "docs" / "images" if os.environ.get("SCREENSHOTS") else tmp_path


def prepare(site: Site, subject: str, other: str) -> Made:
    """Tokens of two owners in every state; the one that is told of in pictures has been used for a month, but not all of it, and was refused."""
    site.make(other, "Deploy checks", "worklogs:view", "periods:view", expires_in_days=120)
    site.make(other, "Billing sync", "accounts", "financial-manager", expires_in_days=365)
    made = [site.make(subject, name, *grants, expires_in_days=days, description=words) for name, grants, days, words in TOKENS]
    used = made[-1]
    site.api("DELETE", f"/tokens/{made[1].id}", subject=subject)
    site.api("POST", f"/tokens/{made[2].id}/suspend", {}, subject=subject)
    live_a_month(site, used)
    with site.gateway.store() as store:
        for token, hours in ((made[0], 3), (made[3], 26), (made[5], 9 * 24)):
            store.zadd("sg:use:last", {token.id: store.time()[0] * 1000 - hours * HOUR_MS})
            store.hset("sg:use:from", token.id, "203.0.113.24")
    assert site.status(made[1].secret) == 401
    assert [site.status(used.secret, path=path) for path in ("/4/worklogs/12", "/4/teams", "/4/worklogs/13", "/4/plans/7")] == [200, 200, 200, 403]
    assert site.status(used.secret, "POST", "/4/worklogs") == 403
    eventually(lambda: len(site.api("GET", f"/tokens/{used.id}/denials", subject=subject)["items"]) == 2, "the refusals")
    eventually(lambda: site.api("GET", f"/tokens/{used.id}", subject=subject)["token"]["last_used_from"], "the last use")
    eventually(lambda: site.api("GET", f"/tokens/{made[1].id}", subject=subject)["token"]["reuse"], "the mark")
    return used


def live_a_month(site: Site, made: Made) -> None:
    """Put the token's beginning and end back by a month, with the counts of its days: many on working days, few on others, some refused."""
    with site.gateway.store() as store:
        today = store.time()[0] * 1000 // DAY_MS
        live, info = f"sg:live:{{{made.id}}}", f"sg:info:{{{made.id}}}"
        known = {name: int(store.hget(info, name)) for name in ("created_at", "expires_at")}
        moved = {ms: ms - 34 * DAY_MS for ms in known.values()}
        facts = json.dumps([moved.get(fact, fact) if isinstance(fact, int) else fact for fact in json.loads(store.hget(info, "live"))])
        store.hset(info, mapping={"live": facts, **{name: str(moved[ms]) for name, ms in known.items()}})
        store.set(live, facts, keepttl=True, xx=True)
        for ago in range(1, 30):
            day = today - ago
            working = (day + 3) % 7 < 5  # day 0 was a Thursday
            counts = (
                {"view worklogs /4/worklogs/**": 38 + ago * 7 % 17, "view teams /4/teams/**": 6 + ago % 4} if working else {"view worklogs /4/worklogs/**": 4}
            )
            store.hset(f"sg:use:day:{made.id}:{day}", mapping=counts | ({"refused": 5} if ago in {3, 4} else {}))


def test_every_page_has_its_picture(site: Site, images: Path) -> None:
    """Seen to fail with the usage left out of the page, and with its refusals."""
    subject = f"{site.subject()}@example.com"
    used = prepare(site, subject, f"{site.subject()}@example.com")
    taken = set()

    def take(page: Page, name: str, *, whole: bool = False) -> None:
        page.mouse.move(0, 0)
        page.screenshot(path=images / f"{name}.png", full_page=whole, animations="disabled")
        taken.add(name)

    page = site.visit(subject, height=640)
    expect(page.locator("tbody tr")).to_have_count(len(TOKENS))
    expect(page.get_by_text("old secret used")).to_be_visible()
    take(page, "tokens")
    for name, options in (("tokens-dark", {"scheme": "dark", "height": 640}), ("tokens-phone", {"width": 390, "height": 844})):
        other = site.visit(subject, **options)  # type: ignore[arg-type]
        expect(other.locator("tbody tr")).to_have_count(len(TOKENS))
        take(other, name)
    for shown, name in ((page, "token"), (other, "token-phone")):
        shown.goto(f"{site.url}/tokens/{used.id}")
        expect(shown.get_by_role("img", name="Requests by day")).to_be_visible()
        expect(shown.get_by_role("row").filter(has_text="/4/worklogs/**")).to_be_visible()
        expect(shown.get_by_role("row").filter(has_text="scope_missing")).to_have_count(2)
        expect(shown.get_by_role("link", name="Narrow it to what was used")).to_be_visible()
        if name == "token":
            shown.set_viewport_size({"width": 1280, "height": 960})
        take(shown, name, whole=True)
    page.get_by_role("button", name="Regenerate").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("dt")).to_have_text(["Last used", "From", "In 30 days"])
    page.set_viewport_size({"width": 1280, "height": 760})
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
    expect(page.get_by_text("curl -i")).to_be_visible()
    take(page, "secret")
    admin = site.visit("operations@example.com", claims={"admin": True}, height=640)
    admin.goto(f"{site.url}/owners")
    expect(row_of(admin, "Nightly report").first).to_contain_text(subject)
    expect(row_of(admin, "Billing sync").first).to_be_visible()
    admin.set_viewport_size({"width": 1280, "height": 880})
    take(admin, "all-owners")
    admin.goto(f"{site.url}/owners?owner={subject}")
    admin.get_by_role("button", name="Revoke all of this owner").click()
    expect(admin.locator("#ask-facts")).to_contain_text("7 tokens, 1 of them suspended")
    admin.set_viewport_size({"width": 1280, "height": 640})
    take(admin, "revoke-all")
    admin.goto(f"{site.url}/audit")
    entries = admin.locator("#entries tbody tr")
    expect(entries.filter(has_text="token.create").filter(has_text="grants: ").first).to_be_visible()
    expect(entries.filter(has_text="token.suspend").first).to_be_visible()
    admin.set_viewport_size({"width": 1280, "height": 1120})
    take(admin, "audit")
    guest = site.stranger(height=480)
    guest.goto(f"{site.url}/tokens")
    expect(guest.get_by_role("heading", name="You are not signed in")).to_be_visible()
    take(guest, "sign-in")
    link = site.link(subject)
    guest.goto(link)
    guest.wait_for_url("**/tokens")
    guest.get_by_role("button", name="Sign out", exact=True).click()
    expect(guest.get_by_role("heading", name="You are signed out")).to_be_visible()
    take(guest, "signed-out")
    guest.goto(link)
    expect(guest.get_by_text("A sign-in link works once")).to_be_visible()
    take(guest, "link-used")
    assert taken == WANTED
    assert [name for name in WANTED if (images / f"{name}.png").stat().st_size < 5000] == []
