"""The instance's own keys: the approvers' and the recorder's signing keys (Ed25519), the ingresses' digest key (HMAC).

Embedded, they are made in the data directory at first use. Deployed, the settings name files that the operator
mounts: the private key into approvers only, the public one into ingresses only.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from services.runtime.data_dir import DataDir, write_once
from services.runtime.settings import SettingsError
from services.runtime.settings.approvals import ApprovalSettings

PRIVATE = "approver.pem"
PUBLIC = "approver.pub.pem"
#: The recorder's: it signs the heads of the log.
LOG = "log.pem"


def create_approver_keys(data: DataDir) -> None:
    """Make the embedded instance's pair unless it is there; the supervisor calls it before any service starts."""
    private = data.keys / PRIVATE
    if not private.exists():
        write_once(private, OKPKey.generate_key("Ed25519").as_pem(private=True))
    public = data.keys / PUBLIC
    if not public.exists():
        write_once(public, _read(private).as_pem(private=False))


def signing_key(settings: ApprovalSettings, data: DataDir) -> OKPKey:
    """The approvers' private key. Raises SettingsError when it cannot be read."""
    return _read(settings.signing_key or data.keys / PRIVATE)


def trusted_keys(settings: ApprovalSettings, data: DataDir) -> tuple[OKPKey, ...]:
    """The public keys whose certificates ingress accepts; several while a key is rotated. Raises SettingsError."""
    return tuple(_read(path) for path in settings.trusted_keys or (data.keys / PUBLIC,))


def log_key(path: Path | None, data: DataDir) -> Ed25519PrivateKey:
    """The key that signs checkpoints: the named file, or one in the data directory, made at first use.

    Raises SettingsError when it cannot be read.
    """
    if path is None:
        path = data.keys / LOG
        if not path.exists():
            write_once(path, OKPKey.generate_key("Ed25519").as_pem(private=True))
    key = _read(path).private_key
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: not an Ed25519 private key; make one with `openssl genpkey -algorithm ed25519`")
    return key


def digest_key(data: DataDir) -> bytes:
    """The ingresses' key for operation digests."""
    return data.secret_file("digest.key").read_bytes()


def _read(path: Path) -> OKPKey:
    try:
        return OKPKey.import_key(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not an Ed25519 key in PEM"
        raise SettingsError(f"{path}: {reason}; make one with `openssl genpkey -algorithm ed25519`") from None
