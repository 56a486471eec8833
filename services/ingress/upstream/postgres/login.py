"""Log in to a PostgreSQL server: the conversation from the startup packet to the first ReadyForQuery, without I/O.

    we send                    they answer            next
    Startup                    Authentication…        the method's own words, if it is accepted here
    password, md5, SCRAM       AuthenticationOk       only once the server has proved itself where that was due
    nothing                    ParameterStatus,       ReadyForQuery: logged in
                               BackendKeyData
    anything                   ErrorResponse          Refused

Who may ask for what: a server in clear or without a verified certificate gets no password that somebody in between
could use, and has to know it itself (SCRAM is mutual, RFC 5802); `require_auth` says otherwise for one connector.
"""

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from scramp import ScramClient, ScramException

from services.ingress.protocols.postgres.codec import backend, frontend, startup
from services.ingress.protocols.postgres.codec.framing import Frame, Item
from services.ingress.protocols.postgres.codec.values import Reader
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.runtime.settings.connectors import AuthMethod

SCRAM, SCRAM_PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"
#: RFC 5929, section 4.
BINDING = "tls-server-end-point"
_ALL: frozenset[AuthMethod] = frozenset(("scram-sha-256", "md5", "password", "none"))

Conversation = Generator[bytes, Item, "Welcome"]


class LoginFailed(Exception):
    """We will not, or cannot, do what the server asks; the message names no credential."""


class Refused(Exception):
    """The server said no, in an ErrorResponse."""

    def __init__(self, report: backend.Report) -> None:
        super().__init__(report["C"].decode("ascii", "replace"))
        self.report = report


@dataclass(frozen=True)
class Credential:
    """The role and its password. Its repr holds neither."""

    user: str
    password: str | None

    def __repr__(self) -> str:
        return "Credential(…)"


@dataclass(frozen=True)
class Terms:
    """What is accepted from a server over a way like this."""

    methods: frozenset[AuthMethod]
    #: The certificate to bind SCRAM to (DER), where there is TLS and binding is not disabled.
    certificate: bytes | None = None
    must_bind: bool = False

    @classmethod
    def over(
        cls,
        *,
        trusted: bool,
        password: bool,
        required: tuple[AuthMethod, ...] | None,
        certificate: bytes | None,
        binding: str,
    ) -> "Terms":
        """By the way there: `trusted` is verified TLS, a Unix socket or loopback. No password, nothing to guard."""
        default: frozenset[AuthMethod] = _ALL if trusted or not password else frozenset(("scram-sha-256",))
        methods = frozenset(required) if required else default
        return cls(methods, None if binding == "disable" else certificate, binding == "require")

    def check(self, method: AuthMethod) -> None:
        """Raises LoginFailed when it is not accepted."""
        if self.must_bind and method != "scram-sha-256":
            raise LoginFailed("the server does not bind its login to TLS, and `channel_binding: require` insists on it")
        if method not in self.methods:
            wanted = ", ".join(sorted(self.methods))
            raise LoginFailed(
                f"the server asks for the login `{method}`; over this connection only {wanted} is accepted"
            )


@dataclass
class Welcome:
    """What the server told when it let us in."""

    parameters: dict[str, str] = field(default_factory=dict)
    key: backend.BackendKeyData | None = None
    status: bytes = b"I"


def login(parameters: Mapping[str, str], credential: Credential, terms: Terms) -> Conversation:
    """Yields what to send (may be nothing) and takes the server's next message.

    Raises LoginFailed, Refused, ProtocolViolation.
    """
    asked = startup.Startup((3, 0), {"user": credential.user, **parameters}).encode()
    message = _authentication((yield asked))
    if message.code != backend.OK:
        yield from _prove(message, credential, terms)
    else:
        terms.check("none")
    return (yield from _settle())


