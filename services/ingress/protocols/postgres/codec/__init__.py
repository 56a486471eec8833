"""PostgreSQL's frontend/backend protocol, 3.0 and 3.2, without I/O (PostgreSQL documentation, "Message Formats").

| module | what |
|---|---|
| `framing` | bytes in, whole messages out; bulk data as runs and pieces |
| `frontend` | what clients say, and what the gateway says to a server |
| `backend` | what servers say, and what the gateway says to a client |
| `startup` | the packets before the first message |
| `limits` | the largest message of each kind |
| `values` | integers and strings within a message |

All text is `bytes` in the session's `client_encoding`; only the names of settings are decoded.
"""
