"""Where agents connect: terminate the protocol, identify, ask for a verdict, forward, mask, record.

Protocol sessions (`protocols/<name>`) share functions, not a base class: `admission` identifies, `gate` asks for the
verdict (and is the only one to), `countersigned` checks and spends what people approved, `upstream` dials out (and is
the only one to read credentials), `emit` publishes events (and stops traffic when it cannot). `classify` and
`masking` are pure.
"""
