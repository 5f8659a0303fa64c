"""The deployment: ``config/gateway.yaml`` and ``SCOPEGATE_*`` variables, read once into frozen Settings.

Here are the settings as they are handed on. Whoever reads them imports ``gateway.settings.load``: a worker, which is given them, needs no reader.
"""

from __future__ import annotations

from gateway.settings.shape import (
    Address,
    AdminSettings,
    AuditSettings,
    Credential,
    IntrospectionClient,
    JwtIssuer,
    LimitSettings,
    NoticeSettings,
    OidcSettings,
    Secret,
    Settings,
    StoreSettings,
    TlsFiles,
    UpstreamSettings,
)

__all__ = [
    "Address",
    "AdminSettings",
    "AuditSettings",
    "Credential",
    "IntrospectionClient",
    "JwtIssuer",
    "LimitSettings",
    "NoticeSettings",
    "OidcSettings",
    "Secret",
    "Settings",
    "StoreSettings",
    "TlsFiles",
    "UpstreamSettings",
]
