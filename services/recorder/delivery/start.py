"""Starts a deliverer for each receiver of the settings. Raises SettingsError for what cannot work."""

import ssl
from collections.abc import Callable, Iterable

from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry

from services.recorder.clickhouse import Store
from services.recorder.delivery.deliverer import Deliverer, Receiver
from services.recorder.delivery.metrics import make_delivery_metrics
from services.recorder.delivery.place import Bookmark, Place
from services.recorder.delivery.syslog import SyslogDatagrams, SyslogStream, host_and_port
from services.recorder.delivery.webhook import Webhook, signing_key
from services.runtime.settings import SettingsError, reveal
from services.runtime.settings.delivery import SCHEMES, DeliverySettings
from services.runtime.tasks import TaskGroup


def start_deliveries(
    receivers: Iterable[DeliverySettings],
    *,
    dsn: str,
    bucket: KeyValue,
    stored: Callable[[], Place],
    writing: Callable[[], bool],
    registry: CollectorRegistry,
    tasks: TaskGroup,
) -> list[Store]:
    """`stored` is how far AUDIT is in ClickHouse for good. Answers the stores to close at the end."""
    wanted = list(receivers)
    if not wanted:
        return []
    metrics, store = make_delivery_metrics(registry), Store(dsn)
    for settings in wanted:
        deliverer = Deliverer(
            settings.name,
            receiver(settings),
            store=store,
            bookmark=Bookmark(bucket, settings.name),
            stored=stored,
            metrics=metrics,
            format_=settings.format,
            from_beginning=settings.start == "beginning",
            batch=settings.batch,
            largest=settings.largest,
        )
        tasks.start(deliverer.run(writing), f"delivery to {settings.name}")
    return [store]


def receiver(settings: DeliverySettings) -> Receiver:
    """What speaks to this one."""
    scheme = settings.to.partition(":")[0]
    if settings.over_http:
        assert settings.secret is not None
        headers = {name: reveal(value, f"audit.deliver.headers.{name}") for name, value in settings.headers.items()}
        try:
            key = signing_key(reveal(settings.secret, "audit.deliver.secret"))
        except ValueError as error:
            raise SettingsError(f"countersign.yaml: audit.deliver {settings.name}: {error}") from None
        return Webhook(settings.to, key, headers=headers, tls=_tls(settings), timeout=settings.timeout)
    host, port = host_and_port(settings.to, SCHEMES[scheme])
    if scheme == "syslog+udp":
        return SyslogDatagrams(host, port)
    return SyslogStream(host, port, tls=_tls(settings) if scheme == "syslog+tls" else None, timeout=settings.timeout)


def _tls(settings: DeliverySettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"countersign.yaml: audit.deliver {settings.name}: ca: {error}") from None
