"""E-mail: questions to people's mailboxes, with a link each to a page that decides. docs/approvers.md is theirs.

Pure: `shown` an approval as words · `letters` those as mails and their threads · `links` the signed address of a page ·
`form` what the page sent · `templates/` the words around.

Driven: `relay` SMTP and its errors · `questions` events of the bus to mails, each once (`approver.once`) · `page` the
page that decides · `channel` all of it as a `channels.Channel`.
"""
