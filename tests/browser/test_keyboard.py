"""All of it without a mouse."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.visitor import Site, row_of, secret_shown


def press_until(page: Page, name: str, key: str = "Tab", most: int = 60) -> None:
    """Press Tab until what is focused carries this name."""
    for _ in range(most):
        page.keyboard.press(key)
        named = "document.activeElement.getAttribute('aria-label') || document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent"
        if str(page.evaluate(named)).strip() == name:
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


def test_a_token_is_made_copied_and_revoked_by_keyboard_alone(site: Site) -> None:
    page = site.visit()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    press_until(page, "New Token")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tokens/new")
    press_until(page, "Name")
    page.keyboard.type("By keys")
    press_until(page, "Expiry")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("7")
    press_until(page, "Custom access")
    press_until(page, "None")  # the group is one stop, at what is chosen; arrows choose
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("group", name="Worklogs", exact=True).get_by_label("View")).to_be_checked()
    press_until(page, "Confirm")
    page.keyboard.press("Enter")
    secret = secret_shown(page)
    expect(page.get_by_role("heading", name="Your token is ready")).to_be_focused()
    press_until(page, "Copy")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    press_until(page, "Close")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tokens")
    press_until(page, "Revoke")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    press_until(page, "Revoke")
    page.keyboard.press("Enter")
    expect(row_of(page, "By keys").get_by_text("Revoked")).to_be_visible()
    assert site.status(secret) == 401
