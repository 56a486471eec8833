# ruff: noqa: SIM905  (word lists read better as text than as a page of quotes)
"""What an auditor's query may name. Counterpart: `sql_guard.py`, which refuses everything else.

Lists of what is allowed, never of what is forbidden: ClickHouse gains functions with every release, and a new
one that reads files or calls out (`file()`, `ai*`, `python()`) must not become reachable by an upgrade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# Every node a reading statement consists of, by its name in parseQueryToJSON.
QUERY_NODES: Final = frozenset(
    """
    SelectWithUnionQuery SelectIntersectExceptQuery SelectQuery ExpressionList Subquery WithElement
    Identifier TableIdentifier Literal Function QueryParameter SetQuery
    Asterisk QualifiedAsterisk ColumnsRegexpMatcher ColumnsListMatcher QualifiedColumnsRegexpMatcher
    QualifiedColumnsListMatcher ColumnsTransformerList ColumnsApplyTransformer ColumnsExceptTransformer
    ColumnsReplaceTransformer ColumnsReplaceTransformerReplacement
    TablesInSelectQuery TablesInSelectQueryElement TableExpression TableJoin ArrayJoin SampleRatio
    WindowDefinition WindowListElement OrderByElement InterpolateElement
    """.split()
)
# Nodes that may only stand at the top.
STATEMENT_NODES: Final = frozenset(
    {"SelectWithUnionQuery", "ExplainQuery", "ShowTablesQuery", "ShowColumnsQuery", "ShowIndexesQuery"}
)
# SHOW TABLES has siblings that share its node and are told apart by a flag; these tell about the server.
REFUSED_SHOW_FLAGS: Final = frozenset({"clusters", "cluster", "caches", "merges", "dictionaries", "temporary"})

# Options of EXPLAIN; none of them is the name of a setting.
EXPLAIN_OPTIONS: Final = frozenset(
    """
    actions compact dump_ast dump_passes dump_tree description distributed graph header indexes json
    keep_logical_steps oneline optimize passes pretty projections query_tree_passes run_passes run_query_tree_passes
    sorting sources
    """.split()
)

TABLE_FUNCTIONS: Final = frozenset(
    "numbers numbers_mt zeros zeros_mt generateSeries generate_series values SQLStandardValues".split()
)

# What drivers and dashboards ask about the server; nothing that tells of users, queries, hosts or files.
FOREIGN_TABLES: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset(
        """
        aggregate_function_combinators collations columns data_type_families databases formats functions
        keywords licenses numbers numbers_mt one settings table_engines table_functions tables time_zones
        zeros zeros_mt
        """.split()
    ),
    "information_schema": frozenset(
        "schemata tables columns views key_column_usage referential_constraints statistics engines "
        "character_sets collations".split()
    ),
}
FOREIGN_DATABASES: Final = frozenset({*FOREIGN_TABLES, "default"})

# Keys of content: the views open content by them, and nobody takes one along that would outlive an erasure.
HIDDEN_TABLES: Final = frozenset({"session_keys", "keyring"})

# Output only, self-contained (no schema files), and nothing that lives in chDB's process (DataFrame, Arrow table).
FORMATS: Final = frozenset(
    """
    TabSeparated TSV TabSeparatedRaw TSVRaw TabSeparatedWithNames TSVWithNames TabSeparatedRawWithNames
    TSVRawWithNames TabSeparatedWithNamesAndTypes TSVWithNamesAndTypes TabSeparatedRawWithNamesAndTypes
    TSVRawWithNamesAndTypes CSV CSVWithNames CSVWithNamesAndTypes
    JSON JSONStrings JSONColumns JSONColumnsWithMetadata JSONCompact JSONCompactStrings JSONCompactColumns
    JSONEachRow JSONLines NDJSON JSONStringsEachRow JSONEachRowWithProgress JSONCompactEachRow
    JSONCompactEachRowWithNames JSONCompactEachRowWithNamesAndTypes JSONCompactStringsEachRow
    JSONCompactStringsEachRowWithNames JSONCompactStringsEachRowWithNamesAndTypes JSONObjectEachRow
    Pretty PrettyNoEscapes PrettyMonoBlock PrettyCompact PrettyCompactMonoBlock PrettyCompactNoEscapes
    PrettySpace PrettySpaceMonoBlock Vertical Values Markdown XML SQLInsert Null
    Native RowBinary RowBinaryWithNames RowBinaryWithNamesAndTypes Parquet Arrow ArrowStream ORC Avro MsgPack
    """.split()
)

# system.functions sorts functions into categories; whole categories that only compute from their arguments.
_CATEGORIES: Final = frozenset(
    {
        "Aggregate Functions", "Arithmetic", "Arrays", "Bit", "Bitmap", "Comparison", "Conditional",
        "Dates and Times", "Distance", "Encoding", "Financial", "Geo", "Geo Polygon", "Hash", "IP Address",
        "JSON", "Logical", "Map", "Mathematical", "Null", "NumericIndexedVector", "Random Number", "Rounding",
        "String", "String Replacement", "String Search", "String Splitting", "Time Window", "Tuple",
        "Type Conversion", "URL", "UUID",
    }
)  # fmt: skip
# The category "Other" holds file() beside version(): by name. By `tryDecrypt` `audit verify` compares what the column
# `opened` tells with the content: by keys from the column `content_key`, which `audit prove --reveal` reads too.
_OTHERS: Final = frozenset(
    """
    _CAST caseWithExpression nested bar blockNumber blockSize byteSize countDigits currentDatabase currentQueryID
    currentSchemas currentUser defaultValueOfArgumentType defaultValueOfTypeName displayName dumpColumnStructure
    errorCodeToName finalizeAggregation formatQuery formatQueryOrNull formatQuerySingleLine
    formatQuerySingleLineOrNull formatReadableDecimalSize formatReadableQuantity formatReadableSize
    formatReadableTimeDelta getSetting getSubcolumn globalVariable highlightQuery identity ignore indexHint
    initializeAggregation isConstant isDecimalOverflow materialize neighbor normalizeQuery
    normalizeQueryKeepNames normalizedQueryHash normalizedQueryHashKeepNames parseReadableSize
    parseReadableSizeOrNull parseReadableSizeOrZero parseTimeDelta queryID revision rowNumberInAllBlocks
    rowNumberInBlock runningAccumulate runningDifference runningDifferenceStartingWithFirstValue throwIf
    toColumnTypeName toTypeName tokenizeQuery transform tryDecrypt uptime variantElement variantType version
    visibleWidth
    """.split()
)
# Operators the parser spells as functions and system.functions does not list.
_SYNTAX: Final = frozenset({"lambda", "exists", "grouping", "untuple"})


@dataclass(frozen=True, slots=True)
class FunctionAllowlist:
    """The functions this very engine has and a reader may call. `combinators` are If, Array, State and so on."""

    names: frozenset[str]
    case_insensitive: frozenset[str]
    aggregates: frozenset[str]
    combinators: tuple[str, ...]

    def allows(self, name: str) -> bool:
        if name in self.names or name.lower() in self.case_insensitive:
            return True
        return self._is_combined(name)

    def _is_combined(self, name: str) -> bool:
        """`quantilesArrayIf` is an aggregate with suffixes; nothing but an aggregate takes one."""
        for suffix in self.combinators:
            base = name.removesuffix(suffix)
            if base != name and (base in self.aggregates or self._is_combined(base)):
                return True
        return False


def function_allowlist(rows: Iterable[Mapping[str, Any]], combinators: Iterable[str]) -> FunctionAllowlist:
    """Build the list from rows of system.functions: name, alias_to, categories, case_insensitive, is_aggregate."""
    rows = list(rows)
    allowed = {row["name"] for row in rows if row["categories"] in _CATEGORIES or row["name"] in _OTHERS}
    chosen = [row for row in rows if row["name"] in allowed or row["alias_to"] in allowed]
    return FunctionAllowlist(
        names=frozenset(row["name"] for row in chosen) | _SYNTAX,
        case_insensitive=frozenset(row["name"].lower() for row in chosen if row["case_insensitive"]),
        aggregates=frozenset(row["name"] for row in chosen if row["is_aggregate"]),
        combinators=tuple(combinators),
    )
