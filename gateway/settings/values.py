"""What the texts of the configuration mean: addresses, URLs, ranges. ValueError says what is wrong and what would be right.

A text that may hold a password is never quoted.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import BeforeValidator

from gateway.core.path import CanonicalPath, canonicalise
from gateway.policy_file.document import shown
from gateway.policy_file.units import duration_ms, size_bytes, truth, whole_number
from gateway.settings.key_file import KEY_LENGTH, key_of
from gateway.settings.shape import Address, Secret

NOT_YET: Final = "not in this version"
LEAST_VARIETY: Final = 8  # least different characters of a secret that signs JWTs
JWT_ALGORITHMS: Final = ("HS256", "RS256", "ES256")

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_PUBLIC_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(?:/[A-Za-z0-9._~%/-]*)?\Z")
_STORE_PREFIX: Final = re.compile(r"[A-Za-z0-9:._-]{1,64}\Z")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_STORE_LATER: Final = frozenset({"redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"})
_STORE_OPTIONS: Final = {"redis": {"db"}, "rediss": {"db"}, "unix": {"db", "username", "password"}}
# The gateway writes these itself, or they rule the connection; a credential in one of them would break the message.
_FRAMING: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "via", "proxy", "content-type")
)


def text(value: object) -> str:
    """The text itself; a section, a list or nothing at all is refused."""
    if not isinstance(value, str):
        raise ValueError("a text is needed here" if value is not None else "there is no value: write one, or leave the key out")  # noqa: TRY004  pydantic collects only ValueError
    return value


def reading(parse: Callable[[str], object]) -> BeforeValidator:
    """A validator that reads a text with ``parse``."""
    return BeforeValidator(lambda value: parse(text(value)))


def later(value: object) -> None:
    """The value of a key whose feature is not built yet: nothing, or a ValueError."""
    if value is not None:
        raise ValueError(NOT_YET)


def duration(least: str, most: str) -> BeforeValidator:
    """Milliseconds from ``250ms``, ``2s``, ``5m``, ``1h`` within a range."""
    low, high = duration_ms(least), duration_ms(most)

    def parse(written: str) -> int:
        if not low <= (value := duration_ms(written)) <= high:
            raise ValueError(f"{shown(written)} is out of range: write {least} to {most}")
        return value

    return reading(parse)


def size(least: str, most: str) -> BeforeValidator:
    """Bytes from ``512B``, ``16KiB``, ``10MiB``, ``1GiB`` within a range."""
    low, high = size_bytes(least), size_bytes(most)

    def parse(written: str) -> int:
        if not low <= (value := size_bytes(written)) <= high:
            raise ValueError(f"{shown(written)} is out of range: write {least} to {most}")
        return value

    return reading(parse)


def number(least: int, most: int) -> BeforeValidator:
    """A whole number within a range."""

    def parse(written: str) -> int:
        if not least <= (value := whole_number(written)) <= most:
            raise ValueError(f"{shown(written)} is out of range: write {least} to {most}")
        return value

    return reading(parse)


def one_of(*choices: str, later: tuple[str, ...] = ()) -> BeforeValidator:
    """One word of several; those of ``later`` are known and not built yet."""

    def parse(written: str) -> str:
        if written in later:
            raise ValueError(f"{NOT_YET}: known are {', '.join(choices)}")
        if written not in choices:
            raise ValueError(f"{shown(written)} is not one of {', '.join(choices)}")
        return written

    return reading(parse)


def yes_or_no() -> BeforeValidator:
    """``true`` or ``false``."""
    return reading(truth)


def host_name(written: str) -> str:
    """An IP address or a DNS name, in lower case. Numbers that resolvers take for addresses (``127.1``, ``0x7f000001``) are refused."""
    try:
        return str(ip_address(written))
    except ValueError:
        pass
    name = written.lower()
    labels = name.removesuffix(".").split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels) or re.match(r"(?:[0-9]+|0x[0-9a-f]*)\Z", labels[-1]):
        raise ValueError(f"{shown(written)} is neither a host name (ASCII) nor an IP address")
    return name


def address(written: str) -> Address:
    """``127.0.0.1:8080``, ``[::1]:8080``, ``localhost:8080``, or ``:8080`` for every address of the machine."""
    host, colon, port = written.rpartition(":")
    if not colon or not re.match(r"[0-9]{1,5}\Z", port) or int(port) > 65535:
        raise ValueError(f"{shown(written)} is no address: write HOST:PORT, as in 127.0.0.1:8080")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise ValueError(f"{shown(written)} holds no IPv6 address between its brackets") from None
    if ":" in host:
        raise ValueError(f"{shown(written)}: write an IPv6 address in brackets, as in [::1]:8080")
    return Address(host_name(host) if host else "", int(port))


class UpstreamUrl(NamedTuple):
    """``url`` is the origin (RFC 6454) as sent and rewritten: lower case, without the scheme's own port."""

    url: str
    host: str
    port: int
    tls: bool


