"""Formation of a cluster: shards of a primary and its replicas that share the slots among them."""
