"""Masking what models stream: server-sent events whose deltas cut words, numbers and keys in two.

How it is built, from the outside in:

    masker      EventStreamMasker: bytes in, masked bytes out
    channel     Channel: one text that is streamed in deltas, with what it holds back
    shapes      whose event is it, and which texts does it carry on, end, or repeat
      chat        OpenAI Chat Completions and everything compatible
      responses   OpenAI Responses
      messages    Anthropic Messages
      gemini      Google generateContent
      ollama      Ollama's own API
      generic     OpenAI's other APIs, and any `….delta`
    splice      change some values of a JSON text and no other byte of it
    reassemble  the whole answer from the deltas, for the record
    sse         Framing, Lines: bytes to events
    limits

Every text is masked as one, across events, per choice and per field; an event in which nothing changes passes byte
by byte. Its counterpart for other bodies is `structure`.
"""
