"""The largest message of each kind (G10), in bytes of its length field. What one session holds is bounded by these."""

#: PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
STARTUP = 10_000
#: PostgreSQL's PQ_SMALL_MESSAGE_LIMIT: names, counts and acknowledgements.
SMALL = 10_000
#: PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH; a token with many groups needs a few KiB.
PASSWORD = 65_535
#: One query string. It is parsed, inspected and put into an event as a whole; at this size that takes about a second.
STATEMENT = 1024**2
#: Values of one Bind or FunctionCall; held whole, since they are judged and recorded before any is sent.
VALUES = 16 * 1024**2
#: One CopyData of a client. Clients send 8 to 512 KiB at once; the stream itself has no limit.
COPY_DATA = 16 * 1024**2
#: An error, notice, notification or function result; errors may repeat a whole statement or row.
REPORT = 16 * 1024**2
#: 1,600 columns with names of 63 bytes take 130 KiB.
DESCRIPTION = 1024**2
#: PostgreSQL's own limit for one row or piece of COPY.
BULK = 2**30
#: A run ends after about so many bytes, so that masking one (20 to 40 us a row) does not keep other sessions waiting.
RUN = 32 * 1024
#: From this size on a row is passed in pieces instead of being held.
PIECE = 256 * 1024
