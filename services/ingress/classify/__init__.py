"""Protocol message to Operation, pure: `http` for any request, `llm` for model providers' APIs, `digest` for the
keyed digest that approvals bind to."""
