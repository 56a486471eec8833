"""Which header fields pass, in both directions (RFC 9110, section 7.6; RFC 6265 for cookies). Pure."""

from collections.abc import Collection
from urllib.parse import urlsplit

from multidict import CIMultiDict, MultiMapping

from services.ingress.protocols.http import preferences

#: Connection-level fields that never pass (RFC 9110, section 7.6.1), and those a proxy must not invent trust in.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: Where an agent shows its token; each is removed, whichever was used (the agent never sends the upstream a secret).
TOKEN_FIELDS = ("authorization", "x-api-key", "countersign-token")
#: Fields between the agent and the gateway.
OWN_PREFIX = "countersign-"
#: Fields that say where a request came from: what the agent claims is not passed on as if we had seen it.
FORWARDING = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"})

#: Never sent to an upstream. Host and Content-Length are the client library's to set; `Expect` was answered by us.
_NOT_FOR_UPSTREAM = HOP_BY_HOP | FORWARDING | {*TOKEN_FIELDS, "host", "content-length", "expect", "prefer"}
#: Never sent to an agent; Content-Length is decided by who sends the body.
_NOT_FOR_AGENT = HOP_BY_HOP | {"content-length"}

#: Fields by which frameworks replace what the request line says: what was judged would not be what is done.
_OVERRIDES = (
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-Method",
    "X-Original-URL",
    "X-Rewrite-URL",
)
#: What an approval does not cover: it tells of the client, the connection or the trace, and differs when a request is
#: sent again. Everything else may change what the request means. Content-Type is covered by itself.
_VOLATILE = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "content-type", "date", "dnt", "priority"),
        *(
            "user-agent",
            "x-requested-with",
            "origin",
            "referer",
            "upgrade-insecure-requests",
            "pragma",
            "cache-control",
        ),
        *("traceparent", "tracestate", "baggage", "b3", "uber-trace-id", "x-amzn-trace-id", "x-cloud-trace-context"),
        *("x-request-id", "x-correlation-id", "idempotency-key", "x-client-request-id", "x-ms-client-request-id"),
        *("newrelic", "elastic-apm-traceparent", "sentry-trace", "x-amz-date", "x-ms-date", "amz-sdk-invocation-id"),
        *("amz-sdk-request", "x-goog-api-client", "sec-websocket-key"),
    }
)
_VOLATILE_PREFIXES = ("x-stainless-", "x-b3-", "x-datadog-", "sec-fetch-", "sec-ch-")

#: About the very bytes of a body; untrue of a masked one (RFC 9110, section 8.4; RFC 9530).
ABOUT_BYTES = ("Content-Encoding", "Content-MD5", "Content-Digest", "Repr-Digest", "Digest")

Fields = CIMultiDict[str]


def override_in(received: MultiMapping[str]) -> str | None:
    """A field that would change the method or the path behind the gateway's back."""
    return next((name for name in _OVERRIDES if name in received), None)


def binding(fields: MultiMapping[str]) -> list[tuple[str, str]]:
    """Of the fields an upstream gets, those an approval covers: lower-case names with values, sorted by name."""
    found = [(name.lower(), value) for name, value in fields.items()]
    return sorted(
        (field for field in found if field[0] not in _VOLATILE and not field[0].startswith(_VOLATILE_PREFIXES)),
        key=lambda field: field[0],
    )


def for_upstream(received: MultiMapping[str], *, injected: Collection[str] = ()) -> Fields:
    """The agent's fields as the upstream may see them: no hop-by-hop, no token, nothing where we inject.

    `injected` are lower-case names.
    """
    kept = _kept(received, _NOT_FOR_UPSTREAM, injected)
    if "Prefer" in received and (wishes := preferences.for_upstream(received.getall("Prefer"))):
        kept["Prefer"] = wishes
    return kept


def for_agent(received: MultiMapping[str]) -> Fields:
    """The upstream's fields as the agent may see them."""
    return _kept(received, _NOT_FOR_AGENT)


def _kept(received: MultiMapping[str], dropped: Collection[str], also_dropped: Collection[str] = ()) -> Fields:
    named = _named_by_connection(received)
    kept: Fields = CIMultiDict()
    for name, value in received.items():
        lower = name.lower()
        if not (lower in dropped or lower in also_dropped or lower in named or lower.startswith(OWN_PREFIX)):
            kept.add(name, value)
    return kept


def rewrite_location(value: str, *, upstream: str, connector: str) -> str:
    """A redirect into the upstream becomes one through the gateway; one to elsewhere is left as it is."""
    base, found = urlsplit(upstream), urlsplit(value)
    if found.netloc and (found.scheme or base.scheme, found.netloc) != (base.scheme, base.netloc):
        return value
    path = found.path
    if not found.netloc and not path.startswith("/"):
        return value
    if base.path and path.startswith(f"{base.path}/"):
        path = path[len(base.path) :]
    rest = f"?{found.query}" if found.query else ""
    rest += f"#{found.fragment}" if found.fragment else ""
    return f"/{connector}{path or '/'}{rest}"


def rewrite_cookie(value: str, *, upstream: str, connector: str) -> str:
    """A cookie for a path of the upstream becomes one below the connector; its Domain is dropped (it is not ours)."""
    base = urlsplit(upstream).path
    name, *attributes = value.split(";")
    kept, path = [name], "/"
    for attribute in attributes:
        key, _, given = attribute.strip().partition("=")
        if key.lower() == "path":
            path = given.strip() or "/"
        elif key.lower() != "domain":
            kept.append(attribute.strip())
    if base and path.startswith(base):
        path = path[len(base) :] or "/"
    return "; ".join([*kept, f"Path=/{connector}{path if path.startswith('/') else '/'}"])


def _named_by_connection(fields: MultiMapping[str]) -> Collection[str]:
    values = fields.getall("Connection", ())
    return {token.strip().lower() for value in values for token in value.split(",")} if values else ()
