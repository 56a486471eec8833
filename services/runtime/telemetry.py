"""W3C Trace Context through the pipeline, and OpenTelemetry's exporter where the settings name a collector.

The agent's `traceparent` is carried in every event and on to the upstream; when the agent sends none, we start one,
so that a prompt, its verdict and its upstream call can be joined in any case.
"""

import re

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from uuid_utils import uuid4

from services.runtime.settings.model import Telemetry

#: W3C Trace Context, section 3.2.2: version 00 with lower-case hex; all-zero ids are invalid.
_TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")


def carried(traceparent: str) -> str:
    """The caller's `traceparent` if it is valid, else a new sampled one."""
    if _TRACEPARENT.match(traceparent):
        return traceparent
    return f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"


def tracer_provider(service: str, settings: Telemetry) -> TracerProvider | None:
    """A provider that exports over OTLP/HTTP, or None when no collector is configured."""
    if settings.otlp is None:
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": f"countersign-{service}"}))
    endpoint = settings.otlp.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider
