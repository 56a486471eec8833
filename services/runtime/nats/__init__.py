"""The bus: who may say what on it, how its server is configured and started, and how a service connects.

`permissions` roles and their subjects (pure) · `config` the server's configuration file (pure) · `server` the
embedded server process · `provision` streams and buckets · `client` plain nats-py connections · `broker` and
`bus_metrics` FastStream's.
"""
