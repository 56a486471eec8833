"""FastStream's NatsBroker as every service uses it: typed decoding without per-call injection, metrics and traces.

`apply_types=False` with a decoder that validates the model is what keeps a subscriber fast (architecture, section 4,
traps): a subscriber names its event with `decoder=of(OperationAttempted)`.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faststream.message import StreamMessage
from faststream.nats import NatsBroker
from faststream.nats.opentelemetry import NatsTelemetryMiddleware
from faststream.security import SASLPlaintext
from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from services.runtime.nats.bus_metrics import bus_metrics
from services.runtime.nats.client import BusAddress

M = TypeVar("M", bound=BaseModel)

#: FastStream tells each message it takes; what goes wrong is enough.
_LOGGER = logging.getLogger("faststream")
_LOGGER.setLevel(logging.WARNING)


def make_broker(
    bus: BusAddress | None,
    registry: CollectorRegistry | None = None,
    tracer_provider: TracerProvider | None = None,
) -> NatsBroker:
    """A broker, not yet connected. Without an address it only describes itself (docs/asyncapi.yaml)."""
    middlewares: list[Any] = []
    if registry is not None and bus is not None:
        middlewares.append(bus_metrics(registry, bus.role))
    if tracer_provider is not None:
        middlewares.append(NatsTelemetryMiddleware(tracer_provider=tracer_provider))
    options: dict[str, Any] = dict(bus.options()) if bus else {}
    if bus:
        context = bus.tls()
        options["security"] = SASLPlaintext(bus.user, bus.password, ssl_context=context, use_ssl=context is not None)
    return NatsBroker(
        **options,
        apply_types=False,
        middlewares=middlewares,
        logger=_LOGGER,
        log_level=logging.DEBUG,
        graceful_timeout=15.0,
    )


def of(model: type[M]) -> Callable[[StreamMessage[Any]], Awaitable[M]]:
    """A decoder to one event class. Raises pydantic's ValidationError, which the ack policy turns into a reject."""

    async def decode(message: StreamMessage[Any]) -> M:
        return model.model_validate_json(message.body)

    return decode
