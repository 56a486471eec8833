"""`policy apply`: checked, by compare-and-set, and nothing written when nothing changes."""

import asyncio

import pytest

from schemas import subjects
from services.policy.apply import PolicyConflict, apply, in_force
from services.policy.document import PolicyRefused
from tests.conftest import Bus

ALLOW = "rules:\n  - {name: a, when: true, allow: true}\n"
DENY = "rules:\n  - {name: a, when: true, deny: nope}\n"


async def test_apply_writes_once_and_tells_what_is_in_force(bus: Bus) -> None:
    admin = await bus.connect("admin")
    assert await in_force(admin) is None
    first = await apply(admin, ALLOW, "ann")
    assert (first.text, first.applied_by) == (ALLOW, "ann")
    assert await apply(admin, ALLOW, "bob") == first
    assert await in_force(admin) == first
    commented = await apply(admin, "# words\n" + ALLOW, "bob")
    assert (commented.version, commented.applied_by) == (first.version, "bob")
    assert (await apply(admin, DENY, "ann")).version != first.version


async def test_a_broken_policy_is_not_written(bus: Bus) -> None:
    admin = await bus.connect("admin")
    with pytest.raises(PolicyRefused, match=r"mine\.yaml:1:1: "):
        await apply(admin, "nothing", "ann", "mine.yaml")
    assert await in_force(admin) is None


async def test_a_broken_or_deleted_document_is_replaced(bus: Bus) -> None:
    admin = await bus.connect("admin")
    bucket = await admin.jetstream().key_value(subjects.POLICY_BUCKET)
    await bucket.put(subjects.POLICY_KEY, b"broken")
    await apply(admin, ALLOW, "ann")
    await bucket.delete(subjects.POLICY_KEY)
    assert await in_force(admin) is None
    assert await apply(admin, DENY, "ann") == await in_force(admin)


async def test_of_two_at_the_same_moment_one_is_told(bus: Bus) -> None:
    admin = await bus.connect("admin")
    texts = [ALLOW.replace("name: a", f"name: r{number}") for number in range(8)]
    done = await asyncio.gather(*(apply(admin, text, "ann") for text in texts), return_exceptions=True)
    lost = [each for each in done if isinstance(each, BaseException)]
    assert all(isinstance(each, PolicyConflict) for each in lost)
    assert lost
    assert await in_force(admin) in done
