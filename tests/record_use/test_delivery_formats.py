"""What is sent, byte for byte: signatures, syslog messages, sizes; and which settings are refused."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.recorder.delivery.messages import Message, message
from services.recorder.delivery.start import receiver
from services.recorder.delivery.syslog import SyslogDatagrams, SyslogStream
from services.recorder.delivery.syslog_format import counted, formatted
from services.recorder.delivery.webhook import Webhook, signature, signing_key
from services.runtime.settings import SettingsError
from services.runtime.settings.audit import AuditSettings
from services.runtime.settings.delivery import DeliverySettings
from tests.record_use.test_export import ROW, check

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
#: RFC 5424, section 6, as far as we send it.
SYSLOG = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) countersign - ([!-~]{1,32}) - "
)


def test_a_signature_is_the_one_of_standard_webhooks() -> None:
    """The example of the specification's reference libraries."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", SECRET[6:]])
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and 24 to 64 bytes") as caught:
        signing_key(secret)
    assert len(secret) < 7 or secret not in str(caught.value)


def test_a_syslog_message() -> None:
    sent = formatted(Message("o", "denied", 1_795_183_200_100, b'{"a":1}'), "gate-1.example")
    assert sent == b'<108>1 2026-11-20T14:00:00.100Z gate-1.example countersign - denied - \xef\xbb\xbf{"a":1}'
    assert formatted(Message("o", "forwarded", 0, b""), "h").startswith(b"<110>1 1970-01-01T00:00:00.000Z h ")
    assert counted(b"hello") == b"5 hello"


@given(st.text(max_size=40), st.text(max_size=300), st.integers(0, 4_000_000_000_000))
def test_any_host_and_outcome_make_a_message_that_can_be_read(outcome: str, host: str, moment: int) -> None:
    found = SYSLOG.match(formatted(Message("o", outcome, moment, b"{}"), host))
    assert found
    assert int(found[1]) in (108, 110)


def row(**changes: Any) -> dict[str, Any]:
    return ROW | {"operation_id": "o-1", "session_id": "s", "connector": "c", "action": "llm.chat"} | changes


def test_an_operation_that_is_too_large_goes_without_its_content() -> None:
    large = row(statement="é" * 40_000, resources=["r" * 40_000], outcome="denied", subject="agent")
    for format_ in ("ocsf", "operations"):
        sent = message(large, format_, 64 * 1024)
        assert len(sent.body) <= 64 * 1024
        assert "é" not in sent.body.decode()
        assert "o-1" in sent.body.decode()
    event = json.loads(message(large, "ocsf", 64 * 1024).body)
    check(event)
    assert event["metadata"]["is_truncated"] is True
    assert json.loads(message(large, "operations", 64 * 1024).body)["cut"] is True


def test_an_operation_that_fits_is_whole() -> None:
    sent = message(row(statement="SELECT 1", outcome="forwarded"), "operations", 64 * 1024)
    assert json.loads(sent.body)["statement"] == "SELECT 1"
    assert (sent.operation_id, sent.outcome) == ("o-1", "forwarded")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to": "ftp://host/"}, "write https://host/path"),
        ({"to": "http://siem.example/"}, "for this machine only"),
        ({"to": "https://user:pass@siem.example/"}, "write https://host/path"),
        ({"to": "https://siem.example/", "secret": None}, "set secret"),
        ({"to": "syslog+tls://host:6514", "secret": SECRET}, "syslog has neither"),
        ({"to": "syslog+tcp://host/path", "secret": None}, "without a path"),
        ({"to": "syslog+udp://host:99999", "secret": None}, "0-65535"),
        ({"name": "Not A Name"}, "pattern"),
        ({"largest": "1KiB"}, "2048"),
        ({"batch": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"name": "siem", "to": "https://siem.example/in", "secret": SECRET}
    with pytest.raises(ValidationError, match=words):
        DeliverySettings.model_validate(fields | changes)


def test_two_receivers_of_one_name_are_refused() -> None:
    one = {"name": "siem", "to": "syslog+tcp://a"}
    with pytest.raises(ValidationError, match="same name"):
        AuditSettings.model_validate({"deliver": [one, one | {"to": "syslog+tcp://b"}]})


def test_each_address_gets_what_speaks_to_it() -> None:
    def made(to: str, **more: Any) -> object:
        return receiver(DeliverySettings.model_validate({"name": "r", "to": to} | more))

    assert isinstance(made("https://siem.example/in", secret=SECRET), Webhook)
    assert isinstance(made("syslog+tls://host"), SyslogStream)
    assert isinstance(made("syslog+tcp://host:5140"), SyslogStream)
    assert isinstance(made("syslog+udp://[::1]:514"), SyslogDatagrams)
    with pytest.raises(SettingsError, match=r"audit\.deliver r: a webhook's secret"):
        made("https://siem.example/in", secret="whsec_short")
    with pytest.raises(SettingsError, match=r"audit\.deliver r: ca"):
        made("syslog+tls://host", ca="/nowhere/ca.pem")
