"""Every detector: what it must find, and what it must leave alone."""

from __future__ import annotations

import pytest

from services.ingress.masking import ENTITIES, scanner_for
from tests.masking.corpus import negatives, positives
from tests.masking.helpers import everything, whole


@pytest.mark.parametrize("entity", ENTITIES)
def test_finds_the_value_and_changes_nothing_else(entity: str) -> None:
    scanner = scanner_for(frozenset({entity}))
    for text, value in positives(entity, 60):
        matches = scanner.scan(text)
        assert [match.value for match in matches] == [value], text
        assert [match.entity for match in matches] == [entity]
        assert whole(text, scanner) == (text.replace(value, f"[{entity}]"), {entity: 1})


@pytest.mark.parametrize("entity", ENTITIES)
def test_leaves_alone_what_is_not_one(entity: str) -> None:
    scanner = scanner_for(frozenset({entity}))
    wrong = [text for text in negatives(entity, 400) if scanner.scan(text)]
    # Check digits hold by chance in one number of ten; the exact figures are in docs/masking.md.
    assert len(wrong) <= 12, wrong[:3]


@pytest.mark.parametrize("entity", ENTITIES)
def test_no_value_remains_when_everything_is_looked_for(entity: str) -> None:
    for text, value in positives(entity, 60, seed=8):
        assert value not in whole(text, everything())[0]


SPECIFIC = [
    ("user bob@example.com.", "user [EMAIL]."),
    ("<bob.b+x@mail.example.co.uk>", "<[EMAIL]>"),
    ("git@github.com:org/repo.git", "git@github.com:org/repo.git"),
    ("icon@2x.png and user@localhost", "icon@2x.png and user@localhost"),
    ("4111 1111 1111 1111 12/27", "[CREDIT_CARD] 12/27"),
    ("4111 1111 1111 1112", "4111 1111 1111 1112"),
    ("DE89 3704 0044 0532 0130 00 EUR", "[IBAN] EUR"),
    ("ssn 219099998 there", "ssn [US_SSN] there"),
    ("order 219099998 there", "order 219099998 there"),
    ("219-09-9998", "[US_SSN]"),
    ("666-12-3456 and 900-12-3456", "666-12-3456 and 900-12-3456"),
    ("from 10.1.2.3, not v1.2.3.4 or 127.0.0.1", "from [IP_ADDRESS], not v1.2.3.4 or 127.0.0.1"),
    ("at 2001:db8::1 and std::dec, 12:30:45", "at [IP_ADDRESS] and std::dec, 12:30:45"),
    ("redis://:s3cr3t@cache:6379/0", "redis://:[URL_PASSWORD]@cache:6379/0"),
    ("http://localhost:8080/a@b", "http://localhost:8080/a@b"),
    ('{"password": "a b c", "user": "x"}', '{"password": "[PASSWORD]", "user": "x"}'),
    (r'{"args": "{\"password\": \"hunter22\"}"}', r'{"args": "{\"password\": \"[PASSWORD]\"}"}'),
    ("password=b'abc'", "password=b'[PASSWORD]'"),
    ("connect(password=pw.value(), x=1)", "connect(password=pw.value(), x=1)"),
    ("f(password='x1y2')", "f(password='[PASSWORD]')"),
    ("Password: must be long", "Password: must be long"),
    ("password: hunter\nuser: bob", "password: [PASSWORD]\nuser: bob"),
    ("PWD=/home/bob pwd=s3cret!", "PWD=/home/bob pwd=[PASSWORD]"),
    ("Authorization: Bearer abcdef1234567890abcd", "Authorization: Bearer [HIGH_ENTROPY]"),
    ("api_key=550e8400-e29b-41d4-a716-446655440000", "api_key=550e8400-e29b-41d4-a716-446655440000"),
    ("Basic authentication is not enough", "Basic authentication is not enough"),
    ("AKIAIOSFODNN7EXAMPLE,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "[AWS_ACCESS_KEY_ID],[AWS_SECRET_KEY]"),
    ("sk-learn and sk-admin-panel-container-left", "sk-learn and sk-admin-panel-container-left"),
    ("the header -----BEGIN PRIVATE KEY----- alone", "the header -----BEGIN PRIVATE KEY----- alone"),
    ("+1 (415) 555-2671 or 415-555-2671", "[PHONE] or [PHONE]"),
    ("tel: 030 1234567", "tel: [PHONE]"),
    ("see...bob@example.com or sean.o'brien@example.com", "see...[EMAIL] or [EMAIL]"),
    ("git@example.com, git@github.com, git@example.com:a/b", "[EMAIL], git@github.com, git@example.com:a/b"),
    ("DB_PASS=hunter22!x; bypass=hunter22!x", "DB_PASS=[PASSWORD]; bypass=hunter22!x"),
    ('"pass": "hunter22", "pin": 4821, "pass": 12', '"pass": "[PASSWORD]", "pin": [PASSWORD], "pass": 12'),
    ("SECRET_KEY=hunter22!x secret: prod-db-2024", "SECRET_KEY=[PASSWORD] secret: prod-db-2024"),
    ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [HIGH_ENTROPY]"),
    ("Basic authentication", "Basic authentication"),
    ("nextPageToken=Ab3dE6gH9jK2mN5pQ8sT", "nextPageToken=Ab3dE6gH9jK2mN5pQ8sT"),
    ("refreshToken=Ab3dE6gH9jK2mN5pQ8sTu", "refreshToken=[HIGH_ENTROPY]"),
]


@pytest.mark.parametrize(("text", "masked"), SPECIFIC)
def test_specific_texts(text: str, masked: str) -> None:
    assert whole(text, everything())[0] == masked


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7yn3bRHQ" + "A" * 900, "MIIEpAIBAAKCAQEA7yn3bRHQ"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2\n\nlQOYBF" + "b" * 90, "lQOYBF"),
    ],
)
def test_a_private_key_without_a_footer_is_masked_to_the_end(text: str, value: str) -> None:
    masked, _ = whole(text, everything())
    assert masked == "[PRIVATE_KEY]"
    assert value not in masked


def test_overlapping_values_leave_no_part_uncovered() -> None:
    masked, counts = whole("postgres://bob:p4ss@w0rd@db.example.com/x", everything())
    assert masked == "postgres://bob:[URL_PASSWORD][EMAIL]/x"
    assert counts == {"URL_PASSWORD": 1, "EMAIL": 1}


def test_positions_are_characters_whatever_their_width() -> None:
    text = "ünï 🙂 bob@example.com — ✓ 10.1.2.3"
    for match in everything().scan(text):
        assert text[match.start : match.end] == match.value
    assert whole(text, everything())[0] == "ünï 🙂 [EMAIL] — ✓ [IP_ADDRESS]"
