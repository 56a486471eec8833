"""Keys and tokens that their issuer made recognisable: a fixed prefix, an alphabet and a length.

Formats are from the issuers' own documentation. The prefix is the evidence, so values are not judged by their
looks: masking `ghp_` and 36 times the same letter harms nobody. Values without a prefix are in `assignments`.
"""

from __future__ import annotations

from services.ingress.masking.detectors.checks import is_random, jwt
from services.ingress.masking.detectors.detector import Check, Detector, accept, when
from services.ingress.masking.linear import compile_linear

_WORDS = compile_linear(r"[a-z]+(?:[-_][a-z]+)*[-_]?")
_OPEN = r"[\"'\\]{0,4}"

# 40 characters of base64 beside words that say so: the secret half of a pair has no other mark.
_AWS_WORDS = r"(?i:secret[_. -]?access[_. -]?key|aws[_. -]?secret(?:[_. -]?key)?)"
_AWS_VALUE = r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
_AZURE_WORDS = r"(?i:AccountKey|SharedAccessKey|account_key|storage_key)"
_ENTRA_WORDS = r"(?i:client[_. -]?secret)"
_API_KEY = r"(?i:api[_. -]?key|subscription[_. -]?key)"

# The body may not hold five dashes, for those open the footer; sixteen base64 characters near the header
# tell a key from prose about keys. Ends at the footer, or before any other line of dashes.
_PEM = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:-{0,4}[^-]){0,200}?[A-Za-z0-9+/=]{16}(?:-{0,4}[^-])*"
    r"(?:-----END [A-Z0-9 ]{0,50}-----)?"
)


def _token(entity: str, head: str, tail: str, least: int, most: int, check: Check = accept) -> Detector:
    """`head` and then `least` to `most` characters of the class `tail`, all in one word."""
    end = "(?![A-Za-z0-9])" if most < 200 else ""
    return Detector(entity, f"{head}{tail}{{{least}}}", f"{head}{tail}{{{least},{most}}}{end}", check, whole_word=True)


def _told(entity: str, words: str, value: str, check: Check = accept) -> Detector:
    """`value` assigned to one of `words`."""
    anchor = words + _OPEN + r"[\s:=>]"
    return Detector(entity, anchor, value, check, context=words + _OPEN + r"[\s:=>]{1,6}" + _OPEN)


def _not_words(value: bytes) -> bool:
    """Not a package or style name such as `sk-admin-panel-left`."""
    return _WORDS.fullmatch(value) is None


_CLASS = "[A-Za-z0-9]"
_URL = "[A-Za-z0-9_-]"
_GITLAB = "gl(?:pat|dt|rt|oas|cbt|ptt|ft|imt|agent|soat)-"

DETECTORS: tuple[Detector, ...] = (
    Detector("PRIVATE_KEY", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", _PEM),
    _token("AWS_ACCESS_KEY_ID", r"A(?:KIA|SIA|BIA|CCA)", "[A-Z2-7]", 16, 16),
    _told("AWS_SECRET_KEY", _AWS_WORDS, _AWS_VALUE, when(is_random)),
    Detector(
        "AWS_SECRET_KEY",
        r"A[KS]IA[A-Z2-7]{16}[\s,;:|\"'/]",
        _AWS_VALUE,
        when(is_random),
        context=r"A[KS]IA[A-Z2-7]{16}[\s,;:|\"'/]{1,4}",
    ),
    _token("GITHUB_TOKEN", "gh[pousr]_", _CLASS, 36, 255),
    _token("GITHUB_TOKEN", rf"github_pat_{_CLASS}{{22}}_", _CLASS, 59, 59),
    # A routable token has two short parts more: https://docs.gitlab.com/security/tokens
    Detector(
        "GITLAB_TOKEN",
        rf"{_GITLAB}{_URL}{{20}}",
        rf"{_GITLAB}{_URL}{{20,300}}(?:\.[0-9a-z]{{2}}\.[0-9a-z]{{7,9}})?",
        whole_word=True,
    ),
    _token("SLACK_TOKEN", r"xox(?:e\.xox)?[abeoprs]-", "[A-Za-z0-9-]", 10, 250),
    _token("SLACK_TOKEN", r"xapp-\d-", "[A-Za-z0-9-]", 10, 250),
    Detector(
        "SLACK_WEBHOOK",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/",
        r"[A-Za-z0-9_/+-]{20,150}",
        context=r"hooks\.slack\.com/(?:services|workflows|triggers)/",
    ),
    _token("STRIPE_KEY", "[sr]k_(?:live|test)_", _CLASS, 16, 250),
    _token("STRIPE_KEY", "whsec_", "[A-Za-z0-9+/=]", 24, 250),
    _token("ANTHROPIC_KEY", "sk-ant-", _URL, 16, 250),
    _token("OPENAI_KEY", "sk-", _CLASS, 20, 250),
    _token("OPENAI_KEY", "sk-(?:proj|svcacct|admin|None|or)-", _URL, 20, 250, when(_not_words)),
    _token("GOOGLE_API_KEY", "AIza", _URL, 35, 35),
    _token("GOOGLE_API_KEY", "GOCSPX-", _URL, 28, 28),
    _token("GOOGLE_API_KEY", r"ya29\.", _URL, 20, 2048),
    _told("AZURE_KEY", _AZURE_WORDS, r"[A-Za-z0-9+/]{42,86}={1,2}"),
    # The signature of a shared access signature: HMAC-SHA-256 in base64, percent-encoded where it stands in a URL.
    Detector(
        "AZURE_KEY",
        r"\b(?i:sig)=[A-Za-z0-9+/%]",
        r"(?:[A-Za-z0-9+/]|%2[BbFf]){43}(?:=|%3[Dd])",
        context=r"(?i:sig)=",
    ),
    # A client secret of Entra ID has `Q~` as its fifth and sixth characters, after a digit.
    _told("AZURE_KEY", _ENTRA_WORDS, r"[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}"),
    # Keys of Azure's AI services carry a signature at offset 52 of 84.
    _told("AZURE_KEY", _API_KEY, r"[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}"),
    _token("HUGGINGFACE_TOKEN", "(?:hf|api_org)_", _CLASS, 34, 40),
    _token("NPM_TOKEN", "npm_", _CLASS, 36, 36),
    _token("PYPI_TOKEN", "pypi-AgE", _URL, 50, 1000),
    _token("SENDGRID_KEY", rf"SG\.{_URL}{{22}}\.", _URL, 43, 43),
    _token("VAULT_TOKEN", r"hv[sbr]\.", _URL, 24, 500),
    # RFC 7519: base64url of `{"`, then parts of which an unsecured or encrypted token leaves some empty.
    Detector(
        "JWT",
        r"eyJ[A-Za-z0-9_-]{8}",
        r"(?<![_-])eyJ[A-Za-z0-9_-]{8,512}\.[A-Za-z0-9_-]{0,12288}(?:\.[A-Za-z0-9_-]{0,4096}){1,3}",
        jwt,
        whole_word=True,
    ),
)
