"""The named bounds of structure-aware masking, each with its reason (G10)."""

#: Longest number or literal that is replaced as a JSON value: held back to its end, so that no half of one gets out.
#: Real numbers have at most some hundred digits.
WORD_LIMIT = 1024

#: How much text before a string's opening quote is looked at for a key that tells what the string is.
OPENING_LIMIT = 160

#: How many such keys one masker remembers the answer for; an object with more keys asks again.
TOLD_KEYS_LIMIT = 1024

#: Deepest nesting of JSON whose paths are followed for `mask.fields`; deeper documents are refused.
DEPTH_LIMIT = 512

#: Longest key that is compared with `mask.fields`; longer documents' keys are refused.
KEY_LIMIT = 16 * 1024

#: Longest value of a field that is kept for its hash or token; longer ones become a label.
FIELD_VALUE_LIMIT = 16 * 1024

#: Most parts of a multipart body.
PARTS_LIMIT = 1024

#: Largest head of one of its parts, and what surrounds a delimiter: held until it is whole.
PART_HEAD_LIMIT = 16 * 1024

#: Largest output of one encoded chunk: what a compression bomb can make us hold.
INFLATE_LIMIT = 32 * 1024 * 1024
