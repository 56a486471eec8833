"""What the `policy` bucket holds under `current`: the policy in force, whole, so that all copies switch together."""

from schemas.base import Contract, Moment


class PolicyDocument(Contract):
    """A policy that was checked and applied."""

    #: Hash of the canonical form; every verdict carries it.
    version: str
    #: The YAML as it was applied, comments and all.
    text: str
    applied_at: Moment
    applied_by: str = ""
