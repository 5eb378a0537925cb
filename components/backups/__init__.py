"""Backups of a deployment: taken, proven, kept, restored. No Pulumi here: it runs beside the nodes, and goes on without."""
