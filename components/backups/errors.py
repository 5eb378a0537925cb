"""What backups and restores can fail with. No message contains a secret."""

from __future__ import annotations


class BackupError(Exception):
    """A backup could not be taken, proven or restored; the message names the backup, node or object, and what to do."""


class StoreError(BackupError):
    """The store cannot be reached, refuses, or is full."""


class AlreadyThere(StoreError):
    """An object that must not be overwritten exists."""


class Damaged(BackupError):
    """What was read back is not what was written: truncated, altered, of another deployment, or under another key."""


class SourceError(BackupError):
    """A node cannot be copied from now."""


class Refused(BackupError):
    """A restore would delete data, and nobody has said that it may."""


class TargetError(BackupError):
    """What was restored so far is not complete, as something has happened to the deployment."""
