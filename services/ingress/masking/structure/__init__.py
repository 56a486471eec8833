"""Structure-aware masking: values are found in what a reader of the document sees, and replaced so that it stays one.

How it is built, from the outside in:

    document     masker_for: media type -> a masker of a whole body or of a stream of bytes
    flow         FlowMasker: reads a document through a lexer, scans the view, edits the bytes
      view         View: the decoded text, and where each character of it stands in the document
      json_lexer   JSON: strings with their escapes undone, also JSON inside a JSON string
      markup_lexer XML and HTML: character references undone
      form_lexer   forms, query strings and paths: percent-encoding undone
      plain_lexer  text after a field's name that may tell what it is
    fields       FieldMasker: what `mask.fields` names in JSON, found by path
      json_tokens  Tokenizer: JSON, byte by byte if need be, with the path of every token
      paths        `$.customer.ssn`, `$.items[*].card`, `$..ssn`
    multipart    PartsMasker: the parts of a multipart body, each masked as what it is
    wrapped      content codings and charsets around any masker
    limits

A stream and the whole give the same bytes, however the stream is cut; where nothing is found, they are the bytes that
came. Its counterpart is `services.ingress.inspection`, which decides what is masked with what.
"""
