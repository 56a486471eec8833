"""The contracts between the services: pure pydantic, importing none of them.

`identity` who asks · `operations` what they ask · `verdicts` the answer · `events` what happened, as published ·
`approvals` and `certificates` what people decide · `policies` the policy in force · `subjects` where all of it travels.
"""
