"""The configuration of issuers: what is refused before anything starts."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.runtime.identity.settings import PUBLIC_ISSUERS, IssuerSettings

GOOD = {"issuer": "https://idp.example.com"}


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "idp.example.com"},
        {"issuer": "http://idp.example.com"},
        {"issuer": "http://127.0.0.1.example.com"},
        {"issuer": "https://user:secret@idp.example.com"},
        {"issuer": "https://idp.example.com?tenant=1"},
        {"issuer": "https://idp.example.com#x"},
        {"issuer": "countersign-local"},
        {"issuer": "http://["},
        {"jwks_uri": "http://keys.example.com/jwks"},
        {"jwks_uri": "file:///etc/keys"},
        {"algorithms": ["none"]},
        {"algorithms": ["HS256"]},
        {"algorithms": ["RS256", "hs256"]},
        {"algorithms": []},
        {"audience": ""},
        {"audience": []},
        {"leeway": -1},
        {"leeway": 301},
        {"kind": "robot"},
        {"kinds": {"app": "robot"}},
        {"claims": {"group": "groups"}},
        {"claims": {"groups": ""}},
        {"required": {"owner": 7}},
        {"audiance": "countersign"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IssuerSettings.model_validate(GOOD | changes)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost", "[::1]"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert IssuerSettings(issuer=f"http://{host}:8000").issuer == f"http://{host}:8000"


@pytest.mark.parametrize("issuer", sorted(PUBLIC_ISSUERS))
def test_issuer_that_serves_everybody_needs_required_claims(issuer: str) -> None:
    with pytest.raises(ValidationError, match="whose tokens count"):
        IssuerSettings(issuer=issuer)
    assert IssuerSettings(issuer=issuer, required={"repository_owner": "octo-org"})


def test_defaults() -> None:
    settings = IssuerSettings.model_validate(GOOD)
    assert settings.audiences == {"countersign"}
    assert (settings.claims.groups, settings.claims.connector, settings.kind) == ("groups", None, "agent")


def test_loads_what_yaml_gives() -> None:
    settings = IssuerSettings.model_validate(
        GOOD | {"audience": ["a", "b"], "required": {"org": ["x", "y"]}, "claims": {"groups": ["ci"]}}
    )
    assert settings.audiences == {"a", "b"}
    assert settings.required == {"org": ("x", "y")}
    assert settings.claims.groups == ("ci",)
