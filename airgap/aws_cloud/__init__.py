"""A look-alike of AWS on one machine: moto's server, with containers as its instances."""
