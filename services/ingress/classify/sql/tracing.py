"""Follows values through a query, from the tables' columns to its output: joins, CTEs, sub-selects, set operations.

It reads the tree as PostgreSQL's analyser does (parse_relation.c, parse_clause.c, parse_cte.c), but needs no types: a
value carries whatever any part of its expression carries. What a WHERE, ON, GROUP BY or ORDER BY compares is noted
apart, for a comparison lets infer and does not carry. What it does not understand comes from ANYWHERE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pglast import ast, enums

from services.ingress.classify.sql.catalog import Catalog
from services.ingress.classify.sql.from_items import FromItems
from services.ingress.classify.sql.naming import output_name
from services.ingress.classify.sql.origins import EMPTY, NOWHERE, UNTRACED, Origin, Origins, Output, Outputs
from services.ingress.classify.sql.scopes import Relation, Scope
from services.ingress.classify.sql.seen import Assignment, Seen

Ctes = Mapping[str, Outputs]

#: Rounds after which a recursive CTE's columns must have stopped to grow: each round carries a value one column on.
_MOST_ROUNDS = 64

_MODIFYING = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)


def traced(tree: Any, catalog: Catalog | None, arguments: Sequence[Any] = ()) -> tuple[Outputs, Seen]:
    """The outputs of a query or a data-modifying statement, and what it came by; `arguments` are EXECUTE's."""
    tracer = Tracer(catalog)
    try:
        tracer.parameters = tuple(tracer.carries(argument, Scope(), {}) for argument in arguments)
        return tracer.query(tree, None, {}), tracer.seen
    except RecursionError:
        return UNTRACED, tracer.seen


