"""Every finished operation to whoever else must have it (a SIEM), as it is recorded: `audit.deliver`.

Read from ClickHouse behind what is stored, never from the stream: a receiver that is away for a week holds up neither
recording nor the stream's trimming, and gets the week when it is back. At least once, in the order of the stream; the
place each receiver has reached is kept in the bucket `recorder`, moved by compare-and-set, and only the copy that
records delivers.

`messages`, `syslog_format` pure · `place` where a receiver is · `reading` what it gets next · `webhook`, `syslog` how ·
`deliverer` the loop · `metrics`, `start`.
"""
