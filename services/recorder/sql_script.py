"""Split a migration file into its statements, without being fooled by quotes or comments.

Pure counterpart of `migrate.py`. ClickHouse's lexical rules (docs: SQL reference, Syntax): strings in single
quotes, identifiers in backticks or double quotes, all with backslash escapes and doubled quotes; comments from
`--`, `# ` or `#!` to the end of the line, and `/* */`, which do not nest. Heredocs (`$tag$ … $tag$`) are strings.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<comment> --[^\n]* | \#(?:\ |!)[^\n]* | /\*.*?\*/ )
    | (?P<quoted>  '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
    | (?P<heredoc> \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<end>     ; )
    | (?P<broken>  /\* | ['`"] )
    | (?P<other>   [^-#/'`"$;]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def split_statements(script: str) -> list[str]:
    """Answer the statements of a script in order, comments and empty statements left out.

    Raises:
        ValueError: a quote or a comment is opened and never closed; the message has its line.
    """
    statements: list[str] = []
    current: list[str] = []
    for token in _TOKEN.finditer(script):
        if token.lastgroup == "broken":
            line = script.count("\n", 0, token.start()) + 1
            raise ValueError(f"line {line}: {token.group()} is never closed")
        if token["end"]:
            statements.append("".join(current))
            current = []
        else:
            current.append(" " if token["comment"] else token.group())
    statements.append("".join(current))
    return [statement.strip() for statement in statements if statement.strip()]
