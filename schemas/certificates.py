"""The claims an approver signs, as a compact JWS (RFC 7515; Ed25519, RFC 9864).

An approval's certificate covers exactly one operation, once; a grant's covers one identity, rule and connector until
it expires. Ingress verifies either with the approvers' public keys (services/runtime/certificates.py) and compares
every claim with the operation at hand: G5.
"""

from typing import Literal

from pydantic import Field

from schemas.base import Contract, Moment, Name


class Certificate(Contract):
    """What was approved, by whom, until when.

    `kind="once"` binds `operation_digest` and is spent in the `approvals` bucket; `kind="grant"` binds `rules` and
    must still be present in the `grants` bucket when used.
    """

    kind: Literal["once", "grant"]
    #: The approval's id, or the grant's.
    id: str
    issuer: str
    subject: str
    connector: Name
    #: The rules that asked; what was approved is what they asked about.
    rules: tuple[Name, ...]
    policy_version: str
    operation_digest: str = ""
    #: How often a grant may be used; 0 for as often as its window allows.
    max_uses: int = Field(default=0, ge=0)
    approved_by: tuple[str, ...]
    issued_at: Moment
    expires_at: Moment
