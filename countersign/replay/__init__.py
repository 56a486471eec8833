"""A recorded session to look at again: in the terminal, or as one page for a browser.

Pure: `moments` rows of the record as what happened when · `content` recorded bytes as text, tables or a terminal ·
`llm` what a model said, out of its JSON or its stream · `visible` control characters made visible · `pace` how long to
wait between two moments · `page` the HTML. Driven: `reading` asks the record · `terminal` prints · `command` is
`countersign replay`. `page/` holds the page's template, style and script, `vendor/` the terminal's player.
"""
