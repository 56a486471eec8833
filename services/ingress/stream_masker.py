"""Maskers of streams as the protocols see them: bytes in, bytes out, and errors in the words for the agent."""

from collections.abc import Callable
from typing import Protocol

from services.ingress.errors import GatewayError
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.structure.wrapped import Masker


class ReplyMasker(Protocol):
    """Masks a reply's body as it streams by; what comes out has no content coding."""

    @property
    def counts(self) -> dict[str, int]:
        """Replaced so far, by entity."""

    def feed(self, data: bytes) -> bytes:
        """What may pass now. Raises GatewayError when nothing more may."""

    def close(self) -> bytes:
        """The rest, once the upstream has ended its reply; not to be called when it broke off."""

    def take_pairs(self) -> dict[str, str]:
        """Placeholder to value, for those in what passed since the last call: to be stored before that goes out."""


class Telling:
    """A masker whose errors are told to the agent as `tell` says."""

    def __init__(self, masker: Masker, replacer: Replacer, tell: Callable[[MaskingError], GatewayError]) -> None:
        self._masker = masker
        self._replacer = replacer
        self._tell = tell

    @property
    def counts(self) -> dict[str, int]:
        return self._masker.counts

    def feed(self, data: bytes) -> bytes:
        try:
            return self._masker.feed(data)
        except MaskingError as error:
            raise self._tell(error) from error

    def close(self) -> bytes:
        try:
            return self._masker.close()
        except MaskingError as error:
            raise self._tell(error) from error

    def take_pairs(self) -> dict[str, str]:
        return self._replacer.take_pairs()
