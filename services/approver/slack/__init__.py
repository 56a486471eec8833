"""Slack: one of the channels that people are asked by. docs/approvers.md is the user's page.

Pure: `text` strangers' text made inert · `words` times and states · `kit` Block Kit · `shape` what requests have in
common · `sheet` one message and what hangs on it · `gathering` which sheet a request joins · `blocks`, `gathered` the
question · `notices` what is told beside it · `rendering` all of it, as it should be · `modal`, `review` the forms ·
`limits` Slack's numbers.

Driven: `web` calls and their errors · `lane` their pace · `board` posts, finds and updates messages · `people`
accounts to reviewers and back · `mirror` a bucket in memory · `ledger` what is not shown yet · `lease` one copy per
lane · `clerk` which call is next · `courier` makes it, once · `decisions`, `interactions` clicks to the desk ·
`socket`, `interactivity` the two ways a click arrives · `channel` all of it as a `channels.Channel`.
"""
