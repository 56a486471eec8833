"""Mask what a server tells beside rows: errors and notices that quote values, and the payload of NOTIFY."""

from __future__ import annotations

from collections.abc import Mapping

from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner


class NoticeMasker:
    """For one statement's mask. Made by `Inspector.notices`."""

    def __init__(self, columns: bool, scanner: Scanner | None, replacer: Replacer) -> None:
        """`columns` says that column rules apply, so that every value a message quotes may be one of theirs."""

    def fields(self, told: Mapping[str, str]) -> dict[str, str]:
        """The fields of an ErrorResponse or NoticeResponse by their letter, masked. Raises MaskingError."""
        return {code: text if code in "SVC" else "" for code, text in told.items()}

    def payload(self, text: str) -> str:
        """The payload of a NotificationResponse, masked. Raises MaskingError."""
        return ""
