"""What text is given to the parser at all: C code that recurses must not be led beyond its stack.

libpg_query and pglast recurse along chains such as `1 - 1 - 1 - …` or `SELECT … UNION SELECT …`: some ten thousand
links end the process. Nesting by parentheses is bounded by the grammar's own stack; chains are counted here, by token,
which costs nothing to speak of. PostgreSQL itself refuses such statements (`max_stack_depth`).

And some texts take time that grows with the square of their length: comments in comments, long runs of operator
characters, names in a text with many characters beyond ASCII (pglast counts its way to each). Their bounds are such
that no text takes more than about a second.
"""

from __future__ import annotations

import re

from pglast import parser

#: Longest text that is parsed, in characters: a tree takes some hundred times its text in memory.
MAX_TEXT = 512 * 1024
#: Tokens of one text: parsing 100,000 takes half a second, in which nothing else moves.
MAX_TOKENS = 100_000
#: Links of chains that are open at one place; the stack of 8 MiB holds some ten times as many.
MAX_DEPTH = 2_000
#: Comments that are open within one another.
MAX_COMMENT_DEPTH = 100
#: Characters of one operator, or of a line drawn with such characters.
MAX_OPERATOR = 128
#: Names times characters beyond ASCII.
MAX_COUNTING = 20_000_000
#: A text as short as this cannot be deeper than that.
_SHORT = 2 * MAX_DEPTH

_COMMENT = re.compile(r"/\*|\*/")
_OPERATOR = re.compile(r"[~!@#^&|`?+\-*/%<>=]{" + str(MAX_OPERATOR + 1) + "}")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")

#: Tokens whose place pglast does not work out.
_UNPLACED = frozenset({"SCONST", "ICONST", "FCONST", "ASCII_40", "ASCII_41", "ASCII_44"})

#: What ends a chain of operators; chains of these three are flat in the tree.
_FLAT = frozenset({"ASCII_44", "AND", "OR"})
_OPEN, _CLOSE = frozenset({"ASCII_40", "ASCII_91", "CASE"}), frozenset({"ASCII_41", "ASCII_93", "END_P"})
#: Chains that a comma does not end.
_LASTING = frozenset({"UNION", "INTERSECT", "EXCEPT", "JOIN"})
#: No link of a chain: names, constants, dots.
_LEAF = frozenset({"IDENT", "ICONST", "FCONST", "SCONST", "PARAM", "ASCII_46", "SQL_COMMENT", "C_COMMENT"})


def objection(sql: str, *, standard_conforming_strings: bool) -> str:
    """Why the text is not parsed, or "" when it is. Raises pglast's errors for what is no SQL."""
    if len(sql) > MAX_TEXT:
        return f"longer than {MAX_TEXT} characters"
    if "\0" in sql:
        return "a zero byte in the text"
    if len(sql) > _SHORT and (_comment_depth(sql) > MAX_COMMENT_DEPTH or _OPERATOR.search(sql)):
        return "comments too deep, or too long a run of operator characters"
    if len(sql) > _SHORT or (not standard_conforming_strings and "\\" in sql):
        return _objection(sql, scan(sql), standard_conforming_strings=standard_conforming_strings)
    return ""


def _objection(sql: str, tokens: list[parser.Token], *, standard_conforming_strings: bool) -> str:
    if len(tokens) > MAX_TOKENS:
        return f"more than {MAX_TOKENS} tokens"
    if _deepest(tokens) > MAX_DEPTH:
        return "nested too deeply"
    if not standard_conforming_strings and _ambiguous(sql, tokens):
        return "a backslash in a string constant while standard_conforming_strings is off"
    beyond = len(sql.encode("ascii", "ignore"))
    if (len(sql) - beyond) * sum(token.name not in _UNPLACED for token in tokens) > MAX_COUNTING:
        return "too many names in a text with many characters beyond ASCII"
    return ""


def scan(sql: str) -> list[parser.Token]:
    """The tokens of a text. Characters beyond ASCII are letters to the scanner; as such they cost no counting."""
    return parser.scan(sql if sql.isascii() else _BEYOND_ASCII.sub("z", sql))


def _comment_depth(sql: str) -> int:
    """The most comments that may be open at once; what stands in constants counts, too."""
    depth = deepest = 0
    for found in _COMMENT.finditer(sql):
        depth = depth + 1 if found[0] == "/*" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _deepest(tokens: list[parser.Token]) -> int:
    """The most links that are open at once: one for each bracket, and for each token of a chain."""
    lasting, chain, below, deepest = [0], [0], 0, 0
    for token in tokens:
        name = token.name
        if name in _LEAF:
            continue
        if name in _OPEN:
            below += 1 + lasting[-1] + chain[-1]
            lasting.append(0)
            chain.append(0)
        elif name in _CLOSE and len(chain) > 1:
            lasting.pop()
            chain.pop()
            below -= 1 + lasting[-1] + chain[-1]
        elif name in _FLAT:
            chain[-1] = 0
        elif name in _LASTING:
            lasting[-1] += 1
            chain[-1] = 0
        elif name == "ASCII_59":
            lasting, chain, below = [0], [0], 0
        else:
            chain[-1] += 1
        deepest = max(deepest, below + lasting[-1] + chain[-1])
    return deepest


def _ambiguous(sql: str, tokens: list[parser.Token]) -> bool:
    """Whether a constant in plain quotes holds a backslash: with the setting off, it may end elsewhere."""
    return any(
        token.name == "SCONST" and sql[token.start] == "'" and "\\" in sql[token.start : token.end + 1]
        for token in tokens
    )
