"""Logging in at a database: what it may ask for over which way, and that it has to prove itself."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from scramp import ScramException, ScramMechanism

from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.protocols.postgres.codec.values import Reader
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.upstream.postgres.login import Credential, LoginFailed, Refused, Terms, Welcome, login

SECRET = "the-password-of-the-role"
CREDENTIAL = Credential("svc", SECRET)
EVERYTHING = Terms.over(trusted=True, password=True, required=None, certificate=None, binding="prefer")
READY = (backend.Authentication(backend.OK), backend.ReadyForQuery(b"I"))


def told(message: Any) -> Frame:
    return Frame(message.encode()[0], message.encode())


def converse(
    answers: Iterator[Any] | tuple[Any, ...], terms: Terms = EVERYTHING, credential: Credential = CREDENTIAL
) -> Welcome:
    """The conversation with a server that says these."""
    conversation = login({"database": "orders"}, credential, terms)
    next(conversation)
    try:
        for answer in answers:
            conversation.send(told(answer))
    except StopIteration as done:
        welcome: Welcome = done.value
        return welcome
    raise AssertionError("the login did not end")


class ScramServer:
    """scramp's side of the server."""

    def __init__(self, *, plus: bytes | None = None, password: str = SECRET) -> None:
        mechanism = ScramMechanism("SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256")
        salt, stored, key, iterations = mechanism.make_auth_info(password)
        binding = ("tls-server-end-point", plus) if plus else None
        self.server = mechanism.make_server(lambda _: (salt, stored, key, iterations), channel_binding=binding)

    def run(self, terms: Terms, *, offer: bytes, skip_proof: bool = False) -> str:
        """Log in; the mechanism that was chosen."""
        conversation = login({}, CREDENTIAL, terms)
        next(conversation)
        first = Reader(conversation.send(told(backend.Authentication(backend.SASL, offer)))[5:])
        chosen = first.text().decode()
        self.server.set_client_first((first.value() or b"").decode())
        challenge = self.server.get_server_first().encode()
        final = conversation.send(told(backend.Authentication(backend.SASL_CONTINUE, challenge)))
        self.server.set_client_final(final[5:].decode())
        if not skip_proof:
            proof = self.server.get_server_final().encode()
            assert conversation.send(told(backend.Authentication(backend.SASL_FINAL, proof))) == b""
        conversation.send(told(READY[0]))
        with pytest.raises(StopIteration):
            conversation.send(told(READY[1]))
        return chosen


BOTH = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
PLAIN = b"SCRAM-SHA-256\0\0"


@pytest.fixture(scope="module")
def certificate() -> bytes:
    """A server's certificate, as DER."""
    pem = trustme.CA().issue_cert("db.test").cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def end_point(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).fingerprint(hashes.SHA256())


def over(*, trusted: bool = False, **options: Any) -> Terms:
    given = {"password": True, "required": None, "certificate": None, "binding": "prefer"} | options
    return Terms.over(trusted=trusted, **given)


def test_scram_binds_itself_to_the_certificate(certificate: bytes) -> None:
    terms = over(certificate=certificate)
    assert ScramServer(plus=end_point(certificate)).run(terms, offer=BOTH) == "SCRAM-SHA-256-PLUS"


def test_another_certificate_does_not_pass(certificate: bytes) -> None:
    with pytest.raises(ScramException, match="channel-bindings-dont-match"):
        ScramServer(plus=b"somebody in between").run(over(certificate=certificate), offer=BOTH)


def test_without_tls_scram_is_not_bound() -> None:
    assert ScramServer().run(over(), offer=BOTH) == "SCRAM-SHA-256"


def test_a_server_that_leaves_out_its_proof_is_not_believed() -> None:
    with pytest.raises(LoginFailed, match="breaks off its proof"):
        ScramServer().run(over(), offer=PLAIN, skip_proof=True)


