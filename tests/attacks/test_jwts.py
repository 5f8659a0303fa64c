"""Users' JWTs: whom they name, and the attacks on them. Each attack is refused, and taken once the rule that stops it is taken out."""

from __future__ import annotations

import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.core.principal import Principal
from gateway.core.scope import GrantSet
from gateway.management import user_tokens
from gateway.management.key_sets import KeySets, usable
from gateway.management.problem import Problem
from gateway.management.user_tokens import LONGEST, UserTokens
from gateway.settings import JwtIssuer, Secret

SHARED = "a secret of thirty-two characters, shared with the product"
RSA_KEY, ANOTHER_KEY = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = "https://login.example"
JWKS = "https://login.example/keys"


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


BY_SECRET = JwtIssuer(ISSUER, "scopegate", ("HS256",), "", "", Secret(SHARED), "sub", "admin", "grants")
BY_RSA = replace(BY_SECRET, algorithms=("RS256",), secret=None, public_key=pem(RSA_KEY))
BY_EC = replace(BY_RSA, algorithms=("ES256",), public_key=pem(EC_KEY))
BY_SET = replace(BY_RSA, public_key="", jwks_url=JWKS)


def claims(**changed: object) -> dict[str, object]:
    facts: Mapping[str, object] = {"iss": ISSUER, "aud": "scopegate", "sub": "ana", "exp": int(time.time()) + 60, "grants": "*", **changed}
    return {name: value for name, value in facts.items() if value is not None}


def b64(data: bytes | str) -> str:
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def signed(changed: Mapping[str, object] | None = None, key: Any = SHARED, algorithm: str = "HS256", **header: object) -> str:
    return jwt.encode(claims(**(changed or {})), key, algorithm, dict(header) or None)


def written(head: str, body: str, key: Any = SHARED, algorithm: str = "HS256") -> str:
    """A JWT with these very texts, rightly signed."""
    signer = jwt.get_algorithm_by_name(algorithm)
    message = f"{b64(head)}.{b64(body)}"
    return f"{message}.{b64(signer.sign(message.encode(), signer.prepare_key(key)))}"


def unsigned(head: bytes | str, body: bytes | str) -> str:
    """A JWT whose signature is nonsense."""
    return f"{b64(head)}.{b64(body)}.{b64('x')}"


