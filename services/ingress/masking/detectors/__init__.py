"""Every built-in detector, one module per family. `CATALOGUE` is what a scanner picks from."""

from __future__ import annotations

from services.ingress.masking.detectors import assignments, financial, national, personal, secrets
from services.ingress.masking.detectors.detector import STEP_BACK_LIMIT, Detector

CATALOGUE: tuple[Detector, ...] = (
    *secrets.DETECTORS,
    *assignments.DETECTORS,
    *financial.DETECTORS,
    *national.DETECTORS,
    *personal.DETECTORS,
)

__all__ = ["CATALOGUE", "STEP_BACK_LIMIT", "Detector"]
