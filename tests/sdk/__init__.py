"""Unmodified SDKs and an agent framework through the gateway."""
