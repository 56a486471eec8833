"""The verifier keys of the logs: as given, or as the recorder left them in the data directory."""

from pathlib import Path
from typing import Final

from countersign.errors import CommandError, Misuse
from countersign.where import data_dir
from services.recorder.proof.note import BadNote, VerifierKey

#: Written by the recorder when it starts; public. Compare it with a copy kept elsewhere: see docs/proof.md.
FILE: Final = "log.vkey"


def verifier_keys(given: list[str] | None, data: Path | None) -> list[VerifierKey]:
    """Raises Misuse, CommandError."""
    try:
        if given:
            return [VerifierKey.parse(text) for text in given]
        path = data_dir(data).root / "keys" / FILE
        return [VerifierKey.parse(line) for line in path.read_text().splitlines() if line]
    except BadNote as error:
        raise Misuse(f"--vkey: {error}") from None
    except OSError:
        raise CommandError(
            "there is no verifier key here: give --vkey, as `countersign audit key` prints it where the recorder runs"
        ) from None
