"""A Pulumi CLI: the user's own, else the vendor's release, else one built from the Go module proxy.

``cli/`` and ``language_host/`` pin by go.mod and go.sum what is built.
"""
