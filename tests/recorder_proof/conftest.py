"""The recorder's own fixtures: one chDB engine for the whole test process."""

from tests.recorder.conftest import engine_dir, engine_dsn, open_engine, store

__all__ = ["engine_dir", "engine_dsn", "open_engine", "store"]
