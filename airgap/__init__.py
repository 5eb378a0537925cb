"""Puts in place what the project needs from outside: from the internet, or else from package registries.

The package imports nothing of the project and, except for the stand-in provider plugins, only the standard library:
it runs before the virtual environment exists. ``python -m airgap --help`` lists what it can do; the Makefile calls it.
"""
