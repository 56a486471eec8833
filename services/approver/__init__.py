"""Puts the questions of policy to people, and their answers on the bus, signed (architecture, section 1, step 3).

Pure: `record` what is stored · `pending` the state machine · `eligibility` who may, `needed` who is still needed ·
`timing` when people are reminded and others asked · `binding` what an approval covers, `scope` a grant in words ·
`announcement` the events of a decision · `views` what the API shows · `inert` text of strangers.

Driven: `store` the bucket, by compare-and-set · `following` a bucket in memory, `watching` what still needs something,
`granted` the grants in force · `desk` a decision from click to bus · `announcer` publishes it · `notifier` has channels
call people · `sweeper` makes good what time or a crash left · `on_requested`, `on_ingress`, `on_query` the subscribers,
by `delivery` · `channels` what `slack`, `email` and `webhook` have in common, `configured` which of them are in use.
"""
