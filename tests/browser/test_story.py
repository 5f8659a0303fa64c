"""The owners' story, word for word through visible labels, against a real gateway and upstream."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.visitor import Site, row_of, secret_shown


def test_an_owner_makes_a_token_uses_it_regenerates_it_and_revokes_it(site: Site) -> None:
    page = site.visit()
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_text("Data Access")).to_be_visible()
    page.get_by_role("link", name="API Integration").click()
    expect(page.get_by_text("There are no tokens yet.")).to_be_visible()

    page.get_by_role("link", name="New Token", exact=True).click()
    expect(page.get_by_role("heading", name="New Token")).to_be_visible()
    page.get_by_label("Name").fill("Nightly report")
    expect(page.get_by_label("Expiry")).to_have_value("30")
    page.get_by_label("Expiry").fill("90")
    expect(page.get_by_text(re.compile(r"^until \d+ \w{3} \d{4}$"))).to_be_visible()
    page.get_by_label("Custom access").check()
    worklogs = page.get_by_role("group", name="Worklogs", exact=True)
    expect(worklogs.get_by_text("Worklogs, Work Attributes")).to_be_visible()
    worklogs.get_by_label("View").check()
    page.get_by_role("button", name="Confirm").click()

    secret = secret_shown(page)
    expect(page.get_by_text("you will not see it again; if you lose it, regenerate")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    expect(page.get_by_text(f'curl -i -H "Authorization: Bearer $TOKEN" "http://127.0.0.1:{site.gateway.port}/4/worklogs"')).to_be_visible()
    expect(page.get_by_text("Waiting for its first request")).to_be_visible()
    assert secret not in page.url
    assert site.status(secret) == 200
    assert site.status(secret, method="POST") == 403
    expect(page.get_by_text("It works: the first request came")).to_be_visible()

    page.get_by_role("button", name="Close").click()
    page.wait_for_url("**/tokens")
    row = row_of(page, "Nightly report")
    expect(row.get_by_text("Active")).to_be_visible()
    assert secret not in page.content()

    row.get_by_role("button", name="Regenerate").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("stops at once for all integrations")).to_be_visible()
    expect(dialog.get_by_text("Last used")).to_be_visible()
    dialog.get_by_role("button", name="Regenerate").click()
    second = secret_shown(page)
    assert second != secret
    assert site.status(secret) == 401
    assert site.status(second) == 200
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert second not in page.content()

    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row.get_by_text("Revoked")).to_be_visible()
    expect(page.get_by_text("has stopped everywhere: the node has confirmed.")).to_be_visible()
    assert site.status(second) == 401
    expect(row.get_by_role("button", name="Regenerate")).to_have_count(0)
