"""TLS to the store: who we trust, what we show of ourselves, and its failures in plain words.

The certificate and the name in it are always checked; nothing falls back to less, and no setting switches it off.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Final

from gateway.ports import StoreUnavailable
from gateway.settings import TlsFiles

_NAME_MISMATCH: Final = frozenset((62, 64))  # X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH (x509_vfy.h)
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_OURS_REFUSED: Final = ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE")


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """The context for a connection, made anew when a file has changed, so that renewed certificates count from the next connection on.

    StoreUnavailable where a file can't be read or does not hold what it should.
    """
    stamps = tuple(_stamp(name, path) for name, path in (("ca_file", files.ca_file), ("cert_file", files.cert_file), ("key_file", files.key_file)) if path)
    return _context(files, stamps)


def trouble(error: BaseException, files: TlsFiles) -> str | None:
    """What a failed handshake means and what to do, to follow "the store at …"; None where the error is none of TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_MISMATCH:
            return "shows a certificate for another name: write in store.url a name that its certificate holds"
        if error.verify_code == _EXPIRED:
            return "shows a certificate that has expired: renew it"
        if error.verify_code == _NOT_YET_VALID:
            return "shows a certificate that is not valid yet: check the clocks"
        by = "store.tls.ca_file" if files.ca_file else "this system"
        return f"shows a certificate that {by} does not vouch for: name its certificate authority in store.tls.ca_file"
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or "no reason was given"
    if files.cert_file is None and ("CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason):
        return "asks for a client certificate: set store.tls.cert_file and store.tls.key_file"
    if files.cert_file is not None and any(word in reason for word in _OURS_REFUSED):
        return "does not accept the certificate of store.tls.cert_file: name one that is valid and signed by an authority that it trusts"
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "does not speak TLS at this port: name its TLS port in store.url"
    return f"does not agree with us on TLS ({reason.lower().replace('_', ' ')}): look at its TLS settings"


def closed(files: TlsFiles) -> str:
    """The same for a connection that the store ended: often a reset overtakes the alert in which it says why."""
    if files.cert_file is None:
        return "closed the connection: if it asks for a client certificate, set store.tls.cert_file and store.tls.key_file; else look at its log"
    return "closed the connection: look at its log, for it may not accept the certificate of store.tls.cert_file"


@lru_cache(maxsize=4)
def _context(files: TlsFiles, _stamps: tuple[tuple[int, int], ...]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.ca_file)
    except ssl.SSLError:
        raise StoreUnavailable(f"store.tls.ca_file: {files.ca_file} holds no certificate in PEM form") from None
    if files.cert_file and files.key_file:
        try:
            # A callable, since without one OpenSSL asks for the password on the terminal.
            context.load_cert_chain(files.cert_file, files.key_file, password=_no_password)
        except _Encrypted:
            raise StoreUnavailable(f"store.tls.key_file: {files.key_file} is encrypted: the gateway takes a key without a password, mode 0600") from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise StoreUnavailable(f"store.tls.key_file: {files.key_file} is not the key of {files.cert_file}") from None
            raise StoreUnavailable(f"store.tls: {files.cert_file} and {files.key_file} do not hold a certificate and its key in PEM form") from None
    return context


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted


def _stamp(name: str, path: Path) -> tuple[int, int]:
    """What changes when a file does. It is opened, so that the one that can't be read is named."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
    except OSError as error:
        raise StoreUnavailable(f"store.tls.{name}: {path} cannot be read: {os.strerror(error.errno or 0).lower()}") from None
    return facts.st_ino, facts.st_mtime_ns
