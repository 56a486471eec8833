"""What an agent asks for, in the protocol's own terms, as policy judges it and people read it.

Ingress builds an `Operation` (services/ingress/classify), policy evaluates rules over it (services/policy), the
approver shows it, the recorder stores it. Everything in it is already masked; the keyed `digest` stands for what
was really asked, so that an approval binds to it without revealing it.
"""

from pydantic import Field

from schemas.base import Contract, Json, Name


class Connector(Contract):
    """The upstream an operation is for, without its credential or address."""

    name: Name
    protocol: str
    tags: dict[str, str] = Field(default_factory=dict)


class Operation(Contract):
    """One thing an agent attempts.

    `complete` is False when the content went on past the inspection window: then no rule may rely on it
    (architecture, section 2, G1).
    """

    #: `http.post`, `llm.chat`, `sql.select`, … (architecture, section 6).
    action: str
    #: What it touches: `/v1/refunds`, `gpt-5`, `orders.public.customers`, …
    resources: tuple[str, ...] = ()
    #: The masked text a person would read to understand it: an SQL statement, a prompt or body, a command line.
    statement: str = ""
    method: str = ""
    #: Percent-encoded as the agent sent it, without the connector's segment, masked.
    path: str = ""
    query: dict[str, str] = Field(default_factory=dict)
    #: Protocol facts for policy: media_type, model, messages, stream, tools, tables, …
    attributes: Json = Field(default_factory=dict)
    #: Bytes of content in the request, as far as known (Content-Length, or what was read of it).
    size: int = 0
    complete: bool = True
    #: HMAC-SHA-256 in hex over the canonical, unmasked operation, with the ingresses' key.
    digest: str


class Asked(Contract):
    """How the caller wants to learn of a hold."""

    #: Until when (seconds from the attempt) the caller waits for a person; 0 means not at all (`respond-async`).
    wait_seconds: float = 0
    #: The approval the caller presents (`Countersign-Approval`), if any.
    approval_id: str | None = None
    #: The caller's own words to the approver (`Countersign-Reason`), masked.
    reason: str = ""
    #: Joins the operations of one agent run (`Countersign-Run`).
    run: str = ""
