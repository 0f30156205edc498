"""Whether the Hub can be reached from here, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_session, get_token
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

SECONDS = 3.0
"""How long the Hub may take to answer."""


@dataclass(frozen=True)
class HubState:
    """What the Hub's client has to work with.

    Args:
        endpoint: Its address.
        problem: Why it cannot be reached; empty if it answers.
        offline: Whether the client was told not to try (``HF_HUB_OFFLINE``).
        token: Whether there is a token, saved or in the environment; it is not used here.
        cache: Where downloads are kept.
    """

    endpoint: str
    problem: str
    offline: bool
    token: bool
    cache: Path


def hub_state(seconds: float = SECONDS) -> HubState:
    """Ask the Hub for a sign of life.

    Args:
        seconds: How long to wait for it.
    """
    return HubState(
        constants.ENDPOINT,
        _problem(seconds),
        bool(constants.HF_HUB_OFFLINE),
        get_token() is not None,
        Path(constants.HF_HUB_CACHE),
    )


def _problem(seconds: float) -> str:
    try:
        get_session().head(constants.ENDPOINT, timeout=seconds)
    except OfflineModeIsEnabled:
        return "the client is offline (HF_HUB_OFFLINE)"
    except HTTPError as error:
        return f"{type(error).__name__}: {error}"
    except (OSError, ValueError, TypeError) as error:  # of an address that is none
        return f"{type(error).__name__}: {error}"
    return ""
