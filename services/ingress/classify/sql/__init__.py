"""SQL as PostgreSQL reads it: what each statement is, what it touches, and which of its columns must be masked.

    statements   parse(text) -> the statements in it, each with what it is by its syntax alone
    resolving    resolve(statement, catalog, named) -> with what names mean: functions' volatility, EXECUTE, FETCH
    operation    operation(statement, binds, …) -> schemas.operations.Operation
    catalog      what must be known of the database, and the queries that fetch it
    lineage      masked_columns(…) -> the output columns that carry a masked column; copied_columns(…)
    preview      preview(statement) -> SELECT count(*) with the same predicate

All of it is pure. The grammar is PostgreSQL's own (pglast: libpg_query of PostgreSQL 18).
"""
