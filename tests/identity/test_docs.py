"""docs/identity.md is true: its configuration loads, and its GitHub Actions example works with such a token."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.identity import Identity
from services.runtime.identity import algorithms, cache, fetch, jwks
from services.runtime.identity.local import MAX_TTL
from services.runtime.identity.rejection import RejectionCode, TokenRejected
from services.runtime.identity.settings import ClaimMapping, IssuerSettings
from services.runtime.settings.model import IdentitySettings
from tests.identity.conftest import MakeVerifier
from tests.identity.idp import Idp

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
BLOCKS: list[dict[str, Any]] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]
ENTRIES = [entry for block in BLOCKS for entry in block.get("identity", {}).get("issuers", [])]
GITHUB = "https://token.actions.githubusercontent.com"


def entry_of(issuer: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = (entry for entry in ENTRIES if entry["issuer"] == issuer)
    return found


def github_claims(now: int, **changes: str) -> dict[str, Any]:
    """What a job of octo-org/octo-repo gets: every value is a string, and `nbf` lies before `iat`."""
    return {
        "iss": GITHUB,
        "aud": "countersign",
        "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
        "jti": "8d1f0c5e-0f0c-4a36-9a4e-5b3f8f3f5c11",
        "iat": now,
        "nbf": now - 600,
        "exp": now + 300,
        "actor": "octocat",
        "actor_id": "12",
        "base_ref": "",
        "event_name": "push",
        "head_ref": "",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "repository": "octo-org/octo-repo",
        "repository_id": "74",
        "repository_owner": "octo-org",
        "repository_owner_id": "65",
        "repository_visibility": "private",
        "run_attempt": "2",
        "run_id": "1640",
        "run_number": "10",
        "runner_environment": "github-hosted",
        "sha": "c7d1a0f0f5d1f0b2c3a4958677665544332211ff",
        "workflow": "triage",
    } | changes


async def verify_github(idp: Idp, make_verifier: MakeVerifier, **changes: str) -> Identity:
    """With the page's own entry; only the address of the keys is another, as GitHub's private one is GitHub's."""
    settings = IssuerSettings.model_validate(entry_of(GITHUB) | {"jwks_uri": f"{idp.issuer}/jwks"})
    token = idp.token(**github_claims(int(idp.clock()), **changes))
    return await make_verifier(settings).verify(token)


def test_page_has_an_example_for_each_provider() -> None:
    hosts = " ".join(entry["issuer"] for entry in ENTRIES)
    for provider in ("microsoftonline", "okta", "keycloak", "accounts.google", "token.actions.github"):
        assert provider in hosts


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["issuer"])
def test_entry_loads(entry: dict[str, Any]) -> None:
    assert IssuerSettings.model_validate(entry).issuer == entry["issuer"]


@pytest.mark.parametrize("block", [block for block in BLOCKS if "identity" in block])
def test_section_loads(block: dict[str, Any]) -> None:
    assert IdentitySettings.model_validate(block["identity"]).issuers


async def test_github_actions_token_is_an_identity(idp: Idp, make_verifier: MakeVerifier) -> None:
    identity = await verify_github(idp, make_verifier)
    assert identity.subject == "repo:octo-org/octo-repo:ref:refs/heads/main"
    assert (identity.issuer, identity.groups, identity.kind) == (GITHUB, ("octo-org/octo-repo",), "service")
    assert identity.claims["run_id"] == "1640"
    assert identity.claims["job_workflow_ref"].startswith("octo-org/octo-automation/")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"repository_owner": "octo-org-evil", "repository": "octo-org-evil/x"}, RejectionCode.CLAIMS),
        ({"repository_owner_id": "66"}, RejectionCode.CLAIMS),
        ({"event_name": "pull_request"}, RejectionCode.CLAIMS),
        ({"aud": "https://github.com/octo-org"}, RejectionCode.WRONG_AUDIENCE),
    ],
)
async def test_github_actions_token_of_others_is_refused(
    changes: dict[str, str], code: RejectionCode, idp: Idp, make_verifier: MakeVerifier
) -> None:
    with pytest.raises(TokenRejected) as caught:
        await verify_github(idp, make_verifier, **changes)
    assert caught.value.code is code


def test_workflow_asks_for_a_token_for_the_gateway() -> None:
    (workflow,) = (block for block in BLOCKS if "jobs" in block)
    assert workflow["permissions"]["id-token"] == "write"
    script = workflow["jobs"]["triage"]["steps"][1]["run"]
    assert f"&audience={entry_of(GITHUB)['audience']}" in script
    assert "::add-mask::" in script


def test_every_setting_is_documented() -> None:
    for name in IssuerSettings.model_fields:
        assert f"`{name}`" in PAGE or name == "claims", name
    for name in ClaimMapping.model_fields:
        assert f"`claims.{name}`" in PAGE, name


def test_every_refusal_is_documented() -> None:
    assert all(f"`{code}`" in PAGE for code in RejectionCode)


def test_figures_are_those_of_the_code() -> None:
    assert (algorithms.MAX_TOKEN, fetch.MAX_DOCUMENT, fetch.FETCH_TIMEOUT) == (16 * 1024, 256 * 1024, 4.0)
    assert (jwks.MIN_FRESH, jwks.MAX_FRESH, jwks.DEFAULT_FRESH) == (60.0, 3_600.0, 600.0)
    assert (jwks.MIN_INTERVAL, jwks.MAX_STALE, cache.MAX_AGE) == (10.0, 4 * 3_600.0, 60.0)
    assert MAX_TTL.days == 90