def key_set(*keys: tuple[Any, str]) -> bytes:
    found = [{**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"} for key, kid in keys]
    return json.dumps({"keys": found}).encode()


def users(*issuers: JwtIssuer) -> UserTokens:
    keys = KeySets(issuers)
    for remote in keys._sets.values():
        remote.keys = usable(key_set((RSA_KEY, "one")))
        remote._tried_at = time.monotonic()
    return UserTokens(issuers, keys)


async def who(text: str, *issuers: JwtIssuer) -> Principal | str:
    """Whose JWT this is, or the code of the refusal."""
    try:
        return await users(*(issuers or (BY_SECRET,))).principal(text)
    except Problem as problem:
        return problem.reason.code


class Attack(NamedTuple):
    name: str
    text: Callable[[], str]
    issuers: tuple[JwtIssuer, ...]
    without_the_rule: Callable[[pytest.MonkeyPatch], None]
    configured_instead: tuple[JwtIssuer, ...] = ()  # where the rule is what is configured


def checks_less(**options: object) -> Callable[[pytest.MonkeyPatch], None]:
    """A decoder that leaves out what ``options`` say."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        decode = jwt.decode

        def lenient(text: str, key: Any, **given: Any) -> Any:
            return decode(text, key, **{**given, "options": {**given["options"], **options}})

        monkeypatch.setattr(user_tokens.jwt, "decode", lenient)

    return patch


def setting(target: object, name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(target, name, value)


def all_of(*patches: Callable[[pytest.MonkeyPatch], None]) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for one in patches:
            one(monkeypatch)

    return patch


def _named_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The JWT chooses the key that it is checked with."""

    async def key(_: object, __: object, ___: object) -> Any:
        return pem(ANOTHER_KEY)

    monkeypatch.setattr(KeySets, "key", key)


def _understands_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that must be understood are not looked at, here and in PyJWT."""
    parse = user_tokens._object
    monkeypatch.setattr(user_tokens, "_object", lambda text: {name: value for name, value in parse(text).items() if name not in {"crit", "b64"}})
    monkeypatch.setattr(jwt.PyJWS, "_validate_crit", lambda *_: None, raising=True)


def _confused() -> str:
    """Signed by HMAC with the text of the public key. PyJWT would not make one."""
    message = f"{b64(HEAD)}.{b64(json.dumps(claims()))}"
    hmac = jwt.get_algorithm_by_name("HS256")
    return f"{message}.{b64(hmac.sign(message.encode(), pem(RSA_KEY).encode()))}"


EXPIRED, HUGE = int(time.time()) - 3600, 10**300
NOTHING = setting(user_tokens, "LONGEST", LONGEST)  # the rule is in what is configured
HEAD = '{"alg":"HS256","typ":"JWT"}'
ATTACKS = [
    Attack(
        "alg none",
        lambda: unsigned('{"alg":"none"}', json.dumps(claims())),
        (BY_SECRET,),
        all_of(setting(jwt.algorithms.NoneAlgorithm, "verify", lambda *_: True), setting(jwt.algorithms.NoneAlgorithm, "prepare_key", lambda *_: None)),
        (replace(BY_SECRET, algorithms=("none",)),),
    ),
    Attack(
        "the public key as a shared secret",
        _confused,
        (BY_RSA,),
        setting(jwt.algorithms.HMACAlgorithm, "prepare_key", lambda _, key: key.encode() if isinstance(key, str) else key),
        (replace(BY_RSA, algorithms=("RS256", "HS256")),),
    ),
    *(
        Attack(f"kid {kid!r}", lambda kid=kid: signed(key=ANOTHER_KEY, algorithm="RS256", kid=kid), (BY_SET,), _named_key)  # type: ignore[misc]
        for kid in ("../../../../dev/null", "one' OR '1'='1", "one", "", "https://evil.example/keys#1", "one\0")
    ),
    *(
        Attack(f"{name} names the key", lambda name=name, value=value: signed(key=ANOTHER_KEY, algorithm="RS256", **{name: value}), (BY_SET,), _named_key)  # type: ignore[misc]
        for name, value in (
            ("jku", "https://evil.example/keys"),
            ("x5u", "https://evil.example/cert.pem"),
            ("jwk", jwt.algorithms.RSAAlgorithm.to_jwk(ANOTHER_KEY.public_key(), as_dict=True)),
            ("x5c", ["MIIB"]),
        )
    ),
    Attack("crit", lambda: signed(crit=["x"], x=1), (BY_SECRET,), _understands_all),
    Attack("crit of nothing", lambda: signed(crit=[]), (BY_SECRET,), _understands_all),
    Attack("b64 true", lambda: written('{"alg":"HS256","b64":true}', json.dumps(claims())), (BY_SECRET,), _understands_all),
    Attack("another audience", lambda: signed({"aud": "billing"}), (BY_SECRET,), checks_less(verify_aud=False)),
    Attack("a list of other audiences", lambda: signed({"aud": ["billing", "mail"]}), (BY_SECRET,), checks_less(verify_aud=False)),
    Attack("an empty list of audiences", lambda: signed({"aud": []}), (BY_SECRET,), checks_less(verify_aud=False)),
    Attack("no audience", lambda: signed({"aud": None}), (BY_SECRET,), checks_less(verify_aud=False, require=[])),
    Attack("another issuer", lambda: signed({"iss": "https://evil.example"}), (BY_SECRET,), NOTHING, (replace(BY_SECRET, issuer="https://evil.example"),)),
    Attack("the issuer with a slash", lambda: signed({"iss": ISSUER + "/"}), (BY_SECRET,), NOTHING, (replace(BY_SECRET, issuer=ISSUER + "/"),)),
    Attack("expired", lambda: signed({"exp": EXPIRED}), (BY_SECRET,), checks_less(verify_exp=False)),
    Attack("expired for longer than the leeway", lambda: signed({"exp": int(time.time()) - 61}), (BY_SECRET,), checks_less(verify_exp=False)),
    Attack("not valid yet", lambda: signed({"nbf": int(time.time()) + 3600}), (BY_SECRET,), checks_less(verify_nbf=False)),
    Attack("issued in the future", lambda: signed({"iat": int(time.time()) + 3600}), (BY_SECRET,), checks_less(verify_iat=False)),
    Attack("no expiry", lambda: signed({"exp": None}), (BY_SECRET,), checks_less(require=[])),
    Attack("no subject", lambda: signed({"sub": None, "name": "ana"}), (replace(BY_SECRET, subject_claim="name"),), checks_less(require=[])),
    Attack("an expiry as text", lambda: signed({"exp": str(int(time.time()) + 60)}), (BY_SECRET,), setting(user_tokens, "_TIMES", ())),
    Attack("an expiry of 300 digits", lambda: signed({"exp": HUGE}), (BY_SECRET,), setting(user_tokens, "_LATEST", HUGE + 1)),
    Attack("an expiry in the year 10000", lambda: signed({"exp": 253_402_300_800}), (BY_SECRET,), setting(user_tokens, "_LATEST", HUGE)),
    Attack(
        "a claim that stands twice",
        lambda: written(HEAD, json.dumps(claims(sub="ben"))[:-1] + ',"sub":"ana"}'),
        (BY_SECRET,),
        setting(user_tokens, "_each_once", dict),
    ),
    Attack(
        "a header field that stands twice",
        lambda: written('{"alg":"none","alg":"HS256"}', json.dumps(claims())),
        (BY_SECRET,),
        setting(user_tokens, "_each_once", dict),
    ),
    Attack("longer than 8 KiB", lambda: signed({"pad": "x" * LONGEST}), (BY_SECRET,), setting(user_tokens, "LONGEST", 10**6)),
    Attack(
        "a signature of zeroes for ES256",
        lambda: f"{signed(key=EC_KEY, algorithm='ES256').rpartition('.')[0]}.{b64(bytes(64))}",
        (BY_EC,),
        setting(jwt.algorithms.ECAlgorithm, "verify", lambda *_: True),
    ),
    Attack(
        "a signature in DER for ES256, r = s = 0",
        lambda: f"{signed(key=EC_KEY, algorithm='ES256').rpartition('.')[0]}.{b64(b64decode('MAYCAQACAQA='))}",
        (BY_EC,),
        setting(jwt.algorithms.ECAlgorithm, "verify", lambda *_: True),
    ),
    Attack(
        "another entry of the same issuer",
        lambda: signed({"aud": "admins"}),
        (BY_SECRET, replace(BY_RSA, audience="admins")),
        checks_less(verify_aud=False),
    ),
    Attack("the operator's name", lambda: signed({"sub": "operator"}), (BY_SECRET,), setting(user_tokens, "OPERATOR", "nobody")),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_the_attack_is_refused(attack: Attack) -> None:
    assert await who(attack.text(), *attack.issuers) == "jwt_invalid"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_the_attack_would_come_in_without_the_rule_that_stops_it(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    text = attack.text()
    attack.without_the_rule(monkeypatch)
    assert isinstance(await who(text, *(attack.configured_instead or attack.issuers)), Principal)


@pytest.mark.parametrize(
    "text",
    [
        "." * 10_000_000,
        "..",
        "a.b.c",
        unsigned("{}", "{}"),
        unsigned("[" * 5000, "{}"),
        unsigned(HEAD, "[1]"),
        unsigned(HEAD, '{"exp":NaN}'),
        unsigned(HEAD, '{"exp":1e999}'),
        unsigned(HEAD, '{"exp":' + "9" * 5000 + "}"),
        unsigned(HEAD, b"\xff\xfe"),
        unsigned('{"alg":["HS256"]}', json.dumps(claims())),
        *(unsigned(f'{{"alg":"{algorithm}","kid":{kid}}}', json.dumps(claims())) for algorithm in ("HS256", "RS256") for kid in ("7", "[]", '{"a":1}', "null")),
        json.dumps({"payload": "x", "signatures": [{"protected": "x", "signature": "x"}]}),
        b64('{"alg":"dir","enc":"A128GCM","zip":"DEF"}') + "..x.y.z",
        b64('{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2000000000}') + ".a.b.c.d",
    ],
    ids=lambda text: text[:20],
)
async def test_what_is_no_jwt_of_compact_form_is_refused_before_any_work(text: str) -> None:
    assert await who(text) == "jwt_invalid"
    assert await who(text, BY_SET) == "jwt_invalid"


@pytest.mark.parametrize(
    ("issuer", "key", "algorithm"), [(BY_SECRET, SHARED, "HS256"), (BY_RSA, RSA_KEY, "RS256"), (BY_EC, EC_KEY, "ES256"), (BY_SET, RSA_KEY, "RS256")]
)
async def test_each_kind_of_key_lets_its_users_in_and_no_others(issuer: JwtIssuer, key: Any, algorithm: str) -> None:
    text = signed(key=key, algorithm=algorithm)
    assert await who(text, issuer) == Principal("ana", admin=False, via="jwt")
    for other in {BY_SECRET, BY_RSA, BY_EC} - {issuer, BY_RSA if issuer is BY_SET else issuer}:
        assert await who(text, other) == "jwt_invalid"
    assert await who(text, BY_EC, BY_SECRET, BY_SET) == Principal("ana", admin=False, via="jwt") or issuer not in {BY_EC, BY_SECRET, BY_SET}


async def test_an_audience_in_a_list_is_an_audience() -> None:
    assert isinstance(await who(signed({"aud": ["mail", "scopegate"]})), Principal)


async def test_a_clock_that_is_a_little_off_does_no_harm() -> None:
    now = int(time.time())
    assert isinstance(await who(signed({"exp": now - 10, "nbf": now + 10, "iat": now + 10})), Principal)


@pytest.mark.parametrize("subject", ["", " ana", "ana\n", "x" * 256, 7, ["ana"], True, "ana\ud800"])
async def test_a_jwt_of_nobody_who_could_own_a_token_is_refused(subject: object) -> None:
    assert await who(signed({"name": subject}), replace(BY_SECRET, subject_claim="name")) == "jwt_invalid"


@pytest.mark.parametrize(
    ("named", "value", "admin"),
    [
        ("admin", True, True),
        ("admin", "true", False),
        ("admin", 1, False),
        ("roles=owner", "owner", True),
        ("roles=owner", ["reader", "owner"], True),
        ("roles=owner", "owners", False),
        ("roles=owner", {"owner": True}, False),
        ("", True, False),
    ],
)
async def test_an_admin_is_who_the_claim_says_and_nobody_else(named: str, value: object, admin: bool) -> None:
    issuer = replace(BY_SECRET, admin_claim=named)
    found = await who(signed({named.partition("=")[0] or "admin": value}), issuer)
    assert isinstance(found, Principal)
    assert found.admin is admin


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (["worklogs:view", "teams"], "worklogs:view teams:manage"),
        ("worklogs:view worklogs", "worklogs:manage"),
        (["No Scope", 7, None, "teams:all"], ""),
        ({"teams": True}, ""),
        (None, ""),
        ("*", None),
        (["*"], None),
        ("**", ""),
    ],
)
async def test_a_user_may_grant_what_the_claim_names_and_nothing_where_it_is_not_readable(value: object, held: str | None) -> None:
    found = await who(signed({"grants": value}))
    assert isinstance(found, Principal)
    assert (found.grants.text if isinstance(found.grants, GrantSet) else found.grants) == held


async def test_without_a_grants_claim_all_may_be_granted() -> None:
    found = await who(signed({"grants": ["worklogs"]}), replace(BY_SECRET, grants_claim=""))
    assert isinstance(found, Principal)
    assert found.grants is None


async def test_keys_that_were_never_read_are_a_fault_of_ours_and_not_of_the_jwt() -> None:
    tokens = users(BY_SET)
    for remote in tokens._keys._sets.values():
        remote.keys = None
    with pytest.raises(Problem) as caught:
        await tokens.principal(signed(key=RSA_KEY, algorithm="RS256", kid="one"))
    assert (caught.value.reason.code, caught.value.reason.status) == ("keys_unavailable", 503)
