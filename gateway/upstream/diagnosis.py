"""Is an upstream there, and does its certificate hold? A connection is made and nothing is sent.

No request, not even HEAD: it would need the upstream's credential to mean anything, and it would stand in its logs and limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

from gateway.core.finding import Finding, certificate, fail, ok, warn
from gateway.settings import UpstreamSettings
from gateway.settings.values import is_local


async def examine_upstream(settings: UpstreamSettings, now: float) -> Finding:
    """One finding: connect within its connect timeout, TLS with the name checked, days left. ``now`` is Unix time."""
    check = f"upstream {settings.name}"
    try:
        # As the pool connects: the system's authorities, and the certificate must be for the host.
        context = ssl.create_default_context() if settings.tls else None
        began = time.perf_counter()
        async with asyncio.timeout(settings.connect_timeout_s):
            _, writer = await asyncio.open_connection(settings.host, settings.port, ssl=context, server_hostname=settings.host if context else None)
        took_ms = (time.perf_counter() - began) * 1000
        shown = writer.get_extra_info("peercert")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    except (OSError, TimeoutError) as error:
        return fail(check, f"{settings.url} {_why(error, settings)}", _advice(error, settings))
    found = f"{settings.url} accepts connections ({took_ms:.1f} ms; no request was sent)"
    if shown:
        return certificate(check, f"{found}, its certificate", ssl.cert_time_to_seconds(shown["notAfter"]), now)
    if settings.credentials and not is_local(settings.host):
        return warn(check, f"{found}, without TLS: who reads that network reads its credential", "use https://")
    return ok(check, found)


def _why(error: Exception, settings: UpstreamSettings) -> str:
    if isinstance(error, TimeoutError):
        return f"did not accept a connection within {settings.connect_timeout_s:g} s"
    if isinstance(error, socket.gaierror):
        return "has a name that does not resolve"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not valid ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return "does not speak TLS as it should"
    if isinstance(error, ConnectionRefusedError):
        return "refuses connections: nothing listens there"
    return "cannot be reached"


def _advice(error: Exception, settings: UpstreamSettings) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "renew it, or let this system trust its authority"
    return f"start it, or mend upstreams.{settings.name}.url"
