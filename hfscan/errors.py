"""The error tree of hfscan: every error that a user can cause or meet is one of these.

Each message is one line that contains the offending value; ``hint`` says what to do about it.
The command line prints both and exits with code 2 (4 for `UsageError`).
"""

from __future__ import annotations


class HfscanError(Exception):
    """Base class of all errors raised on purpose by hfscan.

    Args:
        message: One line, with the offending value.
        hint: What the user can do about it, or an empty string.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(HfscanError):
    """An argument or a combination of arguments makes no sense."""


class HubError(HfscanError):
    """The Hub could not be reached, or refused, or does not have what was asked for."""


class ModelError(HfscanError):
    """A model's files cannot be turned into the network that its author meant."""


class UnsupportedModelError(ModelError):
    """The model is of a kind that hfscan does not audit; nothing is wrong with it."""


class UnsafeWeightsError(ModelError):
    """The weights are in a format that can run code, and more than tensors are in them."""


class PickleRefusedError(UnsafeWeightsError):
    """The weights are in a format that can run code, and reading it was not allowed."""


class DataError(HfscanError):
    """The clean images cannot be read, or do not fit the model."""


class AuditError(HfscanError):
    """The audit, or a repair that builds on it, cannot go on."""


class RepairError(HfscanError):
    """The repaired model is not good enough to be written, or cannot be written."""
