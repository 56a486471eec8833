"""The command `countersign`: run an instance, mint tokens, decide approvals, read and replay the record, test policies.

`__main__` finds the command and turns errors into one line · one module per command group: `up`, `token`,
`approvals`, `audit`, `policy` (with `policy_file`) · `where` says which instance a command means, `http` asks it,
`record` reads what it recorded (`audit_store` when it is stopped) for `audit`, `sessions`, `replay/` and `export/`.

Behind `up`: `instance` the order of starting and stopping · `supervisor` one child process kept alive · `services`
how a service is started and asked whether it is ready, `output` what it logs · `environment` what each may see ·
`guardian` ends the children when the supervisor is killed · `lock` one instance per data directory · `watch` re-applies
the policy file · `endpoints` what is written down and printed.
"""
