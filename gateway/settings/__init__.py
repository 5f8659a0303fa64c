"""The deployment: ``config/gateway.yaml`` and ``SCOPEGATE_*`` variables, read once into frozen Settings."""

from __future__ import annotations

from gateway.settings.admin_key import ensure_admin_key
from gateway.settings.fit import check_policy_fits
from gateway.settings.load import load_settings
from gateway.settings.shape import Address, AdminSettings, Credential, LimitSettings, Secret, Settings, StoreSettings, TlsFiles, UpstreamSettings

__all__ = [
    "Address",
    "AdminSettings",
    "Credential",
    "LimitSettings",
    "Secret",
    "Settings",
    "StoreSettings",
    "TlsFiles",
    "UpstreamSettings",
    "check_policy_fits",
    "ensure_admin_key",
    "load_settings",
]
