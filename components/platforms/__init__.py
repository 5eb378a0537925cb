"""Platforms: where nodes run."""
