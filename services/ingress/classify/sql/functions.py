"""PostgreSQL's own functions as far as they matter to a rule: which do something, and which read what is not named.

pg_proc's volatility is where it starts: what is immutable or stable does nothing. Of the volatile ones that come with
the server, those below are harmless or have an action of their own; all others make a statement `sql.call`.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Volatile, and yet they change nothing that outlives the statement.
HARMLESS = _names(
    """
    random random_normal setseed clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 array_sample array_shuffle
    currval lastval current_query txid_status pg_xact_status pg_xact_commit_timestamp pg_xact_commit_timestamp_origin
    pg_sleep pg_sleep_for pg_sleep_until pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared
    pg_database_size pg_indexes_size pg_relation_size pg_table_size pg_tablespace_size pg_total_relation_size
    pg_blocking_pids pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked pg_is_in_recovery
    pg_is_wal_replay_paused pg_get_wal_replay_pause_state pg_current_wal_flush_lsn pg_current_wal_insert_lsn
    pg_current_wal_lsn pg_last_committed_xact pg_last_wal_receive_lsn pg_last_wal_replay_lsn
    pg_last_xact_replay_timestamp pg_lock_status pg_jit_available pg_partition_ancestors pg_partition_tree
    pg_sequence_last_value pg_get_sequence_data pg_get_wait_events pg_notification_queue_usage
    pg_collation_actual_version pg_database_collation_actual_version pg_control_checkpoint pg_control_init
    pg_control_recovery pg_control_system pg_get_multixact_members pg_prepared_xact pg_stat_clear_snapshot
    pg_stat_force_next_flush pg_stat_have_stats pg_get_backend_memory_contexts pg_get_shmem_allocations amvalidate
    bernoulli system
    """
)
HARMLESS_PREFIX = "pg_stat_get_"

LOCKS = _names(
    """
    pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_lock
    pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
    """
)

#: The next number of a sequence: part of any INSERT, a call when it stands alone.
NEXT = "nextval"
SET_CONFIG = "set_config"
NOTIFY = "pg_notify"

#: They tell what their arguments do not: data by a query or name in a text, files, large objects, others' statements.
#: What they answer may carry any column.
READS_ANYTHING = _names(
    """
    query_to_xml query_to_xml_and_xmlschema cursor_to_xml table_to_xml table_to_xml_and_xmlschema schema_to_xml
    schema_to_xml_and_xmlschema database_to_xml database_to_xml_and_xmlschema ts_stat ts_rewrite
    pg_logical_slot_get_changes pg_logical_slot_get_binary_changes pg_logical_slot_peek_changes
    pg_logical_slot_peek_binary_changes pg_read_file pg_read_binary_file lo_get loread pg_stat_get_activity
    pg_stat_get_backend_activity pg_cursor pg_prepared_statement
    """
)
#: Stable by pg_proc, and yet they run what they are given: `sql.call`.
RUNS_TEXT = frozenset({"query_to_xml", "query_to_xml_and_xmlschema", "query_to_xmlschema", "ts_stat", "ts_rewrite"})

#: Relations of the server whose rows hold values of other tables, or statements; the columns, None for all.
TELLTALE: dict[str, frozenset[str] | None] = {
    "pg_statistic": None,
    "pg_statistic_ext_data": None,
    "pg_largeobject": None,
    "pg_stats": frozenset({"most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"}),
    "pg_stats_ext": frozenset({"most_common_vals", "most_common_val_nulls"}),
    "pg_stats_ext_exprs": frozenset({"most_common_vals", "histogram_bounds", "most_common_elems"}),
    "pg_stat_activity": frozenset({"query"}),
    "pg_stat_statements": frozenset({"query"}),
    "pg_prepared_statements": frozenset({"statement"}),
    "pg_cursors": frozenset({"statement"}),
}
TOAST_SCHEMA = "pg_toast"


def harmless(name: str) -> bool:
    """Of a volatile function that came with the server."""
    return name in HARMLESS or name.startswith(HARMLESS_PREFIX)
