"""The people of `identity.people`: whom a channel may ask by address, and the reviewer each of them is.

Pure. A channel that learns an address in its own way (a confirmed Slack account, a signed link, a receiver that is
trusted to name people) finds the person here; one who is not here decides nothing.
"""

from collections.abc import Iterable, Mapping
from email.errors import MessageError
from email.headerregistry import Address
from typing import Literal

from schemas.approvals import Reviewer
from services.runtime.settings import SettingsError
from services.runtime.settings.model import Person

Known = Mapping[str, Person]


def by_address(people: Iterable[Person]) -> dict[str, Person]:
    """People by e-mail address, in lower case. Raises SettingsError when one address stands for two."""
    known: dict[str, Person] = {}
    for person in people:
        if known.setdefault(person.email.casefold(), person) is not person:
            raise SettingsError(f"countersign.yaml: identity.people: {person.email} stands there twice; merge the two")
    return known


def mailable(people: Iterable[Person]) -> dict[str, Person]:
    """As `by_address`, of people whom mail can reach. Raises SettingsError for what is not one address."""
    known = by_address(people)
    for person in known.values():
        if not is_address(person.email):
            raise SettingsError(
                f"countersign.yaml: identity.people: {person.email!r} is not an e-mail address in ASCII"
            )
    return known


def is_address(text: str) -> bool:
    """Whether this is one mailbox as it stands in an envelope: no name, no list, nothing that breaks a header.

    In ASCII: few relays take others (RFC 6531), and a domain has its `xn--` form.
    """
    try:
        address = Address(addr_spec=text)
    except (MessageError, ValueError, IndexError):
        return False
    one = address.addr_spec == text and bool(address.username and address.domain)
    return one and text.isascii() and text.isprintable()


def reviewer(person: Person, via: Literal["slack", "email", "webhook"]) -> Reviewer:
    """The person as somebody who decides."""
    return Reviewer(
        issuer=person.issuer, subject=person.subject or person.email, email=person.email, groups=person.groups, via=via
    )
