"""TLS of our own listener: the operator's certificate, reloaded when its files change, or a local CA for embedded use.

The context that the listener holds never changes; what it presents does (`sni_callback` picks the newest), so a
renewed certificate is served without a restart and without dropping a connection.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schemas.base import utc_now
from services.runtime.data_dir import DataDir, replace, write_once
from services.runtime.settings import SettingsError
from services.runtime.settings.model import ListenTls

log = structlog.get_logger(__name__)

#: Seconds between two looks at the files.
POLL = 2.0
#: The local CA lives long enough to be trusted once; its leaf certificate is made anew at every start, and when two
#: thirds of its life are over.
CA_DAYS = 3650
LEAF_DAYS = 90
#: A certificate of the operator's that ends sooner than this, or than a fifth of its life, is an error in the log, once
#: a day.
SHORT = timedelta(days=7)
TOLD_EVERY = timedelta(days=1)


@dataclass
class ListenerTls:
    """Presents the newest usable certificate."""

    cert: Path
    key: Path
    #: What is spoken inside (RFC 7301).
    alpn: str = "http/1.1"
    #: Makes both files anew; None where they are the operator's.
    issue: Callable[[], object] | None = None
    clock: Callable[[], datetime] = utc_now
    context: ssl.SSLContext = field(init=False)
    _newest: ssl.SSLContext = field(init=False)
    _stamp: tuple[int, ...] = field(init=False)
    _told: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Raises SettingsError when the files cannot be used."""
        try:
            self._stamp = self._stamps()
            self._newest = self._load()
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or "not a PEM certificate with its key"
            raise SettingsError(f"countersign.yaml: listen.tls: {self.cert}, {self.key}: {reason}") from None
        self.context = self._load()
        self.context.sni_callback = self._present

    async def watch(self) -> None:
        """Reload when the files change; a pair that cannot be used is reported, and the old one stays."""
        while True:
            await asyncio.sleep(POLL)
            self.check()
            self.keep_valid()

    def keep_valid(self) -> None:
        """Look at the end of the certificate's life: issue the next one, or say that somebody has to."""
        now = self.clock()
        if self._told and now < self._told + TOLD_EVERY:
            return
        try:
            begins, ends = _life(self.cert)
            if self.issue is None:
                if ends - now < min(SHORT, (ends - begins) / 5):
                    self._told = now
                    log.error("the TLS certificate ends soon; renew it", cert=str(self.cert), ends=ends.isoformat())
            elif now > begins + (ends - begins) * 2 / 3:
                self.issue()
                self.check()
        except (OSError, ValueError) as error:
            self._told = now
            log.error("the TLS certificate could not be renewed or read", cert=str(self.cert), error=str(error))

    def check(self) -> bool:
        """Look at the files once; True when a new pair is presented from now on."""
        try:
            stamp = self._stamps()
            if stamp == self._stamp:
                return False
            self._newest = self._load()
        except (OSError, ssl.SSLError) as error:
            log.error("the new TLS certificate cannot be used; the old one stays", error=str(error))
            return False
        self._stamp = stamp
        log.info("TLS certificate reloaded", cert=str(self.cert))
        return True

    def speaking(self, alpn: str) -> "ListenerTls":
        """The same certificate for another protocol."""
        return ListenerTls(self.cert, self.key, alpn)  # the other one renews it

    def _present(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([self.alpn])
        context.load_cert_chain(self.cert, self.key)
        return context

    def _stamps(self) -> tuple[int, ...]:
        return tuple(value for path in (self.cert, self.key) for value in (path.stat().st_mtime_ns, path.stat().st_ino))


def listener_tls(setting: ListenTls | str | None, data: DataDir, *hosts: str) -> ListenerTls | None:
    """What the settings ask for; `auto` makes `<data>/keys/ca.pem` and a certificate it signed for these hosts."""
    if setting is None:
        return None
    if isinstance(setting, ListenTls):
        return ListenerTls(setting.cert, setting.key)
    return ListenerTls(*_issue(data, hosts), issue=lambda: _issue(data, hosts))


def _life(cert: Path) -> tuple[datetime, datetime]:
    """From when to when a certificate is valid. Raises OSError, ValueError."""
    certificate = x509.load_pem_x509_certificate(cert.read_bytes())
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _issue(data: DataDir, hosts: tuple[str, ...]) -> tuple[Path, Path]:
    ca_key, ca = _authority(data)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("countersign gateway", ca.subject, key, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    cert_file, key_file = data.keys / "listener.pem", data.keys / "listener.key"
    replace(key_file, _private(key))
    replace(cert_file, certificate.public_bytes(serialization.Encoding.PEM))
    return cert_file, key_file


def _authority(data: DataDir) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key_file, ca_file = data.keys / "ca.key", data.keys / "ca.pem"
    if not key_file.exists():
        write_once(key_file, _private(ec.generate_private_key(ec.SECP256R1())))
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    if not ca_file.exists():
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Countersign local CA")])
        ca = (
            _builder("Countersign local CA", name, key, CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_signs_certificates(), critical=True)
            .sign(key, hashes.SHA256())
        )
        write_once(ca_file, ca.public_bytes(serialization.Encoding.PEM))
    return key, x509.load_pem_x509_certificate(ca_file.read_bytes())


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = utc_now()
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
    )


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    for host in hosts:
        try:
            address = ip_address(host)
        except ValueError:
            name: x509.GeneralName = x509.DNSName(host)
        else:
            name = names[0] if address.is_unspecified else x509.IPAddress(address)
        if name not in names:
            names.append(name)
    return names


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