def _prove(asked: backend.Authentication, credential: Credential, terms: Terms) -> Generator[bytes, Item, None]:
    if asked.code not in (backend.CLEARTEXT, backend.MD5, backend.SASL):
        raise LoginFailed(f"the server asks for a login that the gateway does not speak (code {asked.code})")
    method: AuthMethod
    method = {backend.CLEARTEXT: "password", backend.MD5: "md5"}.get(asked.code, "scram-sha-256")  # type: ignore[assignment]
    terms.check(method)
    if credential.password is None:
        raise LoginFailed("the server asks for a password, and `credential` has none")
    password = credential.password.encode()
    if asked.code == backend.SASL:
        answer = _authentication((yield from _scram(asked, credential.password, terms)))
    elif asked.code == backend.MD5:
        answer = _authentication((yield frontend.password(_md5(credential.user.encode(), password, asked.data))))
    else:
        answer = _authentication((yield frontend.password(password)))
    if answer.code != backend.OK:
        raise ProtocolViolation("the server asks twice")


def _scram(asked: backend.Authentication, password: str, terms: Terms) -> Generator[bytes, Item, Item]:
    """RFC 5802 and 7677; ends with what follows the server's proof."""
    offered = [name for name in _mechanisms(asked.data) if name in (SCRAM, SCRAM_PLUS)]
    if terms.certificate is None:
        offered = [name for name in offered if name != SCRAM_PLUS]
    if terms.must_bind:
        offered = [name for name in offered if name == SCRAM_PLUS]
    if not offered:
        raise LoginFailed("the server offers no SCRAM mechanism that can be used here")
    try:
        binding = None if terms.certificate is None else (BINDING, _end_point(terms.certificate))
        # PostgreSQL takes the user from the startup packet; libpq sends `*` to no other effect than a name here.
        client = ScramClient(offered, "*", password, channel_binding=binding)
        first = frontend.sasl_initial(client.mechanism_name.encode(), client.get_client_first().encode())
        client.set_server_first(_said((yield first), backend.SASL_CONTINUE))
        final = frontend.Password(client.get_client_final().encode()).encode()
        client.set_server_final(_said((yield final), backend.SASL_FINAL))
    except ScramException:
        # Its text may hold what the server said.
        raise LoginFailed("the server could not prove that it knows the password (SCRAM)") from None
    return (yield b"")


def _settle() -> Generator[bytes, Item, Welcome]:
    welcome = Welcome()
    while True:
        frame = yield b""
        match backend.read(_frame(frame)):
            case backend.ParameterStatus(name, value):
                welcome.parameters[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            case backend.BackendKeyData() as key:
                welcome.key = key
            case backend.Report(kind=backend.ERROR) as report:
                raise Refused(report)
            case backend.Report() | backend.NegotiateProtocolVersion():
                pass  # a notice about our login is not the agent's
            case backend.ReadyForQuery(status):
                welcome.status = status
                return welcome
            case _:
                raise ProtocolViolation("the server says something else than that it is ready")


def _authentication(item: Item) -> backend.Authentication:
    while True:
        match backend.read(_frame(item)):
            case backend.Authentication() as message:
                return message
            case backend.Report(kind=backend.ERROR) as report:
                raise Refused(report)
            case _:
                raise ProtocolViolation("the server says something else than how to log in")


def _said(item: Item, code: int) -> str:
    message = _authentication(item)
    if message.code != code:
        raise LoginFailed("the server breaks off its proof that it knows the password (SCRAM)")
    try:
        return message.data.decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolViolation("SCRAM is spoken in ASCII") from None


def _frame(item: Item) -> Frame:
    if not isinstance(item, Frame):
        raise ProtocolViolation("the server sends rows before it lets us in")
    return item


def _mechanisms(data: bytes) -> list[str]:
    reader, found = Reader(data), []
    while name := reader.text():
        found.append(name.decode("ascii", "replace"))
    return found


def _md5(user: bytes, password: bytes, salt: bytes) -> bytes:
    """PostgreSQL documentation, "Message Flow", AuthenticationMD5Password."""
    if len(salt) != 4:
        raise ProtocolViolation("a salt has 4 bytes")
    stored = hashlib.md5(password + user, usedforsecurity=False).hexdigest().encode()
    return b"md5" + hashlib.md5(stored + salt, usedforsecurity=False).hexdigest().encode()


def _end_point(certificate: bytes) -> bytes:
    """The certificate's hash by its own algorithm, MD5 and SHA-1 replaced by SHA-256 (RFC 5929, section 4.1)."""
    algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return hashlib.new(algorithm.name.replace("-", ""), certificate).digest()
