"""What a client may set by its startup packet, and what of it the database gets to see.

A startup parameter is a SET that nobody would judge, so only those that change how a session looks pass: formats,
encodings, time-outs, names for the log. Whoever wants another sets it after connecting, where policy sees it.

    user, database          ours: the role is the connector's, the database chosen by the connector's name
    options                 `-c name=value` and `--name=value`, each as if it were a parameter of its own
    countersign.…           run, reason and traceparent: for the record and for people, as HTTP's header fields are
    replication             refused here unless a rule allows it (the session asks)
    _pq_.…                  no option of the protocol is known; the client is told so (NegotiateProtocolVersion)
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from schemas.events import Outcome
from services.ingress.errors import AgentError
from services.ingress.protocols.postgres.codec.startup import Startup

#: Newest version of the protocol spoken here; 3.2 differs in the length of cancel keys.
NEWEST = (3, 2)
#: Names as PostgreSQL compares them: without regard to case.
PASSED = frozenset({
    "application_name", "backslash_quote", "bytea_output", "client_encoding", "client_min_messages", "datestyle",
    "default_transaction_deferrable", "default_transaction_isolation",
    "default_transaction_read_only", "escape_string_warning", "extra_float_digits",
    "geqo", "idle_in_transaction_session_timeout", "idle_session_timeout", "intervalstyle", "jit", "lc_messages",
    "lock_timeout", "plan_cache_mode", "search_path", "standard_conforming_strings", "statement_timeout",
    "tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout", "timezone",
    "transaction_timeout",
})  # fmt: skip
#: Ours, and not the database's; longest value of each that is kept.
OWN = {"countersign.run": 128, "countersign.reason": 1000, "countersign.traceparent": 55}
_OPTION = re.compile(r"^(?:-c\s*|--)([A-Za-z_][A-Za-z0-9_.\-]*)=(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Wish:
    """A client's startup packet, read."""

    user: str
    database: str
    #: What the database gets.
    parameters: Mapping[str, str] = field(default_factory=dict)
    #: `true`, `database` and so on: the client wants a replication connection.
    replication: str = ""
    #: Joins the operations of one agent run (`countersign.run`); free text, not masked yet.
    run: str = ""
    #: The caller's own words to the approver (`countersign.reason`); not masked yet.
    reason: str = ""
    #: Of W3C Trace Context (`countersign.traceparent`), as the client wrote it.
    traceparent: str = ""
    #: Options of the protocol that it asks for and that are not known.
    unknown: tuple[str, ...] = ()
    version: tuple[int, int] = (3, 0)

    @property
    def newer(self) -> bool:
        """Whether it has to be told what is spoken here."""
        return self.version > NEWEST or bool(self.unknown)

    @property
    def spoken(self) -> tuple[int, int]:
        """The version that both speak."""
        return min(self.version, NEWEST)


def wish(packet: Startup) -> Wish:
    """Raises AgentError for what may not be set."""
    user = packet.parameters.get("user", "")
    if not user:
        raise AgentError(400, "malformed", "no user name in the startup packet", Outcome.DENIED)
    database, replication, options = packet.parameters.get("database") or user, "", ""
    passed: dict[str, str] = {}
    own = dict.fromkeys(OWN, "")
    for name, value in packet.parameters.items():
        if name == "options":
            options = value
        elif name == "replication":
            replication = "" if value.lower() in ("false", "off", "no", "0", "f", "n", "of") else value
        elif name not in ("user", "database") and not name.startswith("_pq_."):
            _put(name, value, own, passed)
    for name, value in _settings(options):
        _put(name, value, own, passed)
    unknown = tuple(name for name in packet.parameters if name.startswith("_pq_."))
    return Wish(
        user=user,
        database=database,
        parameters=passed,
        replication=replication,
        run=own["countersign.run"],
        reason=own["countersign.reason"],
        traceparent=own["countersign.traceparent"],
        unknown=unknown,
        version=packet.version,
    )


def _put(name: str, value: str, own: dict[str, str], passed: dict[str, str]) -> None:
    """Where a parameter belongs. Raises AgentError when nowhere."""
    if (mine := name.lower()) in own:
        own[mine] = value[: OWN[mine]]
    elif mine in PASSED:
        passed[name] = value
    else:
        shown = name if name.isascii() and name.isprintable() and len(name) <= 63 else "of that name"
        raise AgentError(
            403,
            "startup_parameter",
            f"the startup parameter {shown} cannot be set through the gateway: SET it after connecting",
            Outcome.DENIED,
            rule="startup-parameters",
        )


def _settings(options: str) -> Iterator[tuple[str, str]]:
    """The settings in `options`. Raises AgentError for switches that set none."""
    words = iter(_words(options))
    for word in words:
        # `-c` and its setting may be two words.
        whole = f"-c{next(words, '')}" if word == "-c" else word
        found = _OPTION.match(whole)
        if found is None:
            raise AgentError(
                403, "startup_parameter", "options may hold nothing but -c name=value", Outcome.DENIED,
                rule="startup-parameters",
            )  # fmt: skip
        yield found[1].replace("-", "_"), found[2]


def _words(options: str) -> list[str]:
    r"""Split at white space; `\` takes the next character as it is (pg_split_opts)."""
    words, word, quoted = [], "", False
    for character in options:
        if quoted:
            word, quoted = word + character, False
        elif character == "\\":
            quoted = True
        elif character in " \t\n\r\f\v":
            words.append(word)
            word = ""
        else:
            word += character
    return [each for each in (*words, word) if each]
