"""Names a rule's `mask` may use: the sets by name, and how an entity's name is written.

What each set holds and what each entity looks like is ingress's business (services/ingress/masking/entities.py); a
name that fits but that no ingress knows cannot be masked, and so nothing is forwarded (G1).
"""

import re

#: Sets of entities, as `mask: {request: [secrets, pii]}` names them.
SETS: tuple[str, ...] = ("secrets", "pii", "financial")

#: An entity, built in or the operator's own: `EMAIL`, `CREDIT_CARD`, `EMPLOYEE_NUMBER`.
ENTITY = re.compile(r"^[A-Z][A-Z0-9_]*$")


def is_known(name: str) -> bool:
    """Whether `name` is a set, or is written as an entity is."""
    return name in SETS or (ENTITY.match(name) is not None and name.lower() not in SETS)
