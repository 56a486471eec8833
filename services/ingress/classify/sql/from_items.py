"""FROM and expressions: the relations that a query sees, and what an expression over them carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pglast import ast, enums

from services.ingress.classify.sql.catalog import Catalog, Table
from services.ingress.classify.sql.naming import output_name
from services.ingress.classify.sql.origins import (
    ANYWHERE,
    CALLED,
    NOWHERE,
    UNTRACED,
    Origin,
    Origins,
    Output,
    Outputs,
)
from services.ingress.classify.sql.scopes import Item, Relation, Scope, joined
from services.ingress.classify.sql.seen import Seen, answers, functions_called
from services.ingress.classify.sql.tables import outputs_of
from services.ingress.classify.sql.walk import children, dotted


class FromItems:
    """The half of the tracer that knows FROM and expressions; `tracing.Tracer` has the statements."""

    def __init__(self, catalog: Catalog | None) -> None:
        self.catalog = catalog
        self.seen = Seen()
        #: What each parameter carries, where EXECUTE gives it an expression; a value that the agent sends is its own.
        self.parameters: tuple[Origins, ...] = ()

    def query(self, node: Any, outer: Scope | None, ctes: Mapping[str, Outputs]) -> Outputs:
        """The outputs of a query below (tracing.py)."""
        raise NotImplementedError

    def view(self, tree: Any) -> tuple[Outputs, Seen]:
        """The same of a view's."""
        raise NotImplementedError

    # --- FROM ---

    def fill(self, scope: Scope, clause: Any, ctes: Mapping[str, Outputs]) -> None:
        """Add the items of a FROM to its scope, each seeing those before it as far as LATERAL lets it."""
        for node in clause or ():
            scope.items.append(self._item(node, scope, ctes))

    def _item(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Item:
        match node:
            case ast.RangeVar():
                return self.table_item(node, ctes)
            case ast.RangeTableSample():
                return self._item(node.relation, scope, ctes)
            case ast.JoinExpr():
                return self._join(node, scope, ctes)
            case ast.RangeSubselect():
                outer = _seeing(scope) if node.lateral else scope.outer
                return _aliased(node, self.query(node.subquery, outer, ctes))
            case ast.RangeFunction():
                return self._functions(node, scope, ctes)
            case ast.RangeTableFunc() | ast.JsonTable():
                carried = self._below(node, _seeing(scope), ctes)
                return _aliased(node, Outputs(None, carried))
        return Item((Relation("", UNTRACED),), UNTRACED)

    def table_item(self, node: Any, ctes: Mapping[str, Outputs]) -> Item:
        """A table, view or CTE under its alias."""
        alias = node.alias.aliasname if node.alias else node.relname
        if not node.schemaname and node.relname in ctes:
            return _aliased(node, ctes[node.relname], alias)
        tables = self.tables(node)
        if not tables:
            self.seen.relations.add((node.schemaname or "", node.relname))
            return Item((Relation(alias, UNTRACED, node.schemaname or "", unknown=node.relname),), UNTRACED)
        found: Outputs | None = None
        for table in tables:
            assert self.catalog is not None
            outputs, seen = outputs_of(self.catalog, table, self.view)
            self.seen.add(seen)
            found = outputs if found is None else _either(found, outputs)
        schema = "" if node.alias else node.schemaname or tables[-1].schema
        return _aliased(node, found or UNTRACED, alias, schema)

    def tables(self, node: Any) -> tuple[Table, ...]:
        """What a RangeVar may mean."""
        return self.catalog.relations(node.schemaname or "", node.relname) if self.catalog else ()

    def _join(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Item:
        left = self._item(node.larg, scope, ctes)
        scope.items.append(left)
        right = self._item(node.rarg, scope, ctes)
        scope.items.pop()
        using = [name.sval for name in node.usingClause or ()]
        if node.isNatural:
            using = _common(left.star, right.star)
        star = _merged(left.star, right.star, using, unknown=node.isNatural and not _known(left, right))
        relations = (*left.relations, *right.relations)
        inner = Scope([Item(relations, star)], scope)
        self.compare(node.quals, inner, ctes)
        self.seen.filtered |= NOWHERE.union(*(inner.column(name)[0] for name in using)) - ANYWHERE - CALLED
        if node.join_using_alias:
            merged = star.columns[: len(using)] if star.columns is not None else None
            relations = (*relations, Relation(node.join_using_alias.aliasname, Outputs(merged, star.rest)))
        return _aliased(node, star) if node.alias else Item(relations, star)

    def _functions(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Item:
        """Functions in FROM: one scalar function is one column of the alias's name; else the columns are not known."""
        calls = [call for call, *_ in node.functions]
        carried = NOWHERE.union(*(self.carries(call, _seeing(scope), ctes) for call in calls))
        name = output_name(calls[0])[0] if calls else ""
        alias = node.alias.aliasname if node.alias else name
        return Item((Relation(alias, Outputs(None, carried)),), Outputs(None, carried))

    # --- expressions ---

    def carries(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Origins:
        """Every column that an expression's value may carry something of."""
        match node:
            case None | ast.A_Const() | ast.TypeName():
                return NOWHERE
            case ast.ParamRef():
                number = node.number or 0
                return self.parameters[number - 1] if 0 < number <= len(self.parameters) else NOWHERE
            case ast.ColumnRef():
                return self._column(node, scope)
            case ast.SubLink():
                return self._sublink(node, scope, ctes)
            case ast.SelectStmt():
                return self.query(node, scope, ctes).all
            case ast.FuncCall():
                given = self._below(node, scope, ctes)
                name = dotted(node.funcname)
                self.seen.calls.append((name, given))
                answer = answers(self.catalog, name, given)
                return answer | self.carries(node.agg_filter, scope, ctes)
            case ast.A_Expr():
                return self._operator(node, scope, ctes)
            case ast.A_Indirection():
                return self._below(node, scope, ctes) | self._notation(node.indirection)
        return self._below(node, scope, ctes)

    def compare(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> None:
        """Note what is compared, sorted or grouped by."""
        if node is not None:
            self.seen.filtered |= self.carries(node, scope, ctes) - ANYWHERE - CALLED

    def note(self, origins: Origins) -> None:
        """Note what is read."""
        self.seen.read |= origins - ANYWHERE - CALLED

    def _below(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Origins:
        return NOWHERE.union(*(self.carries(child, scope, ctes) for child in children(node)))

    def _operator(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Origins:
        given = self._below(node, scope, ctes)
        own = self.catalog.operator(dotted(node.name).rpartition(".")[2]) if self.catalog else None
        return given if own is None else given | CALLED

    def _sublink(self, node: Any, scope: Scope, ctes: Mapping[str, Outputs]) -> Origins:
        outputs = self.query(node.subselect, scope, ctes)
        tested = self.carries(node.testexpr, scope, ctes)
        return tested if node.subLinkType == enums.SubLinkType.EXISTS_SUBLINK else tested | outputs.all

    def _column(self, ref: Any, scope: Scope) -> Origins:
        names = [str(part.sval) for part in ref.fields if isinstance(part, ast.String)]
        found = self._whole(names, scope) if len(names) < len(ref.fields) else self._named(names, scope)
        self.note(found)
        return found

    def _whole(self, names: list[str], scope: Scope) -> Origins:
        relation = scope.relation(names[-1], names[-2] if len(names) > 1 else "") if names else None
        return relation.outputs.all if relation else ANYWHERE

    def _named(self, names: list[str], scope: Scope) -> Origins:
        if len(names) == 1:
            self._note_unknown(scope, names[0])
            found, sure = scope.column(names[0])
            whole = scope.relation(names[0])
            if sure or (found and whole is None):
                return found
            return found | (whole.outputs.all if whole else ANYWHERE)
        relation = scope.relation(names[-2], names[-3] if len(names) > 2 else "")
        if relation is None:
            return ANYWHERE
        if relation.unknown:
            self.seen.read.add(Origin(relation.schema, relation.unknown, names[-1]))
        column = relation.column(names[-1])
        if column is None:  # `t.f` is f(t)
            self.seen.calls.append((names[-1], relation.outputs.all))
            return answers(self.catalog, names[-1], relation.outputs.all)
        return column

    def _note_unknown(self, scope: Scope, name: str) -> None:
        """A column of the only table there is belongs to it, even when the catalog does not know the table."""
        unknown = [relation for relation in scope.relations() if relation.unknown]
        if len(unknown) == 1 and len(scope.items) == 1:
            self.seen.read.add(Origin(unknown[0].schema, unknown[0].unknown, name))

    def _notation(self, parts: Any) -> Origins:
        """`(row).name` is a column of a composite value, or name(row)."""
        names = [str(part.sval) for part in parts or () if isinstance(part, ast.String)]
        for name in names:
            found = functions_called(self.catalog, name)
            if found and not all(each.builtin for each in found):
                self.seen.calls.append((name, CALLED))
                return CALLED
        return NOWHERE


def _seeing(scope: Scope) -> Scope:
    """What LATERAL sees: a scope around, as it is now."""
    return Scope(list(scope.items), scope.outer, scope.extra)


def _aliased(node: Any, outputs: Outputs, name: str = "", schema: str = "") -> Item:
    alias = node.alias
    outputs = outputs.renamed(part.sval for part in alias.colnames or ()) if alias else outputs
    return Item((Relation(alias.aliasname if alias else name, outputs, schema),), outputs)


def _either(one: Outputs, other: Outputs) -> Outputs:
    """One of two tables of the same name: nobody knows which."""
    names = [[column.name for column in each.columns or ()] for each in (one, other)]
    return one.merged(other) if names[0] == names[1] else Outputs(None, one.all | other.all)


def _known(*items: Item) -> bool:
    return all(item.star.columns is not None for item in items)


def _common(left: Outputs, right: Outputs) -> list[str]:
    others = {column.name for column in right.columns or ()}
    return [column.name for column in left.columns or () if column.name in others]


def _merged(left: Outputs, right: Outputs, using: list[str], *, unknown: bool) -> Outputs:
    """What `*` makes of a join: the columns joined by, once, then those of either side (SQL, 7.10)."""
    both = joined((left, right))
    if both.columns is None or unknown:
        return Outputs(None, both.all)
    first = [
        Output(name, NOWHERE.union(*(column.origins for column in both.columns if column.name == name)))
        for name in using
    ]
    return Outputs((*first, *(column for column in both.columns if column.name not in using)), both.rest)
