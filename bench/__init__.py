"""Measurements. Nothing here is a test: times depend on the machine, so what counts is the ratio within one run."""
