"""An operation as the Open Cybersecurity Schema Framework names it (schema.ocsf.io, version 1.8.0). Pure.

| what | class | activity |
|---|---|---|
| a statement on a database | Datastore Activity [6005] | Read, Update, Write, Create, Delete, Query |
| turned away without an identity | Authentication [3002] | Logon, failed |
| everything else | API Activity [6003] | Create, Read, Update, Delete, Other |

`time` is the attempt's, in milliseconds since 1970. The decision is the profile Security Control's `action_id`; who
approved stands under `unmapped`, as everything that OCSF has no word for. Content is as masked as in the record.
"""

from collections.abc import Mapping
from typing import Any, Final

VERSION: Final = "1.8.0"

#: The operations of a range of time with what `event` needs of them; `{also}` narrows them further.
ROWS: Final = """
SELECT o.* EXCEPT (started_at, finished_at), toUnixTimestamp64Milli(started_at) AS started_ms,
       toUnixTimestamp64Milli(ifNull(o.finished_at, toDateTime64(0, 6, 'UTC'))) AS finished_ms,
       p.peer AS peer, p.run AS run, p.trace_id AS trace_id
FROM operations AS o
ANY LEFT JOIN (
    SELECT started_at, operation_id, peer, run, substring(traceparent, 4, 32) AS trace_id FROM attempt_details
    WHERE started_at >= {{since:DateTime64(3, 'UTC')}} AND started_at < {{until:DateTime64(3, 'UTC')}}
    UNION ALL
    SELECT started_at, operation_id, peer, '' AS run, '' AS trace_id FROM outcomes
    WHERE refused AND started_at >= {{since:DateTime64(3, 'UTC')}} AND started_at < {{until:DateTime64(3, 'UTC')}}
) AS p USING (started_at, operation_id)
WHERE started_at >= {{since:DateTime64(3, 'UTC')}} AND started_at < {{until:DateTime64(3, 'UTC')}} {also}
ORDER BY started_at, operation_id
"""
PRODUCT: Final = {"name": "Countersign", "vendor_name": "Countersign"}

API, DATASTORE, AUTHENTICATION = 6003, 6005, 3002
_CATEGORY: Final = {API: 6, DATASTORE: 6, AUTHENTICATION: 3}
_CLASS_NAMES: Final = {API: "API Activity", DATASTORE: "Datastore Activity", AUTHENTICATION: "Authentication"}
#: Protocols whose connectors are databases.
_DATABASES: Final = frozenset({"postgres", "clickhouse", "mysql"})
_OTHER: Final = 99

#: Actions (architecture, section 6) to activities; what is not named is Other.
_DATASTORE_ACTIVITY: Final[Mapping[str, tuple[int, str]]] = {
    "sql.select": (1, "Read"),
    "sql.copy": (1, "Read"),
    "sql.update": (2, "Update"),
    "sql.insert": (5, "Write"),
    "sql.create": (6, "Create"),
    "sql.delete": (7, "Delete"),
    "sql.drop": (7, "Delete"),
    "sql.truncate": (7, "Delete"),
}
_API_ACTIVITY: Final[Mapping[str, tuple[int, str]]] = {
    "http.post": (1, "Create"),
    "http.get": (2, "Read"),
    "http.head": (2, "Read"),
    "http.put": (3, "Update"),
    "http.patch": (3, "Update"),
    "http.delete": (4, "Delete"),
}
#: Outcome to status: Success, Failure, Unknown.
_STATUS: Final[Mapping[str, tuple[int, str]]] = {
    "forwarded": (1, "Success"),
    "": (0, "Unknown"),
    "unknown": (0, "Unknown"),
    "deferred": (0, "Unknown"),
}
#: Outcome to severity: nothing to see, worth a look, or nobody knows whether it reached the upstream.
_SEVERITY: Final[Mapping[str, tuple[int, str]]] = {
    "forwarded": (1, "Informational"),
    "": (1, "Informational"),
    "deferred": (1, "Informational"),
    "unknown": (3, "Medium"),
}
_ACTION: Final[Mapping[str, tuple[int, str]]] = {"allow": (1, "Allowed"), "deny": (2, "Denied")}


