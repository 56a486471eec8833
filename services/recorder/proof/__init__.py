"""What makes the record provable: a Merkle tree over its events, signed heads, proofs. Pure.

leaf.py     what an event commits to        merkle.py    the tree (RFC 6962), its growth and its proofs
note.py     signed checkpoints (C2SP)       bundle.py    proofs as a file that is checked without us
retyping.py what every other table must hold, made again from the same bytes
"""