def upstream_url(value: object) -> UpstreamUrl:
    """``http(s)://HOST[:PORT]``, or a list of one such. A path is refused: the path sent up is the one that was decided on, byte for byte."""
    if isinstance(value, list):
        if len(value) != 1:
            raise ValueError(f"{NOT_YET}: one address is" if value else "an address is needed here")
        value = value[0]
    written = text(value)
    parts = _split(written, "an address such as https://api.example.com")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("an upstream's address begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("an upstream's address holds no user or password: use credentials")
    if parts.path not in {"", "/"}:
        raise ValueError("an upstream's address has no path: the path sent up is the one that was asked for")
    if "?" in written or "#" in written:
        raise ValueError("an upstream's address ends with the host or the port")
    port = _port(parts, 1) or _DEFAULT_PORTS[parts.scheme]
    host = host_name(parts.hostname or "")
    shown_host = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{shown_host}" + ("" if port == _DEFAULT_PORTS[parts.scheme] else f":{port}")
    return UpstreamUrl(origin, host, port, parts.scheme == "https")


def public_url(written: str) -> str:
    """``http(s)://HOST[:PORT][/PATH]`` without a final slash. It is put into JSON and header fields, so only plain characters are taken."""
    parts = _split(written, "an address such as https://api.example.com")
    if not _PUBLIC_URL.match(written) or not parts.hostname:
        raise ValueError(f"{shown(written)} is no public address: write http(s)://HOST[:PORT][/PATH] without user, query or blanks")
    _port(parts, 1)
    host_name(parts.hostname)
    return written.rstrip("/")


def pages_url(written: str) -> str:
    """``http(s)://HOST[:PORT]``: the pages stand at its root, and their cookie belongs to the whole host."""
    found = public_url(written)
    if found.count("/") > 2:
        raise ValueError(f"{shown(written)} has a path: the pages stand at the root of a host of their own")
    return found.lower()


def oauth_scope(written: str) -> str:
    """One scope (RFC 6749 section 3.3)."""
    if not written or not all("!" <= character <= "~" and character not in '"\\' for character in written):
        raise ValueError(f"{shown(written)} is no scope of OAuth: write one word, as in [openid, profile]")
    return written


def signing_secret(written: str) -> Secret:
    """A secret that JWTs are signed with: long enough (RFC 7518 section 3.2), not of a few characters only, and no key of another kind."""
    if len(written.encode("utf-8", "surrogateescape")) < KEY_LENGTH:
        raise ValueError(f"it is too short: at least {KEY_LENGTH} characters are needed")
    if len(set(written)) < LEAST_VARIETY:
        raise ValueError("it is too simple: make one with openssl rand -base64 32")
    if "-----BEGIN" in written:
        raise ValueError("it is a key in PEM: name its public half as public_key_file")
    return Secret(written)


def https_url(written: str) -> str:
    """``https://HOST[:PORT]/PATH``: what is fetched there decides who comes in, so it is fetched by TLS alone."""
    parts = _split(written, "an address such as https://login.example.com/keys")
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("the address begins with https:// and a host")
    if "@" in parts.netloc or "#" in written:
        raise ValueError("the address holds no user, password or #")
    _port(parts, 1)
    host_name(parts.hostname)
    return written


def webhook_url(written: str) -> str:
    """``https://HOST[:PORT]/PATH``, or ``http://`` and the same where the host is this machine by its name or address. It may hold a secret part."""
    parts = _split(written, "an address such as https://hooks.example.com/scopegate")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("the address begins with https:// and a host")
    if parts.scheme == "http" and not is_local(parts.hostname):
        raise ValueError("the address begins with https://: only a receiver on this machine may be called without TLS")
    if "@" in parts.netloc or "#" in written or not written.isascii() or not written.isprintable() or " " in written:
        raise ValueError("the address holds no user, password, blank or #, and only ASCII")
    _port(parts, 1)
    host_name(parts.hostname)
    return written


def webhook_secret(written: str) -> Secret:
    """``whsec_`` and base64 of 24 to 64 bytes, as Standard Webhooks says."""
    try:
        key = base64.b64decode(written.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not written.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("it is no whsec_ and 24 to 64 bytes in base64: make one by printf 'whsec_%s\\n' \"$(head -c 32 /dev/urandom | base64)\"")
    return Secret(written)


def origin(written: str) -> str:
    """``https://HOST[:PORT]`` (RFC 6454), in small letters, without the scheme's own port."""
    parts = _split(written, "an origin such as https://intranet.example.com")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in {"", "/"} or "@" in parts.netloc or "?" in written or "#" in written:
        raise ValueError(f"{shown(written)} is no origin: write https://HOST or https://HOST:PORT, without a path")
    found = upstream_url(written)
    if not found.tls and not is_local(found.host):
        raise ValueError(f"{shown(written)}: only a page that came by https:// may show ours")
    return found.url


def text_value(written: str) -> str:
    """A text that is not empty."""
    if not written:
        raise ValueError("it is empty")
    return written


def admin_claim(written: str) -> str:
    """``NAME`` or ``NAME=VALUE``. An empty one, left by a variable that was not set, would make admins of people who have no value there."""
    name, equals, value = written.partition("=")
    if not name or (equals and not value):
        raise ValueError(f"{shown(written)}: write NAME, the claim that must be true, or NAME=VALUE")
    return written


def store_url(written: str) -> str:
    """``embedded``, ``redis(s)://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`` or ``unix://[USER[:PASSWORD]@]/PATH[?db=DATABASE]``."""
    if written == "embedded":
        return written
    parts = _split(written, "embedded, redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH")
    if parts.scheme in _STORE_LATER:
        raise ValueError(f"{parts.scheme}:// is {NOT_YET}")
    if parts.scheme not in _STORE_OPTIONS:
        raise ValueError("this is no store: write embedded, redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH")
    options = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in options:
        if name not in _STORE_OPTIONS[parts.scheme]:
            raise ValueError(f"{shown(name)} is no option of a {parts.scheme}:// address: known are {', '.join(sorted(_STORE_OPTIONS[parts.scheme]))}")
        if name == "db" and not re.match(r"[0-9]{1,5}\Z", value):
            raise ValueError("db is the number of a database")
    if "#" in written:
        raise ValueError("a '#' in a password is written %23")
    if parts.scheme in {"redis", "rediss"}:
        if not parts.hostname:
            raise ValueError(f"{parts.scheme}:// needs a host, as in {parts.scheme}://127.0.0.1:6379")
        _port(parts, 1)
        if not re.match(r"(?:/[0-9]{0,5})?\Z", parts.path):
            raise ValueError(f"after the host and port comes the number of a database, as in {parts.scheme}://127.0.0.1:6379/0")
    elif parts.hostname or not parts.path.startswith("/") or parts.path == "/":
        raise ValueError("unix:// needs the whole path of a socket, as in unix:///run/valkey/valkey.sock")
    return written


def network(written: str) -> IPv4Network | IPv6Network:
    """A CIDR (RFC 4632), or one IP address."""
    try:
        return ip_network(written)
    except ValueError:
        try:
            meant = ip_network(written, strict=False)
        except ValueError:
            raise ValueError(f"{shown(written)} is no network: write a CIDR, as in 10.0.0.0/8") from None
        raise ValueError(f"{shown(written)} has bits beyond its mask: did you mean {meant}?") from None


def admin_key(written: str) -> Secret:
    """At least 32 printable ASCII characters without blanks: it travels in ``Authorization``."""
    return key_of(written)


def credential_value(written: str) -> Secret:
    """A whole field value (RFC 9110 section 5.5) in printable ASCII."""
    if not written:
        raise ValueError("it is empty")
    if not all(" " <= character <= "~" for character in written):
        raise ValueError("it holds a character that a header field can't carry, perhaps a line break")
    if written != written.strip(" "):
        raise ValueError("it begins or ends with a blank")
    return Secret(written)


def field_name(written: str) -> str:
    """A field name (RFC 9110 section 5.1) that may carry a credential."""
    if not _FIELD_NAME.match(written):
        raise ValueError(f"{shown(written)} is no header field name")
    folded = re.sub(r"[^a-z0-9]", "-", written.lower())
    if folded in _FRAMING or folded.startswith(("x-scopegate-", "x-forwarded-", "proxy-")):
        raise ValueError(f"{shown(written)} can't carry a credential: the gateway writes this field itself")
    return written


def store_prefix(written: str) -> str:
    """What the store's keys begin with. Braces would change the hash slot, patterns the listing."""
    if not _STORE_PREFIX.match(written):
        raise ValueError(f"{shown(written)} is no key prefix: write 1 to 64 letters, digits and : . _ -")
    return written


def token_prefix(written: str) -> str:
    """What token texts begin with."""
    if not re.match(r"[a-z][a-z0-9]{1,15}\Z", written):
        raise ValueError(f"{shown(written)} is no token prefix: write 2 to 16 small letters and digits, a letter first")
    return written


def own_prefix(written: str) -> str:
    """A path that begins and ends with a slash, as all canonical paths under it do; "" for ``off``."""
    if written == "off":
        return ""
    path = canonicalise(written)
    plain = isinstance(path, CanonicalPath) and path.path == written and not path.encoded_slash and not re.search(r"[{}*]", written)
    if not plain or len(written) < 3 or not written.endswith("/"):
        raise ValueError(f"{shown(written)} is no prefix: write a path without templates that begins and ends with a slash, as in /.scopegate/, or off")
    return written


def upstream_name(written: str) -> str:
    """What routes and ``default_upstream`` call an upstream."""
    if not re.match(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,62}\Z", written):
        raise ValueError(f"{shown(written)} is no upstream name: write small letters, digits, - and single _")
    return written


def file_path(written: str) -> Path:
    """A path, relative to the current directory unless it begins with a slash."""
    if not written or "\0" in written:
        raise ValueError("a path is needed here")
    return Path(written)


def access_log(written: str) -> str:
    """``stdout``, ``off``, or a file. A bare word is more likely a slip than a file."""
    if written not in {"stdout", "off"} and not ("/" in written or "." in written):
        raise ValueError(f"{shown(written)} is not stdout, off or a file: write ./{shown(written)[1:-1]} if you mean a file")
    return written


def is_address(host: str) -> bool:
    """Is this an IP address rather than a name?"""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_local(host: str) -> bool:
    """Does this name or address mean the machine itself, whatever its network?"""
    if host in {"", "localhost"} or host.endswith((".localhost", "localhost.")):
        return True
    try:
        found: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_loopback or found.is_unspecified


def _split(written: str, wanted: str) -> SplitResult:
    """The parts of a URL. urlsplit drops line breaks and blanks at the ends silently: they are refused here."""
    if not written.isascii() or not written.isprintable() or " " in written or "\\" in written:
        raise ValueError(f"this holds a blank or a character that an address can't have: write {wanted}")
    try:
        return urlsplit(written)
    except ValueError:
        raise ValueError(f"this is no address: write {wanted}") from None


def _port(parts: SplitResult, least: int) -> int | None:
    """The port, None if none is written."""
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port is no number from 1 to 65535") from None
    if port is not None and port < least:
        raise ValueError("the port is no number from 1 to 65535")
    if port is None and parts.netloc.endswith(":"):
        raise ValueError("a port is missing after the colon")
    return port