def test_the_server_has_to_sign() -> None:
    conversation = login({}, CREDENTIAL, over())
    next(conversation)
    first = Reader(conversation.send(told(backend.Authentication(backend.SASL, PLAIN)))[5:])
    first.text()
    nonce = (first.value() or b"").decode().partition("r=")[2]
    challenge = f"r={nonce}abc,s=QSXCR+Q6sek8bf92QSXCR+Q6,i=4096".encode()
    conversation.send(told(backend.Authentication(backend.SASL_CONTINUE, challenge)))
    with pytest.raises(LoginFailed, match="could not prove") as raised:
        conversation.send(told(backend.Authentication(backend.SASL_FINAL, b"v=" + b"A" * 43 + b"=")))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "data", "method"),
    [(backend.CLEARTEXT, b"", "password"), (backend.MD5, b"salt", "md5"), (backend.OK, b"", "none")],
)
def test_over_a_way_that_others_may_share_only_scram_is_accepted(code: int, data: bytes, method: str) -> None:
    asked = backend.Authentication(code, data)
    with pytest.raises(LoginFailed, match=f"`{method}`"):
        converse((asked,), over())
    answers = (asked, *READY) if code else READY
    assert converse(answers, over(trusted=True)).status == b"I"
    assert converse(answers, over(required=(method,))).status == b"I"


def test_without_a_password_there_is_nothing_to_guard() -> None:
    credential = Credential("svc", None)
    assert converse(READY, over(password=False), credential).status == b"I"
    with pytest.raises(LoginFailed, match="has none"):
        converse((backend.Authentication(backend.CLEARTEXT),), over(password=False), credential)


@pytest.mark.parametrize("asked", [backend.Authentication(backend.CLEARTEXT), backend.Authentication(backend.OK)])
def test_binding_that_is_insisted_on_cannot_be_talked_away(asked: Any, certificate: bytes) -> None:
    terms = over(trusted=True, certificate=certificate, binding="require")
    with pytest.raises(LoginFailed, match="channel_binding"):
        converse((asked,), terms)
    with pytest.raises(LoginFailed, match="no SCRAM mechanism"):
        converse((backend.Authentication(backend.SASL, PLAIN),), terms)


def test_what_the_server_tells_is_kept() -> None:
    said = (
        READY[0],
        backend.ParameterStatus(b"server_version", b"18.6"),
        backend.Report(backend.NOTICE, ((ord("M"), b"hello"),)),
        backend.BackendKeyData(7, b"1234"),
        READY[1],
    )
    welcome = converse(said)
    assert (welcome.parameters, welcome.key) == ({"server_version": "18.6"}, backend.BackendKeyData(7, b"1234"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (backend.Report(backend.ERROR, ((ord("C"), b"28P01"),)), Refused),
        (backend.Authentication(7), LoginFailed),
        (backend.Authentication(backend.SASL_CONTINUE), LoginFailed),
        (backend.Authentication(backend.MD5, b"too long"), ProtocolViolation),
        (backend.ReadyForQuery(b"I"), ProtocolViolation),
        (backend.CommandComplete(b"SELECT 1"), ProtocolViolation),
    ],
)
def test_anything_else_ends_it(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        converse((answer,))
    assert SECRET not in str(raised.value)


def test_md5_is_what_postgresql_computes() -> None:
    """PostgreSQL documentation, "Message Flow": md5(md5(password || user) || salt)."""
    conversation = login({}, Credential("u", "p"), EVERYTHING)
    next(conversation)
    answer = conversation.send(told(backend.Authentication(backend.MD5, b"\x01\x02\x03\x04")))
    inner = hashlib.md5(b"pu").hexdigest().encode()
    assert answer == frontend.password(b"md5" + hashlib.md5(inner + b"\x01\x02\x03\x04").hexdigest().encode())


def test_a_credential_does_not_show() -> None:
    assert SECRET not in repr(CREDENTIAL)
