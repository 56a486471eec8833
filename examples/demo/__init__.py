"""`make demo`: a real AutoGen agent works through Countersign while you watch.

`story` is what happens, in order, and what must come of it · `stage` starts and ends everything it needs ·
`agent` is the agent · `screen` prints. `python -m examples.demo` runs it.
"""
