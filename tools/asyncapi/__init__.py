"""`docs/asyncapi.yaml` from the code (AsyncAPI 3.0): for whoever taps the bus or adds a service of their own.

`channels` what travels where and who publishes it · `listeners` who hears it, read from FastStream's brokers ·
`contracts` the messages' JSON Schemas, with the words that stand in schemas/*.py · `document` all of it put together.
"""
