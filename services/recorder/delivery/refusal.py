"""Why a receiver has not taken a batch. It is sent again, until it is taken."""


class NotTaken(Exception):
    """`wait` is how many seconds the receiver asked for; `too_large` asks for fewer operations at once."""

    def __init__(self, reason: str, *, too_large: bool = False, wait: float | None = None, lost: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large
        self.wait = wait
        #: The connection broke: what was sent over it last may not have arrived either.
        self.lost = lost
