"""What every service shares, and nothing that only one needs.

`service` starts and ends a process · `settings` countersign.yaml · `data_dir` the embedded instance's files ·
`nats` the bus · `identity` tokens to identities · `keys`, `certificates` what people sign · `tasks` background work ·
`admin` health and metrics · `logs`, `telemetry` what operators see.
"""
