"""The record, or a part of it, as files for somebody else: `countersign audit export`.

`windows` pure: pieces of a time range that an endpoint can answer · `reading` one piece after the other, with flat
memory · `parquet` pieces made one file · `hold` exact bytes of sessions for a legal hold · `command` the command.
Counterpart: services/recorder/ocsf.py says how OCSF names an operation.
"""
