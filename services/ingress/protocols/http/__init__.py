"""HTTP through the gateway: `http://gateway/<connector>/<upstream path>`.

`target` and `headers` are pure (what may be asked, what is passed on) · `connection` is aiohttp's server protocol with
our limits · `exchange` drives one request from admission to outcome · `replies` are the gateway's own answers ·
`pages` are the routes below `/-/` · `websocket` relays after an upgrade.
"""
