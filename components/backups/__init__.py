"""Backups of a deployment: taken, proven, kept, restored. It runs beside the nodes, without Pulumi."""
