"""Somebody in front of the pages: signs in, sees, and is watched for what no page may do (an error in a script, a thing that the policy of contents forbids)."""

from __future__ import annotations

import itertools
import json
import re
import time
from typing import Any

import jwt
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.harness.gateway import GatewayProcess, Made

CHROMIUM = "/usr/bin/chromium"
SHARED = "a secret of thirty-two characters, shared with the product"
ISSUER = "https://login.example"
CLAIMS = {
    "issuer": ISSUER,
    "audience": "scopegate",
    "algorithms": ["HS256"],
    "secret_env": "PAGES_JWT_SECRET",
    "admin_claim": "admin",
    "grants_claim": "grants",
}
POLICY = """\
version: 1
tokens: {max_per_owner: 200}
scopes:
  worklogs: {title: Worklogs, resources: [Worklogs, Work Attributes]}
  teams: {title: Teams, resources: [Roles, Teams, Links, Memberships]}
  schemes: {title: Schemes, resources: [Workload Schemes, Holiday Schemes, User Schedule]}
  plans: {title: Plans, resources: [Plans, Programs]}
  periods: {title: Periods, resources: [Periods]}
  approvals: {title: Approvals, resources: [Timesheet Approvals]}
  accounts: {title: Accounts, resources: [Accounts, Categories, Category Types, Links, Customers]}
  financial-manager: {title: Financial Manager (Cost Tracker), resources: [Projects, Rates]}
routes:
  - {path: "/4/worklogs/**", scope: worklogs}
  - {path: "/4/teams/**", scope: teams}
  - {path: "/4/schemes/**", scope: schemes}
  - {path: "/4/plans/**", scope: plans}
  - {path: "/4/periods", methods: [GET], scope: periods}
  - {path: "/4/timesheet-approvals/**", scope: approvals}
  - {path: "/4/accounts/**", scope: accounts}
  - {path: "/4/projects/**", scope: financial-manager}
"""
_NUMBERS = itertools.count(1)


TOKEN = re.compile(r"^sgt_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}$")


def secret_shown(page: Page) -> str:
    """The secret on the page, which is there once."""
    code = page.get_by_text(TOKEN)
    expect(code).to_have_count(1)
    return str(code.inner_text())


def row_of(page: Page, name: str) -> Locator:
    """The row of the list that tells of this token."""
    return page.get_by_role("row").filter(has_text=name)


class Site:
    """The pages of one gateway. Everybody who comes has a subject of its own, so that tests see only what they made."""

    def __init__(self, browser: Browser, gateway: GatewayProcess) -> None:
        self.browser = browser
        self.gateway = gateway
        self.url = f"http://127.0.0.1:{gateway.admin_port}"
        self.faults: list[str] = []
        self._contexts: list[BrowserContext] = []

    def subject(self) -> str:
        return f"ana-{next(_NUMBERS)}"

    def jwt(self, subject: str, **claims: Any) -> str:
        facts = {"iss": ISSUER, "aud": "scopegate", "sub": subject, "exp": int(time.time()) + 120, "grants": "*", **claims}
        return jwt.encode(facts, SHARED, "HS256")

    def link(self, subject: str, **claims: Any) -> str:
        """A one-time link of this user, as the host product asks for it."""
        status, _, body = self.gateway.admin("POST", "/api/v1/sign-in-links", key=self.jwt(subject, **claims))
        assert status == 201, body
        return str(json.loads(body)["url"])

    def api(self, method: str, path: str, body: object = None, *, subject: str, **claims: Any) -> Any:
        """A call to the API on a user's behalf that must work."""
        status, _, answer = self.gateway.admin(method, f"/api/v1{path}", body, key=self.jwt(subject, **claims))
        assert status in {200, 201}, answer
        return json.loads(answer)

    def make(self, subject: str, name: str, *grants: str, **facts: Any) -> Made:
        """A token of this user, full where no grant is named."""
        made = self.api("POST", "/tokens", {"name": name, **({"grants": grants} if grants else {"access": "full"}), **facts}, subject=subject)
        return Made(made["token"]["id"], made["secret"])

    def names(self, subject: str) -> list[str]:
        """The names of all tokens of this user."""
        return [token["name"] for token in self.api("GET", "/tokens", subject=subject)["items"]]

    def status(self, secret: str, method: str = "GET", path: str = "/4/worklogs/12") -> int:
        """What the gateway answers to a request with this token."""
        return self.gateway.ask(method, path, token=secret).status

    def visit(self, subject: str = "", *, scheme: str = "light", width: int = 1280, height: int = 800, claims: dict[str, Any] | None = None) -> Page:
        """A page of a new browser, signed in, at the list of tokens."""
        page = self.stranger(scheme=scheme, width=width, height=height)
        page.goto(self.link(subject or self.subject(), **(claims or {})))
        page.wait_for_url("**/tokens")
        return page

    def stranger(self, *, scheme: str = "light", width: int = 1280, height: int = 800) -> Page:
        """A page of a new browser that nobody has signed in with."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, permissions=["clipboard-read", "clipboard-write"], device_scale_factor=1
        )
        self._contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        return page

    def close(self) -> None:
        """Close every browser; the test fails for what their scripts complained of."""
        for context in self._contexts:
            context.close()
        assert self.faults == []

    def _heard(self, message: ConsoleMessage) -> None:
        # The browser tells of every answer above 399 by itself; what it means is told on the page.
        if message.type in {"error", "warning"} and "the server responded with a status of 4" not in message.text:
            self.faults.append(message.text)