def event(row: Mapping[str, Any]) -> dict[str, Any]:
    """One OCSF event of a row that `ROWS` answers; times in milliseconds since 1970, 0 for none."""
    kind = _class(row)
    activity_id, activity = _activity(kind, row["action"])
    status_id, status = _STATUS.get(row["outcome"], (2, "Failure"))
    severity_id, severity = _SEVERITY.get(row["outcome"], (2, "Low"))
    action_id, action = _ACTION.get(row["decision"], (2, "Denied") if row["outcome"] == "denied" else (0, "Unknown"))
    made: dict[str, Any] = {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": _CATEGORY[kind],
        "class_uid": kind,
        "class_name": _CLASS_NAMES[kind],
        "type_uid": kind * 100 + activity_id,
        "time": int(row["started_ms"]),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "action_id": action_id,
        "action": action,
        "metadata": {
            "version": VERSION,
            "product": PRODUCT,
            "profiles": ["security_control"],
            "uid": row["operation_id"],
            "log_name": "operations",
            **({"correlation_uid": row["trace_id"]} if row["trace_id"] else {}),
        },
        "src_endpoint": _endpoint(row["peer"]),
        "unmapped": _unmapped(row),
    }
    if int(row["finished_ms"]):
        made |= {"start_time": int(row["started_ms"]), "end_time": int(row["finished_ms"])}
    if row["status"]:
        made["status_code"] = row["status"]
    if row["reason"]:
        made["status_detail"] = row["reason"]
    if row["rules"]:
        made["policy"] = {"name": ", ".join(row["rules"]), "version": row["policy_version"]}
    return made | _of_class(kind, row)


def _class(row: Mapping[str, Any]) -> int:
    if not row["subject"] and row["outcome"] == "denied":
        return AUTHENTICATION
    return DATASTORE if row["protocol"] in _DATABASES else API


def _activity(kind: int, action: str) -> tuple[int, str]:
    if kind == AUTHENTICATION:
        return 1, "Logon"
    if kind == DATASTORE:
        return _DATASTORE_ACTIVITY.get(action, (4, "Query"))
    return _API_ACTIVITY.get(action, (_OTHER, action or "Other"))


def _of_class(kind: int, row: Mapping[str, Any]) -> dict[str, Any]:
    service = {"name": row["connector"]}
    if kind == AUTHENTICATION:
        return {"user": _user(row), "service": service}
    if kind == DATASTORE:
        return {
            "actor": _actor(row),
            "database": {"name": row["connector"], "type_id": 1, "type": "Relational"},
            "query_info": {"uid": row["operation_id"], "query_string": row["statement"] or row["action"]},
            "type_id": 1,
            "type": "Database",
        }
    return {
        "actor": _actor(row),
        "api": {
            "operation": row["action"],
            "service": service,
            "request": {"uid": row["operation_id"], "data": {"statement": row["statement"]}},
            **({"response": {"message": row["status"]}} if row["status"] else {}),
        },
        "resources": [{"name": name} for name in row["resources"]] or [{"name": row["connector"]}],
    }


def _actor(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"user": _user(row), "session": {"uid": row["session_id"]}}


def _user(row: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": row["subject"] or "unknown"}
    if row["issuer"]:
        made |= {"uid": row["subject"], "domain": row["issuer"]}
    if row["email"]:
        made["email_addr"] = row["email"]
    if row["groups"]:
        made["groups"] = [{"name": name} for name in row["groups"]]
    return made


def _endpoint(peer: str) -> dict[str, Any]:
    """`address:port` of the client, `[…]:port` for IPv6."""
    host, colon, port = peer.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdecimal():
        return {"name": peer or "unknown"}
    return {"ip": host, "port": int(port)}


def _unmapped(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("approval_id", "approved_by", "decision", "outcome", "masked", "rows", "request_bytes", "response_bytes")
    found = {name: row[name] for name in (*names, "run", "connector", "protocol", "ingress", "total_ms")}
    return {name: value for name, value in found.items() if value}
