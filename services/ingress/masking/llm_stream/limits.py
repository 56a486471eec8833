"""The named bounds of masking model streams, each with its reason (G10)."""

#: Largest event. The last event of a Responses stream repeats the whole answer, pictures included.
EVENT_LIMIT = 32 * 1024 * 1024

#: Most texts that one stream carries side by side: choices, blocks, tool calls.
CHANNELS_LIMIT = 4096

#: How many event skeletons (events without their text) are remembered to be clean; most events share one.
SKELETONS_LIMIT = 64
#: Longer skeletons are not remembered: they do not come twice.
SKELETON_SIZE = 4096

#: How much may precede the first event with data in a stream that is not declared as one: comments that keep a
#: connection open while a model thinks.
PREAMBLE_LIMIT = 16 * 1024

#: Largest event that the record looks into: smaller than what passes, for every stream that is recorded may hold one.
RECORDED_EVENT_LIMIT = 4 * 1024 * 1024

#: Longest fact about an answer that is recorded (its model, usage or error), in bytes of JSON.
FACT_LIMIT = 16 * 1024
