"""The local issuer: one key per directory whoever comes first, tokens that its verifier accepts, and no other."""

import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from services.runtime.identity.local import (
    LOCAL_ISSUER,
    MAX_TTL,
    PRIVATE_FILE,
    PUBLIC_FILE,
    LocalIssuer,
    LocalKeys,
)
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.verifier import TokenVerifier
from tests.identity.conftest import MakeVerifier
from tests.identity.idp import Clock, Idp


@pytest.fixture
def issuer(tmp_path: Path, clock: Clock) -> LocalIssuer:
    return LocalIssuer.load_or_create(tmp_path, clock)


@pytest.fixture
def verifier(tmp_path: Path, issuer: LocalIssuer, make_verifier: MakeVerifier) -> TokenVerifier:
    return make_verifier(local=LocalKeys(tmp_path))


async def test_minted_token_is_its_identity(issuer: LocalIssuer, verifier: TokenVerifier) -> None:
    token = issuer.mint(
        "agent-7", ["agents", "dba"], "service", email="a@example.com", connector="orders", owner="alice"
    )
    identity = await verifier.verify(token)
    assert (identity.subject, identity.issuer, identity.kind) == ("agent-7", LOCAL_ISSUER, "service")
    assert identity.groups == ("agents", "dba")
    assert (identity.email, identity.owner, identity.connector) == ("a@example.com", "alice", "orders")


async def test_plain_token_has_no_scope(issuer: LocalIssuer, verifier: TokenVerifier) -> None:
    identity = await verifier.verify(issuer.mint("alice"))
    assert (identity.groups, identity.kind, identity.connector) == ((), "agent", None)


async def test_token_carries_the_claims_of_rfc_7519(issuer: LocalIssuer, clock: Clock) -> None:
    from joserfc.jwk import KeySet

    token = issuer.mint("alice", ["agents"], ttl=timedelta(minutes=5))
    keys = KeySet.import_key_set(issuer.public_jwks())
    claims = jwt.decode(token, keys, algorithms=["Ed25519"]).claims
    assert claims["aud"] == "countersign"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["iat"] == claims["nbf"] == int(clock())
    assert set(claims) == {"iss", "aud", "iat", "nbf", "exp", "jti", "sub", "groups", "kind"}


async def test_token_ends_with_its_ttl(issuer: LocalIssuer, verifier: TokenVerifier, clock: Clock) -> None:
    token = issuer.mint("alice", ttl=timedelta(seconds=90))
    await verifier.verify(token)
    clock.advance(90 + 30)
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    assert caught.value.code is RejectionCode.EXPIRED


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"subject": ""}, "sub"),
        ({"subject": "a\nb"}, "sub"),
        ({"ttl": timedelta(0)}, "ttl"),
        ({"ttl": MAX_TTL + timedelta(seconds=1)}, "ttl"),
        ({"connector": "Orders DB"}, "connector"),
        ({"groups": ["ok", ""]}, "group"),
        ({"kind": "robot"}, "kind"),
    ],
)
def test_token_that_nobody_would_accept_is_not_minted(changes: dict[str, Any], says: str, issuer: LocalIssuer) -> None:
    with pytest.raises(ValueError, match=says):
        issuer.mint(**({"subject": "alice"} | changes))


def test_key_is_private_and_the_public_half_is_not(issuer: LocalIssuer, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / PRIVATE_FILE).stat().st_mode) == 0o600
    public = orjson.loads((tmp_path / PUBLIC_FILE).read_bytes())
    assert public == issuer.public_jwks()
    assert "d" not in public["keys"][0]
    assert {path.name for path in tmp_path.iterdir()} == {PRIVATE_FILE, PUBLIC_FILE}


def test_key_is_loaded_again(issuer: LocalIssuer, tmp_path: Path) -> None:
    assert LocalIssuer.load_or_create(tmp_path).public_jwks() == issuer.public_jwks()


def test_public_half_is_restored(issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / PUBLIC_FILE).write_text("{}")
    LocalIssuer.load_or_create(tmp_path)
    assert orjson.loads((tmp_path / PUBLIC_FILE).read_bytes()) == issuer.public_jwks()


def test_key_that_others_may_read_is_refused(issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / PRIVATE_FILE).chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        LocalIssuer.load_or_create(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kty":"OKP","crv":"Ed25519","x":"AA"}'])
def test_file_that_is_no_private_key_is_refused(content: str, issuer: LocalIssuer, tmp_path: Path) -> None:
    (tmp_path / PRIVATE_FILE).write_text(content)
    with pytest.raises(ValueError, match="not a private key"):
        LocalIssuer.load_or_create(tmp_path)


def test_processes_that_start_together_end_up_with_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from services.runtime.identity.local import LocalIssuer\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(LocalIssuer.load_or_create(Path(sys.argv[1])).public_jwks())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.stdout.readline() for process in started if process.stdout] == ["ready\n"] * 4
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert printed[0].startswith("{'keys'")
    assert len(set(printed)) == 1


async def test_verifier_waits_for_the_public_key_to_appear(
    tmp_path: Path, clock: Clock, make_verifier: MakeVerifier
) -> None:
    elsewhere, data = tmp_path / "a", tmp_path / "b"
    verifier = make_verifier(local=LocalKeys(data))
    token = LocalIssuer.load_or_create(elsewhere, clock).mint("alice")
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(token)
    assert caught.value.code is RejectionCode.ISSUER_UNAVAILABLE
    elsewhere.rename(data)
    assert (await verifier.verify(token)).subject == "alice"


async def test_verifier_takes_a_new_key_and_drops_the_old(
    issuer: LocalIssuer, verifier: TokenVerifier, tmp_path: Path, clock: Clock
) -> None:
    await verifier.verify(issuer.mint("alice"))
    (tmp_path / PRIVATE_FILE).unlink()
    renewed = LocalIssuer.load_or_create(tmp_path, clock)
    assert (await verifier.verify(renewed.mint("bob"))).subject == "bob"
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(issuer.mint("carol"))
    assert caught.value.code is RejectionCode.UNKNOWN_KEY


async def test_key_of_another_directory_does_not_count(verifier: TokenVerifier, tmp_path: Path, clock: Clock) -> None:
    stranger = LocalIssuer.load_or_create(tmp_path / "stranger", clock)
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(stranger.mint("alice"))
    assert caught.value.code is RejectionCode.UNKNOWN_KEY


async def test_remote_issuer_cannot_speak_for_the_local_one(
    idp: Idp, issuer: LocalIssuer, tmp_path: Path, make_verifier: MakeVerifier, rsa_key: RSAKey
) -> None:
    verifier = make_verifier(idp.issuer, local=LocalKeys(tmp_path))
    with pytest.raises(TokenRejected) as caught:
        await verifier.verify(idp.token(iss=LOCAL_ISSUER))
    assert caught.value.code is RejectionCode.ALGORITHM


async def test_connector_scope_of_a_remote_issuer_counts_only_when_mapped(
    idp: Idp, make_verifier: MakeVerifier
) -> None:
    token = idp.token(connector="orders")
    assert (await make_verifier(idp.issuer).verify(token)).connector is None
    mapped = make_verifier(idp.issuer, claims={"connector": "connector"})
    assert (await mapped.verify(token)).connector == "orders"
    with pytest.raises(TokenRejected) as caught:
        await mapped.verify(idp.token(connector="Not A Name"))
    assert caught.value.code is RejectionCode.CLAIMS
