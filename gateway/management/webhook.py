"""Sends notices to the configured address: signed as Standard Webhooks says, by https, to a public address, without redirects, within 5 s.

The receiver's answer counts by its status alone: its body is not read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import hdrs
from standardwebhooks.webhooks import Webhook

from gateway import __version__
from gateway.management.public_address import Address, AddressRefused, CheckedResolver, LookUp, is_public, system_look_up
from gateway.settings import NoticeSettings

SEND_S: Final = 5.0


class WebhookSender:
    """Sends one message at a time to ``notices.url``."""

    def __init__(self, settings: NoticeSettings, look_up: LookUp = system_look_up) -> None:
        url = urlsplit(settings.url)
        self._url = settings.url
        self._host = url.hostname or ""
        self._secret = settings.secret
        allow_private = settings.allow_private
        encrypted = url.scheme == "https"

        def may_call(address: Address) -> bool:
            # Without TLS nothing may leave the machine.
            return address.is_loopback if not encrypted else allow_private or is_public(address)

        self._resolver = CheckedResolver(may_call, look_up)

    async def __call__(self, message_id: str, content: dict[str, Any]) -> str:
        """Deliver; "" once a receiver has taken it (2xx), else why not, without anything of the address but its host."""
        body = msgspec.json.encode(content).decode()
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            hdrs.USER_AGENT: f"scopegate/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self._secret.reveal()).sign(message_id, now, body),
        }
        try:
            self._check_literal()
            # A connector for each message: none of its connections, and no answer of a resolver, outlives it.
            connector = aiohttp.TCPConnector(resolver=self._resolver, use_dns_cache=False, force_close=True)
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=SEND_S),
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.post(self._url, data=body.encode(), headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
                answer.close()
        except TimeoutError:
            return f"{self._host} did not answer within {SEND_S:g} s"
        except AddressRefused as why:
            return f"{self._host} must not be called: {why}"
        except (OSError, aiohttp.ClientError, ValueError) as error:
            cause = error.__cause__ or getattr(error, "os_error", None)
            if isinstance(cause, AddressRefused) or isinstance(getattr(error, "os_error", None), AddressRefused):
                return f"{self._host} must not be called: its address is not one of the public internet"
            return f"{self._host} can't be reached: {type(error).__name__}"
        return "" if 200 <= status < 300 else f"{self._host} answered {status}"

    def _check_literal(self) -> None:
        """An address in place of a name is not resolved, so it is looked at here."""
        try:
            ip_address(self._host)
        except ValueError:
            return
        self._resolver.check(self._host)
