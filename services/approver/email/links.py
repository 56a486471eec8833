"""The link in a mail: one person, one approval, until it expires; a compact JWS by the approvers' key (RFC 7515).

Whoever holds a link is taken for the person it was mailed to, so it is as safe as their mailbox. It decides nothing by
being opened, and nothing twice: the record knows who has approved, and once it is settled no link moves it
(services/approver/pending.py). `typ` keeps links apart from certificates, which the same key signs (RFC 8725, 3.11).
Pure.
"""

from datetime import datetime

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import ConfigDict, Field, ValidationError

from schemas.base import Contract, Id, Moment

TYPE = "countersign-link+jws"
_ALGORITHMS = ["Ed25519"]
#: Characters of a link's token; a longer one is not ours.
MAX_TOKEN = 1024


class LinkRejected(Exception):
    """The link is not one of ours, or not intact."""


class Link(Contract):
    """What a link says. Names are short: it stands in an address line."""

    model_config = ConfigDict(populate_by_name=True)

    approval_id: Id = Field(alias="a")
    #: The address it was mailed to, as `identity.people` has it.
    address: str = Field(alias="p")
    #: The question's own end; the page still says how it ended.
    expires_at: Moment = Field(alias="e")


def sign(approval_id: str, address: str, expires_at: datetime, key: OKPKey) -> str:
    """The token of a link."""
    link = Link(approval_id=approval_id, address=address, expires_at=expires_at)
    return jws.serialize_compact(
        {"alg": "Ed25519", "typ": TYPE}, link.model_dump_json(by_alias=True), key, algorithms=_ALGORITHMS
    )


def verify(token: str, key: OKPKey) -> Link:
    """What the link says, if our key signed it. Raises LinkRejected."""
    if len(token) > MAX_TOKEN:
        raise LinkRejected("too long")
    try:
        signed = jws.deserialize_compact(token, key, algorithms=_ALGORITHMS)
        if signed.headers().get("typ") != TYPE:
            raise LinkRejected("not a link")
        return Link.model_validate_json(signed.payload)
    except (JoseError, ValueError, ValidationError):
        raise LinkRejected("not one of ours, or changed on the way") from None
