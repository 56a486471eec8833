"""The only package that dials out and reads credentials (G3); a module for each protocol.

A credential is revealed when it is put in its place, and taken out of whatever the upstream says back.
"""
