"""Wrong settings are one line: `file:line:column: path: what is wrong and what to do`."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.settings import Secret, Settings, SettingsError, load, reveal
from services.runtime.settings.load import from_source
from services.runtime.settings.yaml_source import MAX_VALUES, SourceError, parse

GOOD = """\
connectors:
  openai:
    upstream: https://api.openai.com/
    inject: {header: Authorization, value: "Bearer ${env:OPENAI_API_KEY}"}
approvals: {wait: 5m}
limits: {inspection_window: 1MiB, verdict_timeout: 250ms}
listen: {http: "[::1]:0"}
"""

DURATION = "write a duration such as 250ms, 30s, 15m, 1h or 7d"
#: What is written, and the one line it gives.
WRONG = {
    "conectors: {}": "1:1: conectors: unknown key; did you mean `connectors`?",
    "connectors: {a: {upstream: https://x, injekt: {}}}": "1:39: connectors.a.injekt: unknown key; did you mean "
    "`inject`?",
    "connectors: {}\nlimits: {zzz: 1}": "2:10: limits.zzz: unknown key; known here: connections, drain, headers, "
    "held, held_per_identity, inspection_window, keep_alive, operations, outbox, refusals_per_second, request_head, "
    "request_idle, verdict_timeout",
    "listen: {}": "1:1: connectors: this key is required; add it",
    "connectors: {}\nlimits: {inspection_window: 2MiB}": "2:29: limits.inspection_window: Input should be less "
    "than or equal to 1048576",
    "connectors: {a: {tags: {}}}": "1:17: connectors.a.upstream: this key is required; add it",
    "connectors: {a: {upstream: ftp://x}}": "1:28: connectors.a.upstream: write the upstream as https://host[:port][/path]",
    "connectors: {a: {upstream: https://x:99999}}": "1:28: connectors.a.upstream: write the upstream as "
    "https://host[:port][/path]",
    "connectors: {a: {upstream: https://u:p@x}}": "1:28: connectors.a.upstream: credentials belong under `inject`, not "
    "in the upstream's address",
    "connectors: {A: {upstream: https://x}}": "1:17: connectors.A: use up to 63 lower-case letters, digits, `-` and "
    "`_`, a letter or digit first",
    "connectors: {a: {upstream: https://x, inject: {header: A}}}": "1:47: connectors.a.inject: `value` is missing: the "
    "credential to inject, such as ${env:NAME}",
    "connectors: {a: {upstream: https://x, inject: {header: X Key, value: v}}}": "1:56: connectors.a.inject.header: "
    "this is not the name of a header field",
    "connectors: {a: {upstream: https://x, inject: {header: Host, value: v}}}": "1:56: connectors.a.inject.header: "
    "Host says where a request goes or ends, and takes no credential",
    "connectors: []": "1:13: connectors: write a mapping, such as `{key: value}`",
    "connectors: {}\napprovals: {wait: soon}": f"2:19: approvals.wait: {DURATION}",
    "connectors: {}\nlimits: {drain: -1}": f"2:17: limits.drain: {DURATION}",
    "connectors: {}\nlimits: {drain: .inf}": f"2:17: limits.drain: {DURATION}",
    "connectors: {}\nlimits: {headers: big}": "2:19: limits.headers: write a size such as 65536, 256KiB, 10MiB or 1GiB",
    "connectors: {}\nlisten: {http: 8080}": "2:16: listen.http: write an address such as 127.0.0.1:8080",
    "connectors: {}\nlisten: {http: 'x:65536'}": "2:16: listen.http: write an address such as 127.0.0.1:8080",
    "connectors: {}\nlisten: {tls: maybe}": "2:15: listen.tls: write a mapping, such as `{key: value}`, or "
    "write 'auto'",
    "connectors: {}\nnats: {servers: 3}": "2:17: nats.servers: write 'embedded', or write a list, such as `[one, two]`",
    "connectors: {}\ntelemetry: {level: loud}": "2:20: telemetry.level: write 'debug', 'info', 'warning' or 'error'",
    '"a\\n\\e[2J": 1': r"1:1: a\n\x1b[2J: unknown key; known here: approvals, audit, connectors, identity, limits, "
    "listen, masking, nats, policy, telemetry",
    "connectors: {}\nconnectors: {}": "2:1: the key 'connectors' stands here twice",
    "connectors: [": "1:14: not YAML: expected the node content, but found '<stream end>'",
    "connectors: !!python/object:os.system x": "1:13: not YAML: could not determine a constructor for the tag "
    "'tag:yaml.org,2002:python/object:os.system'",
    "- connectors": "1:1: expected keys such as `connectors:`; see docs/operators.md",
    "connectors: &c {a: *c}": "1:13: nested deeper than 64 levels",
}


def settings_in(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "countersign.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def test_values_are_typed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, GOOD)
    assert settings.connectors["openai"].upstream == "https://api.openai.com"
    assert settings.approvals.wait == 300
    assert settings.limits.inspection_window == 1 << 20
    assert settings.limits.verdict_timeout == 0.25
    assert (settings.listen.http.host, settings.listen.http.port) == ("::1", 0)
    assert str(settings.listen.http) == "[::1]:0"


@pytest.mark.parametrize("text", WRONG, ids=WRONG.__getitem__)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_in(tmp_path, text)
    assert str(refused.value) == f"{tmp_path / 'countersign.yaml'}:{WRONG[text]}"


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file; name another with --config, or create it"):
        load(tmp_path / "countersign.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"connectors: \xe9")
    with pytest.raises(SettingsError, match=r"latin\.yaml: cannot be read"):
        load(tmp_path / "latin.yaml")
    for unusable in (tmp_path, tmp_path / "a\0b"):
        with pytest.raises(SettingsError, match="cannot be read"):
            load(unusable)


def test_aliases_that_stand_for_a_billion_values_are_refused_soon() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(SourceError, match=f"more than {MAX_VALUES} values"):
        parse("\n".join(lines))


def test_a_missing_secret_names_itself_and_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OTHER", "the-other-value")
    with pytest.raises(SettingsError) as refused:
        reveal(Secret("${env:OTHER} ${env:OPENAI_API_KEY}"), "connectors.openai.inject.value")
    assert str(refused.value) == (
        "countersign.yaml: connectors.openai.inject.value: "
        "the environment variable OPENAI_API_KEY is not set; export it and start again"
    )
    with pytest.raises(SettingsError, match=r"the secret file /no/where cannot be read \(No such file"):
        reveal(Secret("${file:/no/where}"), "audit.dsn")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        reveal(Secret(f"${{file:{binary}}}"), "audit.dsn")


def test_secrets_are_read_late_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("PART", "from-the-environment")
    secret = Secret(f"Bearer ${{env:PART}}/${{file:{tmp_path / 'key'}}}")
    assert secret.reveal() == "Bearer from-the-environment/from-a-file"
    for shown in (repr(secret), str(secret), f"{secret}"):
        assert "Bearer" not in shown
        assert "from-" not in shown
    assert "sk-literal" not in repr(Secret("sk-literal"))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates()
KEYS = st.sampled_from([*Settings.model_fields, "upstream", "inject", "header", "value", "tls", "slack", "x"])
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=4)
)


@given(DOCUMENTS)
def test_any_document_is_settings_or_one_line(document: object) -> None:
    one_line_or_settings(yaml.safe_dump(document))


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("{}[]:,-&*!|>'\"#%@ \nab1?~<", max_size=60))
def test_any_text_is_settings_or_one_line(text: str) -> None:
    one_line_or_settings(text)


def one_line_or_settings(text: str) -> None:
    try:
        from_source(parse(text, "countersign.yaml"))
        return
    except SourceError as error:
        said = str(error)
    assert said.startswith("countersign.yaml:")
    assert "\n" not in said
