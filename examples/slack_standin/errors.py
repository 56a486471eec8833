"""How the stand-in says no: to a program as a Web API error, to a person as something not on the screen."""

from collections.abc import Sequence


class SlackError(Exception):
    """An `{"ok": false}` answer: its code, the lines of `response_metadata.messages`, and for 429 the wait."""

    def __init__(self, code: str, messages: Sequence[str] = (), *, retry_after: float | None = None) -> None:
        super().__init__(code, *messages)
        self.code = code
        self.messages = list(messages)
        self.retry_after = retry_after


class NotOnScreen(LookupError):
    """A person cannot do this: the button, message or form is not in front of them."""
