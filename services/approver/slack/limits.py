"""Slack's limits that we keep (docs.slack.dev: Block Kit reference, rate limits, handling user interaction)."""

#: Characters of a section's or context element's text; of one field; of a header; of a button.
SECTION, FIELD, HEADER, BUTTON = 3000, 2000, 150, 75
#: Texts in one context block.
CONTEXT = 10
#: Characters of a confirmation's text.
CONFIRM = 300
#: Blocks in a message.
BLOCKS = 50
#: Characters of all text in a message's blocks together (`msg_blocks_too_long`; named in slackapi/bolt-js#2509).
MESSAGE = 12_000
#: Characters of `text`, the notification, in chat.update.
TEXT = 4000
#: Characters of a reason typed into the modal: the contract's limit (schemas/approvals.py).
REASON = 2000

#: Seconds within which an interaction must be acked.
ACK = 3.0
#: What we take of those for our own work; the rest is the way back.
WORK = 2.5
#: Messages to one channel: one a second in the long run, and how many may go out at once after a quiet spell.
BURST = 3
#: Messages to the whole workspace: "several hundred a minute"; in units of a channel's pace.
WORKSPACE, WORKSPACE_BURST = 0.2, 10
#: chat.update is in tier 3: 50 a minute over all channels; in the same unit.
UPDATES, UPDATES_BURST = 1.2, 5
