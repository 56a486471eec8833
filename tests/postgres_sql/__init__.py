"""SQL judged and masked: the classifier, lineage and row masker by themselves and against a real server."""
