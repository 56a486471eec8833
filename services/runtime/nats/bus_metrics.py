"""FastStream's Prometheus middleware with bounded labels: what is heard and said, by family of subjects.

By default its label is the subject, and ours hold operation, session and approval ids: a new series for every message.
"""

from collections.abc import Sequence
from typing import Any

from faststream.message import StreamMessage
from faststream.nats.prometheus.provider import BaseNatsMetricsSettingsProvider
from faststream.prometheus import ConsumeAttrs
from faststream.prometheus.middleware import PrometheusMiddleware
from faststream.response import PublishCommand
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry


class _ByFamily(BaseNatsMetricsSettingsProvider[Any]):
    """Labels `cs.attempt`, `cs.verdict`, …; a batch counts under its first message."""

    __slots__ = ()

    def get_consume_attrs_from_message(self, msg: StreamMessage[Any]) -> ConsumeAttrs:
        raw = msg.raw_message
        messages: Sequence[Msg] = raw if isinstance(raw, Sequence) else (raw,)
        return {
            "destination_name": family(messages[0].subject),
            "message_size": sum(len(message.data) for message in messages),
            "messages_count": len(messages),
        }

    def get_publish_destination_name_from_cmd(self, cmd: PublishCommand) -> str:
        return family(cmd.destination)


def family(subject: str) -> str:
    """The first two tokens of a subject; every inbox is `inbox`."""
    return "inbox" if subject.startswith("_INBOX") else ".".join(subject.split(".", 2)[:2])


def bus_metrics(registry: CollectorRegistry, service: str) -> PrometheusMiddleware[Any, Any]:
    """The middleware of one service's broker."""
    return PrometheusMiddleware(
        settings_provider_factory=_provider,
        registry=registry,
        app_name=service,
        metrics_prefix="countersign_bus",
    )


def _provider(message: Any) -> _ByFamily | None:
    """None for what is no message: key-value and object watches."""
    return _ByFamily() if message is None or isinstance(message, Msg | Sequence) else None
