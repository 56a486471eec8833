"""Slack: one of the channels that people are asked by. docs/approvers.md is the user's page.

Pure: `text` strangers' text made inert · `blocks` the message · `modal` the form · `limits` Slack's numbers.

Driven: `web` calls and their errors · `lane` order and pace per channel · `people` accounts to reviewers · `board`
posts, finds and updates messages · `questions` events of the bus to messages · `interactions` clicks to decisions ·
`socket`, `interactivity` the two ways a click arrives · `channel` all of it as a `channels.Channel`.
"""
