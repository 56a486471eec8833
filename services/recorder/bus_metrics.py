"""FastStream's Prometheus middleware with bounded labels: what is heard, by family of subjects.

By default its label is a batch's first subject, and ours hold operation and session ids: a new series for every batch.
"""

from collections.abc import Sequence
from typing import Any

from faststream.message import StreamMessage
from faststream.nats.prometheus.provider import BatchNatsMetricsSettingsProvider
from faststream.prometheus import ConsumeAttrs
from faststream.prometheus.middleware import PrometheusMiddleware
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry


class _ByFamily(BatchNatsMetricsSettingsProvider):
    """Batches of messages, labelled `cs.attempt`, `cs.verdict`, … after the first."""

    __slots__ = ()

    def get_consume_attrs_from_message(self, msg: StreamMessage[list[Msg]]) -> ConsumeAttrs:
        messages = msg.raw_message
        return {
            "destination_name": family(messages[0].subject),
            "message_size": sum(len(message.data) for message in messages),
            "messages_count": len(messages),
        }


def family(subject: str) -> str:
    """The first two tokens of a subject."""
    return ".".join(subject.split(".", 2)[:2])


def bus_metrics(registry: CollectorRegistry) -> PrometheusMiddleware[Any, Any]:
    """The middleware, to be added to the recorder's broker."""
    return PrometheusMiddleware(
        settings_provider_factory=_provider,
        registry=registry,
        app_name="recorder",
        metrics_prefix="countersign_bus",
    )


def _provider(message: Any) -> _ByFamily | None:
    return _ByFamily() if isinstance(message, Sequence) else None
