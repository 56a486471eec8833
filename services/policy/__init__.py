"""Judges every attempt: rules in YAML with CEL conditions in, a verdict out.

Pure: `vocabulary` what a condition may name · `tokens`, `expression` a condition, checked and compiled · `position`
where in the file a condition's error stands · `effects`, `rules` the policy file · `canonical` its version · `facts`
an attempt as CEL variables · `grants` time-boxed approvals · `obligations`, `evaluate` the verdict.

Driven: `watch`, `store` the policy and grants in force · `metrics` · `on_attempt` the handler ·
`listen` its subscription · `__main__`.
For the command line: `check`, `cases`, `apply`.
"""
