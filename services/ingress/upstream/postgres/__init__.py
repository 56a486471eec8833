"""PostgreSQL upstreams: where they are and how to get in, as libpq does it.

`database` one connector's upstream · `dial` TCP, Unix sockets, TLS by `sslmode` · `login` the conversation before the
first query, without I/O · `connection` what a session holds.
"""
