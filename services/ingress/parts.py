"""What sessions of every protocol work with: built once at start (`__main__`), handed to each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from services.ingress.admission import Admission
from services.ingress.aside import Aside
from services.ingress.countersigned import Countersigned
from services.ingress.emit import Emitter
from services.ingress.gate import Gate
from services.ingress.holding import Holding
from services.ingress.inspection import Inspector
from services.ingress.lasting import Lasting
from services.ingress.limiter import Limiter
from services.ingress.metrics import Metrics
from services.ingress.protocols.postgres.catalogs import Catalogs
from services.ingress.refusals import Refusals
from services.ingress.upstream.http import Upstream
from services.ingress.vault import Vault
from services.runtime.settings import Settings


@dataclass(frozen=True)
class Parts:
    """The ingress, taken apart."""

    settings: Settings
    registry: CollectorRegistry
    emitter: Emitter
    admission: Admission
    gate: Gate
    holding: Holding
    countersigned: Countersigned
    lasting: Lasting
    inspector: Inspector
    vault: Vault
    upstreams: Mapping[str, Upstream]
    refusals: Refusals
    metrics: Metrics
    limiter: Limiter
    digest_key: bytes
    catalogs: Catalogs = field(default_factory=Catalogs)
    aside: Aside = field(default_factory=Aside)
