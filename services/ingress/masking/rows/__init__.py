"""Rows of a PostgreSQL result: values masked in text and binary format, each still valid for its type.

fields     Field: a column of a RowDescription
types      what a type's values look like, and what may stand in for one
row        RowMasker: DataRow in, DataRow out
copying    CopyMasker: the stream of COPY … TO STDOUT
telling    NoticeMasker: the fields of errors and notices, and NOTIFY's payload
"""
