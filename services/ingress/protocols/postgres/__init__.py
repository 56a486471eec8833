"""PostgreSQL: a server towards the agent, a client towards the database, and every statement judged in between."""
