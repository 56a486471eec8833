"""Makes one Parquet file of several. ClickHouse reads and writes them; a process of its own, because the engine allows
one directory per process and the record's may be open here: `python -m countersign.export.parquet OUT PART…`.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from countersign.errors import CommandError, one_line

#: Rows that are in memory at once on the way from the parts to the whole.
_GROUP = 50_000


def joined(parts: Sequence[Path], output: Path) -> None:
    """Write the rows of all parts to `output`, in their order. Raises CommandError."""
    if len(parts) == 1:
        parts[0].replace(output)
        return
    command = [sys.executable, "-m", "countersign.export.parquet", str(output), *map(str, parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise CommandError(f"{output}: {one_line(done.stderr[-2000:])}")


def _join(output: str, parts: Sequence[str]) -> None:
    import chdb  # noqa: PLC0415 - only in the process that joins

    directory = Path(parts[0]).parent
    names = ",".join(Path(part).name for part in parts)
    connection = chdb.connect(":memory:")  # type: ignore[no-untyped-call]
    # One thread takes the parts as they are listed.
    connection.query(
        f"INSERT INTO FUNCTION file({_literal(output)}, 'Parquet') "  # noqa: S608 - our own paths, quoted
        f"SELECT * FROM file({_literal(f'{directory}/{{{names}}}')}, 'Parquet') "
        f"SETTINGS max_threads = 1, max_insert_threads = 1, max_block_size = {_GROUP}, "
        f"output_format_parquet_row_group_size = {_GROUP}, engine_file_truncate_on_insert = 1"
    )
    connection.close()


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


if __name__ == "__main__":
    _join(sys.argv[1], sys.argv[2:])
