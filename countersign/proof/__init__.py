"""Checking the record: `countersign audit verify | prove | check-proof | key | completeness | erase`.

log.py        leaves against signed checkpoints, rows against leaves      tables.py    typed tables against events
content.py    what cannot be opened, and who had it erased                findings.py  what is told
proving.py    inclusion proofs                                            erasing.py   erasures
"""
