"""A public key that JWTs are checked with: what kind it is, and whether it is strong enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SMALLEST_RSA: Final = 2048  # bits (RFC 7518 section 3.3)
_KINDS: Final = {"RS256": "an RSA key", "ES256": "an EC key on P-256"}


def check_public_key(pem: str, algorithms: Sequence[str]) -> None:
    """ValueError unless this is a public key in PEM, of the kind that each of the algorithms needs."""
    # Only a gateway with such a key pays for this import.
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem.encode("latin-1"))
    except Exception:  # noqa: BLE001  whatever it is, its text may quote the file
        raise ValueError("it is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    found = "RS256" if isinstance(key, RSAPublicKey) else "ES256" if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else ""
    for algorithm in algorithms:
        if algorithm != found:
            raise ValueError(f"{algorithm} needs {_KINDS.get(algorithm, 'another key')}")
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise ValueError(f"it has {key.key_size} bits: at least {SMALLEST_RSA} are needed")
