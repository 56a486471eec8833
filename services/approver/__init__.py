"""Puts the questions of policy to people, and their answers on the bus, signed (architecture, section 1, step 3).

Pure: `record` what is stored · `pending` the state machine · `eligibility` who may · `binding` what an approval
covers · `announcement` the events of a decision · `views` what the API shows · `slack/blocks`, `slack/text` a message.

Driven: `store` the bucket, by compare-and-set · `watching` what is open · `desk` a decision from click to bus ·
`announcer` publishes it · `sweeper` makes good what a crash left · `on_requested`, `on_withdrawn`, `on_query` the
subscribers · `channels` what Slack and its like have in common · `metrics` · `__main__`.
"""