class Tracer(FromItems):
    """One statement's."""

    def query(self, node: Any, outer: Scope | None, ctes: Ctes) -> Outputs:
        """The outputs of any statement that may stand in a WITH."""
        ctes = self._with(node.withClause, outer, ctes) if getattr(node, "withClause", None) is not None else ctes
        if isinstance(node, ast.SelectStmt):
            return self._select(node, outer, ctes)
        if isinstance(node, _MODIFYING):
            return self._modify(node, outer, ctes)
        return UNTRACED

    # --- SELECT ---

    def _select(self, node: Any, outer: Scope | None, ctes: Ctes) -> Outputs:
        if node.op != enums.SetOperation.SETOP_NONE:
            return self.query(node.larg, outer, ctes).merged(self.query(node.rarg, outer, ctes))
        scope = Scope(outer=outer)
        if node.valuesLists:
            return self._values(node.valuesLists, scope, ctes)
        self.fill(scope, node.fromClause, ctes)
        for part in (node.whereClause, node.havingClause, node.groupClause, node.sortClause, node.windowClause):
            self.compare(part, scope, ctes)
        for part in (node.limitCount, node.limitOffset, node.distinctClause):
            self.compare(part, scope, ctes)
        return self._targets(node.targetList, scope, ctes)

    def _values(self, rows: Any, scope: Scope, ctes: Ctes) -> Outputs:
        found: Outputs | None = None
        for row in rows:
            columns = tuple(
                Output(f"column{at}", self.carries(value, scope, ctes)) for at, value in enumerate(row, start=1)
            )
            found = Outputs(columns) if found is None else found.merged(Outputs(columns))
        return found or EMPTY

    def _targets(self, targets: Any, scope: Scope, ctes: Ctes) -> Outputs:
        columns: list[Output] = []
        every: Origins = NOWHERE
        known = True
        for target in targets or ():
            part = self._target(target, scope, ctes)
            every |= part.all
            known = known and part.columns is not None
            columns += part.columns or ()
        return Outputs(tuple(columns)) if known else Outputs(None, every)

    def _target(self, target: Any, scope: Scope, ctes: Ctes) -> Outputs:
        value = target.val
        if _is_star(value, ast.ColumnRef, "fields"):
            return self._star(value, scope)
        if _is_star(value, ast.A_Indirection, "indirection"):
            return self._row_star(value, scope, ctes)
        name, sure = (target.name, True) if target.name else output_name(value)
        return Outputs((Output(name, self.carries(value, scope, ctes), sure),))

    def _star(self, ref: Any, scope: Scope) -> Outputs:
        names = [part.sval for part in ref.fields[:-1]]
        if not names:
            star = scope.star()
        else:
            relation = scope.relation(names[-1], names[-2] if len(names) > 1 else "")
            star = relation.outputs if relation else UNTRACED
        self.note(star.all)
        return star

    def _row_star(self, value: Any, scope: Scope, ctes: Ctes) -> Outputs:
        """`(row).*`: the columns of a relation's row, or of a composite value, whose number is not known."""
        name = _plain_name(value.arg)
        relation = scope.relation(name) if name and len(value.indirection) == 1 else None
        if relation is not None and not scope.column(name)[1]:
            self.note(relation.outputs.all)
            return relation.outputs
        return Outputs(None, self.carries(value, scope, ctes))

    # --- WITH ---

    def _with(self, clause: Any, outer: Scope | None, ctes: Ctes) -> Ctes:
        known = dict(ctes)
        if clause.recursive:  # they may name one another in any order
            known |= {cte.ctename: UNTRACED for cte in clause.ctes}
        for cte in clause.ctes:
            known[cte.ctename] = self._cte(cte, clause.recursive, outer, known)
        return known

    def _cte(self, cte: Any, recursive: bool, outer: Scope | None, ctes: Ctes) -> Outputs:
        query = cte.ctequery
        looping = recursive and isinstance(query, ast.SelectStmt) and query.op != enums.SetOperation.SETOP_NONE
        if not looping:
            return self._finished(cte, self.query(query, outer, ctes))
        found = self._finished(cte, self.query(query.larg, outer, ctes))
        for _ in range(_MOST_ROUNDS):
            again = self._finished(cte, self.query(query, outer, {**ctes, cte.ctename: found}))
            if again == found:
                return found
            found = again
        return UNTRACED

    def _finished(self, cte: Any, outputs: Outputs) -> Outputs:
        """With its column names, and the columns that SEARCH and CYCLE add."""
        outputs = outputs.renamed(name.sval for name in cte.aliascolnames or ())
        added = []
        if cte.search_clause is not None:
            added.append(cte.search_clause.search_seq_column)
        if cte.cycle_clause is not None:
            added += [cte.cycle_clause.cycle_mark_column, cte.cycle_clause.cycle_path_column]
        if outputs.columns is None or not added:
            return outputs
        return Outputs((*outputs.columns, *(Output(name, outputs.all) for name in added)), outputs.rest)

    # --- INSERT, UPDATE, DELETE, MERGE ---

    def _modify(self, node: Any, outer: Scope | None, ctes: Ctes) -> Outputs:
        item = self.table_item(node.relation, {})
        target = item.relations[0]
        scope = Scope(outer=outer, extra=_versions(target, node.returningClause))
        match node:
            case ast.InsertStmt():
                self._insert(node, target, ctes, outer)
                scope.items.append(item)
                excluded = Relation("excluded", target.outputs)
                inner = Scope([item], outer, (excluded,))
                if node.onConflictClause:
                    self._assign(node.relation, node.onConflictClause.targetList, inner, ctes)
                    self.compare(node.onConflictClause.whereClause, inner, ctes)
            case ast.MergeStmt():
                self.fill(scope, (node.sourceRelation,), ctes)
                scope.items.append(item)
                self.compare(node.joinCondition, scope, ctes)
                self._branches(node, target, scope, ctes)
            case _:
                scope.items.append(item)
                self.fill(scope, getattr(node, "fromClause", None) or getattr(node, "usingClause", None), ctes)
                self._assign(node.relation, getattr(node, "targetList", None), scope, ctes)
                self.compare(node.whereClause, scope, ctes)
        return self._targets(node.returningClause.exprs, scope, ctes) if node.returningClause else EMPTY

    def _insert(self, node: Any, target: Relation, ctes: Ctes, outer: Scope | None) -> None:
        if node.selectStmt is None:
            return
        outputs = self.query(node.selectStmt, outer, ctes)
        names = [column.name for column in node.cols or ()]
        if not names:
            names = [column.name for column in target.outputs.columns or ()]
        if outputs.columns is None or len(outputs.columns) > len(names):
            self._assigned(node.relation, "*", outputs.all)
            return
        for name, column in zip(names, outputs.columns, strict=False):
            self._assigned(node.relation, name, column.origins)

    def _branches(self, node: Any, target: Relation, scope: Scope, ctes: Ctes) -> None:
        for when in node.mergeWhenClauses or ():
            self.compare(when.condition, scope, ctes)
            if when.values:
                names = [column.name for column in when.targetList or ()]
                names = names or [column.name for column in target.outputs.columns or ()]
                for at, value in enumerate(when.values):
                    name = names[at] if at < len(names) else "*"
                    self._assigned(node.relation, name, self.carries(value, scope, ctes))
            else:
                self._assign(node.relation, when.targetList, scope, ctes)

    def _assign(self, table: Any, targets: Any, scope: Scope, ctes: Ctes) -> None:
        for target in targets or ():
            self._assigned(table, target.name, self.carries(target.val, scope, ctes))

    def _assigned(self, table: Any, column: str, origins: Origins) -> None:
        found = self.tables(table)
        places = [(each.schema, each.name) for each in found] or [(table.schemaname or "", table.relname)]
        self.seen.assigned += [Assignment(Origin(*place, column), origins) for place in places]

    # --- the rest of what FROM and expressions need ---

    def view(self, tree: Any) -> tuple[Outputs, Seen]:
        """A view's query, traced by itself: it sees nothing of the query around it."""
        tracer = Tracer(self.catalog.within(()) if self.catalog else None)
        return tracer.query(tree, None, {}), tracer.seen


def _versions(target: Relation, returning: Any) -> tuple[Relation, ...]:
    """OLD and NEW, under the names that RETURNING WITH gives them."""
    names = {"old", "new"} | {option.value for option in (returning.options if returning else None) or ()}
    return tuple(Relation(name, target.outputs) for name in sorted(names))


def _is_star(node: Any, kind: type, parts: str) -> bool:
    return isinstance(node, kind) and any(isinstance(part, ast.A_Star) for part in getattr(node, parts))


def _plain_name(node: Any) -> str:
    """Of a reference without qualification; "" for anything else."""
    fields = node.fields if isinstance(node, ast.ColumnRef) else None
    return str(fields[0].sval) if fields and len(fields) == 1 and isinstance(fields[0], ast.String) else ""
