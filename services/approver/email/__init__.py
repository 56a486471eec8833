"""E-mail: questions to people's mailboxes, with a link each to a page that decides. docs/approvers.md is theirs.

Pure: `shown` an approval as words · `letters` those as mails and their threads · `links` the signed address of a page ·
`form` what the page sent · `templates/` the words around.

Driven: `relay` SMTP and its errors · `events` what the bus says · `questions` that to mails, each once (`once`) and in
order (`turns`) · `page` the page that decides · `channel` all of it as a `channels.Channel`.
"""
