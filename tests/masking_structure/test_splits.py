"""Every value of every detector, cut at every place over two deltas and at many over three, in every provider's shape:
the client never gets the value, and gets all other text as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress.masking import ENTITIES, Replacer, mask_text
from services.ingress.masking.structure.flow import mask_document
from services.ingress.masking.structure.json_lexer import JsonLexer
from services.ingress.masking.structure.telling import teller
from tests.masking.corpus import Sample, positives
from tests.masking_structure.streams import DOCUMENTS, SCANNER, TEXTS, Shape, masked

#: Two samples of each detector that the detector finds when the text is whole.
_WANTED = 2
#: Longer ones (keys in PEM, JWTs) are cut at every place in one shape of each sort, at every seventeenth in the others.
_LONG = 150


def _masked_text(text: str) -> str:
    return mask_text(text, SCANNER, Replacer())[0]


def _masked_json(text: str) -> str:
    return mask_document(text.encode(), JsonLexer(teller(SCANNER, b'"')), SCANNER, Replacer())[0].decode()


def _samples(entity: str) -> list[Sample]:
    found = [sample for sample in positives(entity, 60) if sample.value not in _masked_text(sample.text)]
    # A text that is JSON itself is masked as such: the documents' tests are about those.
    found = [sample for sample in found if not sample.text.lstrip().startswith("{")]
    return sorted(found, key=lambda sample: len(sample.text))[:_WANTED]


def _places(text: str, every: bool) -> range:
    return range(0, len(text) + 1, 1 if every or len(text) < _LONG else 17)


def _every_letter_escaped(text: str) -> str:
    return json.dumps({"to": "me", "text": "@"}).replace("@", "".join(f"\\u{ord(char):04x}" for char in text))


@pytest.mark.parametrize("shape", TEXTS, ids=lambda shape: shape.name)
@pytest.mark.parametrize("entity", ENTITIES)
def test_text_at_every_split_over_two_deltas(entity: str, shape: Shape) -> None:
    samples = _samples(entity)
    assert samples, "the corpus has no value that is found"
    for sample in samples:
        expected = _masked_text(sample.text)
        for at in _places(sample.text, shape is TEXTS[0]):
            stream = masked(shape.write([sample.text[:at], sample.text[at:]]))
            assert shape.read(stream) == expected
            assert sample.value.encode() not in stream


@pytest.mark.parametrize("shape", DOCUMENTS, ids=lambda shape: shape.name)
@pytest.mark.parametrize("escaped", [False, True], ids=["plain", "escaped"])
@pytest.mark.parametrize("entity", ENTITIES)
def test_arguments_at_every_split_over_two_deltas(entity: str, escaped: bool, shape: Shape) -> None:
    sample = next(
        (s for s in _samples(entity) if s.value not in json.loads(_masked_json(json.dumps([s.text])))[0]), None
    )
    assert sample, "the corpus has no value that is found"
    text = _every_letter_escaped(sample.text) if escaped else json.dumps({"to": "me", "text": sample.text})
    expected = json.loads(_masked_json(text))
    assert sample.value not in expected["text"]
    assert expected["to"] == "me"
    for at in _places(text, shape is DOCUMENTS[0]):
        stream = masked(shape.write([text[:at], text[at:]]))
        assert json.loads(shape.read(stream)) == expected
        assert sample.value.encode() not in stream


@pytest.mark.parametrize("shape", [*TEXTS[:3], DOCUMENTS[0]], ids=lambda shape: shape.name)
@pytest.mark.parametrize("entity", ENTITIES)
def test_three_deltas_around_the_value(entity: str, shape: Shape) -> None:
    """Cuts at the value's edges, its middle, and one character inside either end."""
    sample = _samples(entity)[0]
    text, expected = sample.text, _masked_text(sample.text)
    if shape in DOCUMENTS:
        text = json.dumps({"text": sample.text})
        expected = _masked_json(text)
    start = len(text) - len(sample.value) - 3 if (start := text.find(sample.value)) < 0 else start
    end = min(len(text), start + len(sample.value))
    places = sorted({0, start, start + 1, (start + end) // 2, end - 1, end, len(text)})
    for first in places:
        for second in places:
            if first <= second:
                stream = masked(shape.write([text[:first], text[first:second], text[second:]]))
                assert shape.read(stream) == expected


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_cuts_into_deltas_and_reads(data: st.DataObject) -> None:
    entity = data.draw(st.sampled_from(ENTITIES))
    text = " and ".join(sample.text for sample in _samples(entity))
    shape = data.draw(st.sampled_from(TEXTS))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    stream = shape.write(parts)
    reads = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    out = masked(stream, reads)
    assert out == masked(stream)
    assert shape.read(out) == _masked_text(text)
