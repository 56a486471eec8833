"""The labelled corpus of the masking tests and of `bench.masking`: made by script, the same for the same seed.

`positives(entity)` are texts that hold one value each; `negatives(entity)` are texts that hold none, near misses
among them. Nothing here asks the detectors: formats are written down a second time, check digits are computed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stdnum import luhn, verhoeff
from stdnum.iso7064 import mod_97_10

from services.ingress.masking.entities import ENTITIES

Rng = random.Random
LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM = string.ascii_letters + DIGITS
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"


class Sample(NamedTuple):
    """A text and the value in it that must not remain."""

    text: str
    value: str


def positives(entity: str, count: int, seed: int = 7) -> Iterator[Sample]:
    """What the detectors are made for."""
    rng = random.Random(f"{entity}+{seed}")
    for _ in range(count):
        yield _POSITIVE[entity](rng)


def any_positives(entity: str, count: int, seed: int = 7) -> Iterator[Sample]:
    """The same with every tenth in a form that a detector may well miss: the measure of recall."""
    rng = random.Random(f"{entity}*{seed}")
    hard = _HARD.get(entity)
    for index in range(count):
        yield hard(rng) if hard and index % 10 == 0 else _POSITIVE[entity](rng)


def negatives(entity: str, count: int, seed: int = 7) -> Iterator[str]:
    """One in four a near miss of this entity, the others from what any text may hold."""
    rng = random.Random(f"{entity}-{seed}")
    near = _NEAR_MISS.get(entity)
    for index in range(count):
        yield near(rng) if near and index % 4 == 0 else rng.choice(_ANYTHING)(rng)


def chars(rng: Rng, alphabet: str, count: int) -> str:
    return "".join(rng.choices(alphabet, k=count))


# --- around a value ----------------------------------------------------------------------------------------

_AROUND = (
    "{}",
    "use {} for this",
    "Here it is: {}.",
    '{{"id": 17, "note": "{}", "ok": true}}',
    "first line\n{}\nlast line",
    "({})",
    "naïve café — {} — ünïcode ✓",
    "<td>{}</td>",
    "- {}\n- something else",
)


def _around(rng: Rng, value: str) -> Sample:
    return Sample(rng.choice(_AROUND).format(value), value)


def _plain(make: Callable[[Rng], str]) -> Callable[[Rng], Sample]:
    return lambda rng: _around(rng, make(rng))


def _told(words: tuple[str, ...], make: Callable[[Rng], str]) -> Callable[[Rng], Sample]:
    def sample(rng: Rng) -> Sample:
        value = make(rng)
        between = rng.choice((": ", " ", " is ", "=", " number ", ": the one on file is "))
        return Sample(f"For the record, {rng.choice(words)}{between}{value} and no more.", value)

    return sample


def _assigned(keys: tuple[str, ...], make: Callable[[Rng], str]) -> Callable[[Rng], Sample]:
    forms = ("{k}={v}", '"{k}": "{v}"', "{k}: '{v}'", 'export {k}="{v}"', "{k} = {v}\n", '{{\\"{k}\\": \\"{v}\\"}}')

    def sample(rng: Rng) -> Sample:
        value = make(rng)
        return Sample(rng.choice(forms).format(k=rng.choice(keys), v=value), value)

    return sample


# --- values ------------------------------------------------------------------------------------------------


def _aws_secret(rng: Rng) -> str:
    return "wJ7" + chars(rng, ALNUM + "/+", 36) + "k"


def _github(rng: Rng) -> str:
    if rng.random() < 0.3:
        return f"github_pat_{chars(rng, ALNUM, 22)}_{chars(rng, ALNUM, 59)}"
    return f"gh{rng.choice('pousr')}_{chars(rng, ALNUM, 36)}"


def _slack(rng: Rng) -> str:
    a, b = chars(rng, DIGITS, 12), chars(rng, DIGITS, 13)
    if rng.random() < 0.2:
        return f"xapp-1-A{chars(rng, UPPER, 10)}-{b}-{chars(rng, HEX, 64)}"
    return f"xox{rng.choice('bp')}-{a}-{b}-{chars(rng, ALNUM, 24)}"


def _openai(rng: Rng) -> str:
    kind = rng.choice(("sk-", "sk-proj-", "sk-svcacct-"))
    return f"{kind}{chars(rng, ALNUM, 20)}T3BlbkFJ{chars(rng, ALNUM, 20)}"


def _google(rng: Rng) -> str:
    return f"AIza{chars(rng, URLSAFE, 34)}{chars(rng, ALNUM, 1)}"


def _azure(rng: Rng) -> Sample:
    key = base64.b64encode(rng.randbytes(64)).decode()
    if rng.random() < 0.5:
        return Sample(f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={key};EndpointSuffix=x", key)
    if rng.random() < 0.3:
        signature = base64.b64encode(rng.randbytes(32)).decode()
        value = rng.choice((signature, signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")))
        return Sample(f"https://acme.blob.core.windows.net/c?sv=2024-08-04&se=2030-01-01&sig={value}&sp=r", value)
    secret = f"{chars(rng, ALNUM, 3)}8Q~{chars(rng, ALNUM + '_.-', 33)}x"
    return Sample(f'"client_secret": "{secret}"', secret)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _jwt(rng: Rng) -> str:
    head = {"alg": rng.choice(("HS256", "RS256", "ES256")), "typ": "JWT", "kid": chars(rng, HEX, 8)}
    body = {"sub": chars(rng, DIGITS, 10), "iat": rng.randrange(10**9), "name": chars(rng, LOWER, 8)}
    return f"{_part(head)}.{_part(body)}.{chars(rng, URLSAFE, 43)}"


def _pem(rng: Rng) -> str:
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", ""))
    body = base64.b64encode(rng.randbytes(rng.choice((120, 400)))).decode()
    new_line = rng.choice(("\n", "\\n"))
    lines = new_line.join(body[i : i + 64] for i in range(0, len(body), 64))
    return f"-----BEGIN {kind}PRIVATE KEY-----{new_line}{lines}{new_line}-----END {kind}PRIVATE KEY-----"


def _password(rng: Rng) -> str:
    core = chars(rng, LOWER, 4) + chars(rng, DIGITS, 2) + rng.choice("!#%+=_.@") + chars(rng, ALNUM, 6)
    return core if rng.random() < 0.8 else core + "ñé9"


def _password_sample(rng: Rng) -> Sample:
    if rng.random() < 0.7:
        return _assigned(("password", "DB_PASSWORD", "passwd", "new_password", "Passphrase"), _password)(rng)
    if rng.random() < 0.2:
        digits = chars(rng, "123456789", rng.randrange(4, 8))
        form = rng.choice(('{{"passcode": {}, "id": 7}}', '{{\n "password": {},\n "id": 7}}', '"pin": "{}"', "PIN={}"))
        return Sample(form.format(digits), digits)
    value = _password(rng)
    form = rng.choice(
        (
            "my password is {}",
            "DB_PASS={}",
            '{{"pass": "{}", "user": "bob"}}',
            "smtpPass: {}\n",
            '"password": ["{}"]',
            "SECRET={}",
            "SECRET_KEY={}",
            "--password {} --verbose",
            "CREATE ROLE bob LOGIN PASSWORD '{}'",
            "<password>{}</password>",
            "login?user=bob&password={}&next=1",
            "password: {}\nuser: bob",
            "curl -u admin:{} https://example.com",
        )
    )
    return Sample(form.format(value), value)


def _url_password(rng: Rng) -> Sample:
    value = chars(rng, ALNUM + "!$*_.-", 12)
    scheme = rng.choice(("postgres", "https", "amqp", "redis", "mongodb+srv"))
    user = rng.choice(("bob", "svc_orders", ""))
    return Sample(f"connect to {scheme}://{user}:{value}@db.example.com:5432/main now", value)


def _entropy(rng: Rng) -> Sample:
    if rng.random() < 0.1:
        pair = f"{chars(rng, LOWER, 4)}:{chars(rng, LOWER, rng.randrange(4, 12))}"
        value = base64.b64encode(pair.encode()).decode()
        return Sample(f"Authorization: Basic {value}", value)
    return _random(rng)


def _random(rng: Rng) -> Sample:
    keys = ("api_key", "client-secret", "ACCESS_TOKEN", "signingKey", "auth_token", "credential")
    value = chars(rng, ALNUM, 3) + "7" + rng.choice((chars(rng, ALNUM, 30), chars(rng, HEX, 40)))
    if rng.random() < 0.2:
        return Sample(f"Authorization: Bearer {value}", value)
    return _assigned(keys, lambda _: value)(rng)


def _email(rng: Rng) -> str:
    local = chars(rng, LOWER, 5) + rng.choice(("", ".", "+", "_")) + chars(rng, ALNUM, 4)
    local = rng.choice(("o'", "jo.d'")) + local if rng.random() < 0.1 else local
    return f"{local}@{chars(rng, LOWER, 6)}{rng.choice(('.com', '.co.uk', '-x.io', '.de', '.museum'))}"


def _email_sample(rng: Rng) -> Sample:
    value = _email(rng)
    form = rng.choice(("write to...{} now", "see..{}.", "{}: hello", "{}/calendar", "b'{}'"))
    return Sample(form.format(value), value) if rng.random() < 0.2 else _around(rng, value)


def _phone(rng: Rng) -> Sample:
    area, exchange, line = rng.randrange(201, 989), rng.randrange(201, 989), chars(rng, DIGITS, 4)
    national = rng.choice((f"({area}) {exchange}-{line}", f"{area}-{exchange}-{line}", f"{area}.{exchange}.{line}"))
    world = rng.choice(
        (f"+1 {area} {exchange} {line}", f"+49 30 {chars(rng, DIGITS, 8)}", f"+44{chars(rng, DIGITS, 10)}")
    )
    if rng.random() < 0.3:
        value = f"0{rng.randrange(151, 179)} {chars(rng, DIGITS, 8)}"
        return Sample(f"{rng.choice(('Phone', 'Mobile', 'Tel.'))}: {value}", value)
    return _around(rng, rng.choice((national, world)))


def _card(rng: Rng) -> str:
    start, length = rng.choice((("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("6011", 16), ("3530", 16)))
    body = start + chars(rng, DIGITS, length - len(start) - 1)
    number = body + luhn.calc_check_digit(body)
    if length == 15:
        return number if rng.random() < 0.5 else f"{number[:4]} {number[4:10]} {number[10:]}"
    return rng.choice(("", " ", "-")).join(number[i : i + 4] for i in range(0, 16, 4))


def _iban(rng: Rng) -> str:
    shapes = {"DE": (DIGITS, 18), "GB": (UPPER, 4, DIGITS, 14), "FR": (DIGITS, 10, ALNUM[26:], 11, DIGITS, 2),
              "NL": (UPPER, 4, DIGITS, 10), "ES": (DIGITS, 20), "NO": (DIGITS, 11), "CH": (DIGITS, 17)}  # fmt: skip
    country = rng.choice(sorted(shapes))
    shape = shapes[country]
    bban = "".join(chars(rng, shape[i], shape[i + 1]) for i in range(0, len(shape), 2))  # type: ignore[arg-type]
    check = mod_97_10.calc_check_digits(f"{bban}{country}")
    number = f"{country}{check}{bban}"
    return number if rng.random() < 0.5 else " ".join(number[i : i + 4] for i in range(0, len(number), 4))


def _weighted(rng: Rng, count: int, weights: list[int], modulus: int, first: str = DIGITS) -> str:
    """`count` digits whose weighted sum is 0 modulo `modulus`, found by trying the last."""
    while True:
        body = rng.choice(first) + chars(rng, DIGITS, count - 2)
        for last in DIGITS:
            if sum(w * int(d) for w, d in zip(weights, body + last, strict=True)) % modulus == 0:
                return body + last


def _bsn(rng: Rng) -> str:
    return _weighted(rng, 9, [9, 8, 7, 6, 5, 4, 3, 2, -1], 11, "123456789")


def _tfn(rng: Rng) -> str:
    return _weighted(rng, 9, [1, 4, 3, 7, 5, 8, 6, 9, 10], 11, "123456789")


def _routing(rng: Rng) -> str:
    while True:
        number = _weighted(rng, 9, [3, 7, 1] * 3, 10, "0123")
        if number[:2] in {f"{i:02}" for i in (*range(1, 13), *range(21, 33))}:
            return number


def _ssn(rng: Rng) -> str:
    return f"{rng.randrange(1, 665):03}-{rng.randrange(1, 99):02}-{rng.randrange(1, 9999):04}"


def _ssn_sample(rng: Rng) -> Sample:
    value = _ssn(rng)
    if rng.random() < 0.5:
        return _around(rng, value)
    return _told(("SSN", "social security number"), lambda _: value.replace("-", rng.choice(("", " "))))(rng)


def _itin(rng: Rng) -> str:
    return f"9{rng.randrange(100):02}-{rng.choice((70, 75, 80, 88, 90, 92, 94, 99))}-{rng.randrange(10000):04}"


def _sin(rng: Rng) -> str:
    body = rng.choice("1234567") + chars(rng, DIGITS, 7)
    number = body + luhn.calc_check_digit(body)
    return f"{number[:3]}-{number[3:6]}-{number[6:]}"


def _nhs(rng: Rng) -> str:
    while True:
        body = rng.choice("46") + chars(rng, DIGITS, 8)
        check = 11 - sum((10 - i) * int(d) for i, d in enumerate(body)) % 11
        if check != 10:
            return f"{body[:3]} {body[3:6]} {body[6:]}{check % 11}"


def _nir(rng: Rng) -> str:
    born = f"{rng.randrange(40, 99)}{rng.randrange(1, 13):02}"
    body = f"{rng.choice('12')}{born}{rng.randrange(10, 90)}{chars(rng, DIGITS, 6)}"
    check = 97 - int(body) % 97
    parts = (body[0], body[1:3], body[3:5], body[5:7], body[7:10], body[10:], f"{check:02}")
    return rng.choice(("", " ")).join(parts)


def _nif(rng: Rng) -> str:
    letters = "TRWAGMYFPDXBNJZSQVHLCKE"
    number = rng.randrange(10_000_000, 99_999_999)
    if rng.random() < 0.3:
        foreign = number % 10_000_000
        lead = rng.randrange(3)
        return f"{'XYZ'[lead]}{foreign:07}{letters[(lead * 10_000_000 + foreign) % 23]}"
    return f"{number}{letters[number % 23]}"


_ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LATER = (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = dict(zip(DIGITS + UPPER, (*_ODD_DIGITS, *_ODD_DIGITS, *_ODD_LATER), strict=True))


def _codice(rng: Rng) -> str:
    born = f"{rng.randrange(40, 99)}{rng.choice('ABCDEHLMPRST')}{rng.randrange(1, 29):02}"
    body = f"{chars(rng, 'BCDFGLMNPRST', 6)}{born}H501"
    total = sum(_ODD[c] if i % 2 == 0 else (int(c) if c in DIGITS else UPPER.index(c)) for i, c in enumerate(body))
    return body + UPPER[total % 26]


def _tax_id(rng: Rng) -> str:
    """Ten digits of which exactly one comes twice, then ISO 7064 mod 11, 10."""
    kept = rng.sample(DIGITS, 9)
    body = [*kept, rng.choice(kept)]
    while True:
        rng.shuffle(body)
        if body[0] != "0":
            break
    product = 10
    for digit in body:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return "".join(body) + str((11 - product) % 10)


def _pesel(rng: Rng) -> str:
    body = f"{rng.randrange(40, 99)}{rng.randrange(1, 13):02}{rng.randrange(1, 28):02}{chars(rng, DIGITS, 4)}"
    check = -sum(w * int(d) for w, d in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3), body, strict=True)) % 10
    return f"{body}{check}"


def _cpf(rng: Rng) -> str:
    body = chars(rng, DIGITS, 9)
    for _ in range(2):
        weight = len(body) + 1
        check = -sum((weight - i) * int(d) for i, d in enumerate(body)) % 11
        body += str(check % 10 if check < 10 else 0)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def _aadhaar(rng: Rng) -> str:
    while True:
        body = rng.choice("23456789") + chars(rng, DIGITS, 10)
        number = body + verhoeff.calc_check_digit(body)
        if number != number[::-1]:
            return f"{number[:4]} {number[4:8]} {number[8:]}"


def _ip(rng: Rng) -> str:
    if rng.random() < 0.3:
        return "2001:db8:" + ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(6))
    return f"{rng.choice((10, 192, 172, 85, 203))}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


_POSITIVE: dict[str, Callable[[Rng], Sample]] = {
    "PRIVATE_KEY": _plain(_pem),
    "AWS_ACCESS_KEY_ID": _plain(lambda rng: f"{rng.choice(('AKIA', 'ASIA'))}{chars(rng, UPPER + '234567', 16)}"),
    "AWS_SECRET_KEY": _assigned(("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey"), _aws_secret),
    "GITHUB_TOKEN": _plain(_github),
    "GITLAB_TOKEN": _plain(lambda rng: f"glpat-{chars(rng, URLSAFE, 19)}{chars(rng, ALNUM, 1)}"),
    "SLACK_TOKEN": _plain(_slack),
    "SLACK_WEBHOOK": lambda rng: _webhook(rng),
    "STRIPE_KEY": _plain(lambda rng: f"{rng.choice('sr')}k_{rng.choice(('live', 'test'))}_{chars(rng, ALNUM, 24)}"),
    "ANTHROPIC_KEY": _plain(lambda rng: f"sk-ant-api03-{chars(rng, URLSAFE, 93)}AA"),
    "OPENAI_KEY": _plain(_openai),
    "GOOGLE_API_KEY": _plain(_google),
    "AZURE_KEY": _azure,
    "HUGGINGFACE_TOKEN": _plain(lambda rng: f"hf_{chars(rng, ALNUM, 34)}"),
    "NPM_TOKEN": _plain(lambda rng: f"npm_{chars(rng, ALNUM, 36)}"),
    "PYPI_TOKEN": _plain(lambda rng: f"pypi-AgEIcHlwaS5vcmc{chars(rng, URLSAFE, 80)}x"),
    "SENDGRID_KEY": _plain(lambda rng: f"SG.{chars(rng, URLSAFE, 22)}.{chars(rng, URLSAFE, 42)}x"),
    "VAULT_TOKEN": _plain(lambda rng: f"hvs.{chars(rng, URLSAFE, 90)}x"),
    "JWT": _plain(_jwt),
    "URL_PASSWORD": _url_password,
    "PASSWORD": _password_sample,
    "HIGH_ENTROPY": _entropy,
    "CREDIT_CARD": _plain(_card),
    "IBAN": _plain(_iban),
    "US_ROUTING_NUMBER": _told(("routing", "ABA", "Routing no."), _routing),
    "US_SSN": _ssn_sample,
    "US_ITIN": _told(("ITIN", "taxpayer id"), _itin),
    "CA_SIN": _told(("SIN", "Social Insurance"), _sin),
    "GB_NHS": _told(("NHS", "NHS number"), _nhs),
    "FR_NIR": _plain(_nir),
    "ES_NIF": _told(("NIF", "nif"), _nif),
    "IT_CODICE_FISCALE": _plain(_codice),
    "DE_TAX_ID": _told(("Steuer-ID", "IdNr", "tax ID"), _tax_id),
    "NL_BSN": _told(("BSN", "burgerservicenummer"), _bsn),
    "PL_PESEL": _told(("PESEL",), _pesel),
    "BR_CPF": _plain(_cpf),
    "IN_AADHAAR": _told(("Aadhaar", "aadhar"), _aadhaar),
    "AU_TFN": _told(("TFN", "tax file"), _tfn),
    "EMAIL": _email_sample,
    "PHONE": _phone,
    "IP_ADDRESS": _plain(_ip),
}  # fmt: skip


def _webhook(rng: Rng) -> Sample:
    value = f"T{chars(rng, UPPER + DIGITS, 8)}/B{chars(rng, UPPER + DIGITS, 8)}/{chars(rng, ALNUM, 24)}"
    return Sample(f"post to https://hooks.slack.com/services/{value}", value)


# --- what is not a value -----------------------------------------------------------------------------------


def _uuid(rng: Rng) -> str:
    return f"{rng.choice(('id', 'trace', 'request_id', 'key', 'for'))}={uuid.UUID(bytes=rng.randbytes(16), version=4)}"


def _hash(rng: Rng) -> str:
    digest = hashlib.new(rng.choice(("md5", "sha1", "sha256", "sha512")), rng.randbytes(8)).hexdigest()
    return rng.choice(("commit {}", "etag: {}", "sha256:{}", "{}  file.tar.gz", "cache/{}.bin")).format(digest)


def _order(rng: Rng) -> str:
    number = chars(rng, DIGITS, rng.choice((6, 8, 9, 10, 11, 12, 15, 16, 18)))
    return rng.choice(
        ("Order {} shipped", "order_id: {}", "invoice #{}", "ref {}", "INV-{}", "{} items", "tracking {}", "t={}")
    ).format(number)


def _dashed(rng: Rng) -> str:
    shape = rng.choice(((4, 4, 4), (3, 7, 7), (2, 6, 1), (5, 5), (4, 2, 2), (6, 4)))
    return f"order {'-'.join(chars(rng, DIGITS, part) for part in shape)} was sent"


def _base64(rng: Rng) -> str:
    blob = base64.b64encode(rng.randbytes(rng.randrange(12, 90))).decode()
    return rng.choice(("data:image/png;base64,{}", "integrity sha512-{}", "body: {}", "{}")).format(blob)


def _code(rng: Rng) -> str:
    name, other = chars(rng, LOWER, 6), chars(rng, LOWER, 5)
    return rng.choice(
        (
            f"def {name}(self, {other}: str, token: Token) -> None:",
            f"password = request.form['{name}']",
            f"password = getpass.getpass('{name}? ')",
            f"api_key = os.environ['{name.upper()}_KEY']",
            f"secret = settings.{name}.{other}_secret_name",
            f"if user.password != {name}.hash({other}):",
            f"connect(host={name}, password=password, token=token)",
            f"std::{name}<{other}> face::b; a::b(c)",
            f"@{name}.route('/{other}/<int:n>')",
            f"import {{ {name} }} from '@scope/{other}-sk-learn';",
            f'version = "{rng.randrange(9)}.{rng.randrange(20)}.{rng.randrange(30)}"',
            f"for (let i = 0; i < {rng.randrange(10**9)}; i++) {{ {name}[i] = {rng.randrange(10**9)}; }}",
            f"git clone git@github.com:{name}/{other}.git",
            f"x = {rng.random()} * {rng.random()} + 1e-{rng.randrange(9)}",
            f"password: str | None = None  # {name}",
            f"url(https://cdn.{name}.com:8080/{other}@2x.png)",
        )
    )


def _prose(rng: Rng) -> str:
    return rng.choice(
        (
            "The password is required and must be changed every year.",
            "Your token has expired; ask the secretary for the key to room 12.",
            "At 12:30:45 on 2024-05-21T10:20:30Z the train left, 3 minutes late.",
            "Passwords: must have eight characters, a digit and a symbol.",
            "Social security is a topic for 2025, with 1,234,567 people concerned.",
            "See section 1.2.3 of version 10.4.2, page 44-45.",
            "Call the function with 3 arguments and the key with two turns.",
            "It costs $1,234.50 or 1.234,50 EUR; the pin is mightier than the sword.",
            "A routing table has 10 entries; tel aviv has 460,613 inhabitants.",
        )
    )


def _row(rng: Rng) -> str:
    return json.dumps(
        {
            "id": rng.randrange(10**9),
            "sku": chars(rng, UPPER, 3) + "-" + chars(rng, DIGITS, 6),
            "at": f"2024-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T10:11:12.{rng.randrange(10**6):06}Z",
            "price": rng.randrange(10**6) / 100,
            "mac": ":".join(f"{rng.randrange(256):02x}" for _ in range(6)),
            "token_count": rng.randrange(10**6),
            "keywords": ["secret santa", "key lime"],
        }
    )


_ANYTHING = (_uuid, _hash, _order, _dashed, _base64, _code, _prose, _row)


# --- near misses -------------------------------------------------------------------------------------------


def _nearly(make: Callable[[Rng], Sample], break_it: Callable[[Rng, str], str]) -> Callable[[Rng], str]:
    """A positive whose value was broken: the surroundings stay as telling as they were."""

    def text(rng: Rng) -> str:
        sample = make(rng)
        return sample.text.replace(sample.value, break_it(rng, sample.value))

    return text


def _either(make: Callable[[Rng], Sample], *breaks: Callable[[Rng, str], str]) -> Callable[[Rng], str]:
    return lambda rng: _nearly(make, rng.choice(breaks))(rng)


def _wrong_digit(rng: Rng, value: str) -> str:
    """One digit one higher: every check digit scheme here notices."""
    at = rng.choice([i for i, c in enumerate(value) if c in DIGITS and i > len(value) // 2])
    return f"{value[:at]}{(int(value[at]) + 1) % 10}{value[at + 1 :]}"


def _same_shape(rng: Rng, value: str) -> str:
    """Every digit another, so that check digits hold by chance only."""
    return "".join(rng.choice(DIGITS) if c in DIGITS else c for c in value)


def _truncated(rng: Rng, value: str) -> str:
    return value[: rng.randrange(8, 14)]


_PAGES = ("nextPageToken", "next_page_token", "NextContinuationToken", "pageToken", "nextSyncToken", "NextToken",
          "Idempotency-Key", "idempotency_key", "cache_key", "partitionKey", "resume_token", "cursorToken")  # fmt: skip


def _page(rng: Rng) -> str:
    """What an agent has to send back to go on: as random as a secret, and none."""
    value = rng.choice((chars(rng, ALNUM, 40), base64.urlsafe_b64encode(rng.randbytes(33)).decode()))
    return rng.choice(('"{}": "{}"', "{}={}", "{}: {}", "<{0}>{1}</{0}>")).format(rng.choice(_PAGES), value)


_CHECKED = ("CREDIT_CARD", "IBAN", "US_ROUTING_NUMBER", "CA_SIN", "GB_NHS", "FR_NIR", "ES_NIF",
            "DE_TAX_ID", "NL_BSN", "PL_PESEL", "BR_CPF", "IN_AADHAAR", "AU_TFN", "IT_CODICE_FISCALE")  # fmt: skip
_PREFIXED = ("AWS_ACCESS_KEY_ID", "GITHUB_TOKEN", "GITLAB_TOKEN", "SLACK_TOKEN", "STRIPE_KEY", "ANTHROPIC_KEY",
             "OPENAI_KEY", "GOOGLE_API_KEY", "HUGGINGFACE_TOKEN", "NPM_TOKEN", "PYPI_TOKEN", "SENDGRID_KEY",
             "VAULT_TOKEN", "JWT", "AWS_SECRET_KEY")  # fmt: skip

_NEAR_MISS: dict[str, Callable[[Rng], str]] = {
    **{entity: _either(_POSITIVE[entity], _wrong_digit, _same_shape) for entity in _CHECKED},
    **{entity: _nearly(_POSITIVE[entity], _truncated) for entity in _PREFIXED},
    "PRIVATE_KEY": lambda rng: rng.choice(
        (
            f"-----BEGIN CERTIFICATE-----\n{chars(rng, ALNUM, 64)}\n-----END CERTIFICATE-----",
            f"-----BEGIN PUBLIC KEY-----\n{chars(rng, ALNUM, 64)}\n-----END PUBLIC KEY-----",
            "The file starts with -----BEGIN RSA PRIVATE KEY----- and ends with a footer.",
        )
    ),
    "US_SSN": lambda rng: f"{rng.choice(('Order', 'part', 'Item', 'serial'))} {chars(rng, DIGITS, 9)}",
    "US_ITIN": lambda rng: f"taxpayer {rng.randrange(1, 9)}{chars(rng, DIGITS, 8)}",
    "PHONE": lambda rng: f"{rng.choice(('order', 'part', 'build'))} {chars(rng, DIGITS, rng.randrange(7, 13))}",
    "EMAIL": lambda rng: rng.choice((
        f"{chars(rng, LOWER, 5)}@{rng.choice(('localhost', '2x.png', 'v1', '{host}', ' home.de'))}",
        f"ssh -T git@{rng.choice(('github.com', 'gitlab.acme.com', 'bitbucket.org'))}",
        f"git@code.{chars(rng, LOWER, 5)}.com:{chars(rng, LOWER, 5)}/app.git",
    )),
    "HIGH_ENTROPY": lambda rng: rng.choice((_nearly(_random, _truncated), _page))(rng),
    "AZURE_KEY": lambda rng: f"?sv=2024-08-04&sig={chars(rng, ALNUM, rng.randrange(8, 43))}&sp=r",
    "IP_ADDRESS": lambda rng: rng.choice(
        (f"version {rng.randrange(9)}.{rng.randrange(9)}.{rng.randrange(9)}.{rng.randrange(9)}",
         f"{rng.randrange(256, 999)}.1.2.3", f"v{rng.randrange(9)}.1.2.3", "127.0.0.1", "1.2.3.4.5", "10:20:30:40")
    ),
    "URL_PASSWORD": lambda rng: f"http://{chars(rng, LOWER, 6)}.com:{rng.randrange(80, 9999)}/{chars(rng, LOWER, 5)}",
    "PASSWORD": lambda rng: rng.choice(
        ("password=${DB_PASSWORD}", "password: <your password>", 'password=""', "password={{ vault.db }}",
         "password = None", "password=%s", "password: ****", "PWD=/home/bob", "password: required\n",
         f"password_{chars(rng, LOWER, 4)} = compute({chars(rng, LOWER, 4)})", "first pass: 30 ms", '{"pass": 12}',
         '{"pass": "test_login_2"}', 'pin: 13', '{"password": {"min": 8}}', '{"password":[]}', "compass=north4e",
         f"secret: {chars(rng, LOWER, 5)}-db-{rng.randrange(9999)}", "secret=vault.read('a1b2c3d4')",
         "bypass=a1b2c3d4!")
    ),
}  # fmt: skip

# Forms that people do write and that no rule here is sure of.
_HARD: dict[str, Callable[[Rng], Sample]] = {
    "PASSWORD": lambda rng: _filled(rng, "my password is {}", rng.choice(("sunshine", "letmein", "dragon"))),
    "AWS_SECRET_KEY": lambda rng: _around(rng, _aws_secret(rng)),
    "HIGH_ENTROPY": lambda rng: _filled(rng, "the signing value {} is new", chars(rng, ALNUM, 32)),
    "EMAIL": lambda rng: _filled(rng, "mailto={}", _email(rng).replace("@", rng.choice(("%40", " at ")))),
    "PHONE": lambda rng: _filled(rng, "ring me, 0{}", chars(rng, DIGITS, 10)),
    "US_SSN": lambda rng: _filled(rng, "{} is her social security number", _ssn(rng).replace("-", "")),
    "IBAN": lambda rng: _around(rng, _iban(rng).lower()),
    "CREDIT_CARD": lambda rng: _around(rng, ".".join(_card(rng).replace(" ", "-").split("-"))),
    "URL_PASSWORD": lambda rng: _filled(rng, "https://bob:{}@example.com/", chars(rng, ALNUM, 5) + "/" + "x1"),
    "JWT": lambda rng: _around(rng, _jwt(rng).replace(".", ".\n")),
    "PRIVATE_KEY": lambda rng: _around(rng, base64.b64encode(rng.randbytes(300)).decode()),
    "IP_ADDRESS": lambda rng: _filled(rng, "host {}", f"10-{rng.randrange(256)}-{rng.randrange(256)}-7"),
    "GB_NHS": lambda rng: _filled(rng, "patient {}", _nhs(rng)),
    "CA_SIN": lambda rng: _filled(rng, "insurance {}", _sin(rng)),
}


def _filled(rng: Rng, form: str, value: str) -> Sample:
    return Sample(form.format(value), value)


assert set(_POSITIVE) == set(ENTITIES)
