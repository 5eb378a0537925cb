"""Measurements beside the same thing made by hand: ``python -m bench.deploy``, ``python -m bench.failover``."""
