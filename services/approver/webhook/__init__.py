"""Webhooks: questions as signed POSTs to receivers of the settings, and decisions back by a signed callback.

Pure: `signature` Standard Webhooks 1.0 (standardwebhooks.com) · `payload` what is posted, and what comes back.

Driven: `sender` one POST and what its answer means · `questions` events of the bus to POSTs, each once · `events` their
consumers · `callback` decisions that come back · `channel` all of it as a `channels.Channel`.
"""
