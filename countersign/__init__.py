"""The command `countersign`: run an embedded instance, mint tokens, decide approvals, read the audit, test policies.

`__main__` finds the command and turns errors into one line · one module per command group: `up`, `token`,
`approvals`, `audit`, `policy` (with `policy_file`) · `where` says which instance a command means, `http` asks it,
`record` reads what it recorded (`audit_store` when it is stopped).

Behind `up`: `instance` the order of starting and stopping · `supervisor` one child process kept alive · `services`
how a service is started and asked whether it is ready, `output` what it logs · `environment` what each may see ·
`guardian` ends the children when the supervisor is killed · `lock` one instance per data directory · `watch` re-applies
the policy file · `endpoints` what is written down and printed.
"""
