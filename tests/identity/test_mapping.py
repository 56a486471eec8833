"""Which claim tells what, and what happens to claims that cannot be mapped."""

from typing import Any

import pytest

from services.runtime.identity.claims import lookup
from services.runtime.identity.mapping import map_identity
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import IssuerSettings
from services.runtime.identity.verifier import TokenVerifier
from tests.identity.conftest import MakeVerifier
from tests.identity.idp import Idp

ISSUER = "https://idp.example.com"


def mapped(claims: dict[str, Any], mapping: dict[str, Any] | None = None, **settings: Any) -> Any:
    return map_identity({"sub": "alice"} | claims, IssuerSettings(issuer=ISSUER, claims=mapping or {}, **settings))


@pytest.mark.parametrize(
    ("path", "claims", "groups"),
    [
        ("groups", {"groups": ["a", "b c"]}, ("a", "b c")),
        ("groups", {}, ()),
        ("groups", {"groups": []}, ()),
        ("scope", {"scope": "read  write"}, ("read", "write")),
        ("realm_access.roles", {"realm_access": {"roles": ["dba"]}}, ("dba",)),
        ("realm_access.roles", {"realm_access": ["roles"]}, ()),
        ("https://example.com/groups", {"https://example.com/groups": ["a"]}, ("a",)),
        ("a.b", {"a.b": ["whole"], "a": {"b": ["path"]}}, ("whole",)),
        (["ci", "deploy"], {"groups": ["ignored"]}, ("ci", "deploy")),
    ],
)
def test_groups_are_found(path: Any, claims: dict[str, Any], groups: tuple[str, ...]) -> None:
    assert mapped(claims, {"groups": path}).groups == groups


@pytest.mark.parametrize("value", [7, True, {"a": 1}, ["a", None], [["a"]], ["a\nb"], [""]])
def test_groups_that_cannot_be_read_reject(value: Any) -> None:
    with pytest.raises(TokenRejected) as caught:
        mapped({"groups": value})
    assert caught.value.code is RejectionCode.CLAIMS


def test_groups_kept_elsewhere_reject() -> None:
    with pytest.raises(TokenRejected, match="too many"):
        mapped({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}})


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "a@example.com"}, "a@example.com"),
        ({"email": "a@example.com", "email_verified": True}, "a@example.com"),
        ({"email": "a@example.com", "email_verified": False}, ""),
        ({"email": "a@example.com", "email_verified": "false"}, ""),
        ({"email": ""}, ""),
        ({}, ""),
    ],
)
def test_address_counts_unless_it_is_said_to_be_unverified(claims: dict[str, Any], email: str) -> None:
    assert mapped(claims).email == email


@pytest.mark.parametrize(
    ("claims", "kind"),
    [({}, "human"), ({"idtyp": "app"}, "agent"), ({"idtyp": "service"}, "service"), ({"idtyp": "user"}, "human")],
)
def test_kind_is_translated_or_the_default(claims: dict[str, Any], kind: str) -> None:
    kinds = {"app": "agent", "user": "human"}
    assert mapped(claims, {"kind": "idtyp"}, kind="human", kinds=kinds).kind == kind


@pytest.mark.parametrize("value", ["robot", "", 1, ["human"]])
def test_unknown_kind_rejects_and_is_not_the_default(value: Any) -> None:
    with pytest.raises(TokenRejected, match="known kinds"):
        mapped({"idtyp": value}, {"kind": "idtyp"}, kind="human")


def test_kind_claim_means_nothing_unless_mapped() -> None:
    assert mapped({"kind": "human", "owner": "bob", "connector": "orders"}).kind == "agent"


def test_other_claims_are_kept_for_policy_and_those_of_the_token_are_not() -> None:
    identity = mapped(
        {"iss": ISSUER, "aud": "countersign", "exp": 1, "iat": 0, "nbf": 0, "nonce": "n", "jti": "j", "tid": "t"}
    )
    assert identity.claims == {"sub": "alice", "jti": "j", "tid": "t"}


def test_subject_and_owner_are_mapped() -> None:
    identity = mapped({"oid": "0-1", "owner": {"sub": "bob"}}, {"subject": "oid", "owner": "owner.sub"})
    assert (identity.subject, identity.owner, identity.key) == ("0-1", "bob", f"{ISSUER}#0-1")


def test_lookup_ends_where_the_path_does() -> None:
    assert lookup({"a": {"b": None}}, "a.b") is None
    assert lookup({"a": "b"}, "a.b.c") is None


@pytest.mark.parametrize(
    ("required", "claims", "counts"),
    [
        ({"repository_owner": "octo-org"}, {"repository_owner": "octo-org"}, True),
        ({"repository_owner": ["a", "octo-org"]}, {"repository_owner": "octo-org"}, True),
        ({"repository_owner": "octo-org"}, {"repository_owner": "Octo-Org"}, False),
        ({"repository_owner": "octo-org"}, {"repository_owner": "octo-org-evil"}, False),
        ({"repository_owner": "octo-org"}, {}, False),
        ({"roles": "agent"}, {"roles": ["other", "agent"]}, True),
        ({"roles": "agent"}, {"roles": []}, False),
        ({"flag": "true"}, {"flag": True}, False),
        ({"a.b": "c"}, {"a": {"b": "c"}}, True),
        ({"one": "1", "two": "2"}, {"one": "1"}, False),
    ],
)
async def test_required_claims_must_all_hold(
    required: dict[str, Any], claims: dict[str, Any], counts: bool, idp: Idp, make_verifier: MakeVerifier
) -> None:
    verifier = make_verifier(idp.issuer, required=required)
    if counts:
        await verifier.verify(idp.token(**claims))
        return
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(idp.token(**claims))
    assert caught.value.code is RejectionCode.CLAIMS


@pytest.mark.parametrize("audience", ["api://gw", ["countersign", "api://gw"]])
async def test_any_of_the_configured_audiences_counts(audience: Any, idp: Idp, make_verifier: MakeVerifier) -> None:
    verifier = make_verifier(idp.issuer, audience=audience)
    assert await verifier.verify(idp.token(aud="api://gw"))
    assert await verifier.verify(idp.token(aud=["other", "api://gw"]))


@pytest.mark.parametrize(
    ("claims", "counts"),
    [
        ({"exp": 29, "iat": None}, True),
        ({"exp": -29, "iat": -60}, True),
        ({"exp": -30, "iat": -60}, False),
        ({"nbf": 30}, True),
        ({"nbf": 31}, False),
        ({"exp": 60.5, "iat": -0.5}, True),
    ],
)
async def test_clocks_may_differ_by_the_leeway(
    claims: dict[str, float | None], counts: bool, idp: Idp, verifier: TokenVerifier
) -> None:
    moments = {name: None if offset is None else idp.clock() + offset for name, offset in claims.items()}
    if counts:
        assert await verifier.verify(idp.token(**moments))
        return
    with pytest.raises(TokenRejected):
        await verifier.verify(idp.token(**moments))
