"""The Hub's client, with its errors turned into ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.utils import disable_progress_bars

from hfscan.errors import HfscanError, HubError
from hfscan.hub.reference import is_there


def quiet_hub(*, bars: bool) -> None:
    """No messages of the client on stderr, and no bars unless they are wanted."""
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    if not bars and constants.HF_HUB_DISABLE_PROGRESS_BARS is None:  # else the user has decided
        disable_progress_bars()


def hub_cache() -> Path:
    """Where the client keeps what it downloads."""
    return Path(constants.HF_HUB_CACHE)


def hub_api(token: str | None = None) -> HfApi:
    """A client that says who it is; without a token, the saved one is used."""
    return HfApi(token=token, library_name="hfscan", library_version=version("hfscan"))


@contextmanager
def hub_errors(repository: str, revision: str | None = None) -> Iterator[None]:
    """Turn the client's errors into a `HubError` with one line and a hint."""
    try:
        yield
    except HfscanError:
        raise
    except GatedRepoError as error:
        raise HubError(
            f"{repository} is gated and you have no access to it",
            f"accept its conditions at {constants.ENDPOINT}/{repository}, "
            "then hf auth login or --token",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(f"{repository} was not found on the Hub", _not_found(repository)) from error
    except RevisionNotFoundError as error:
        raise HubError(
            f"{repository} has no revision {revision}", "use a branch, a tag or a full commit sha"
        ) from error
    except LocalTokenNotFoundError as error:
        raise HubError(
            "this needs a token of the Hub, there is none", "hf auth login, or pass --token"
        ) from error
    except OIDCError as error:
        raise HubError(
            f"the Trusted Publisher's token cannot be had: {' '.join(str(error).split())}",
            "the job needs permissions: id-token: write; or unset HF_OIDC_RESOURCE",
        ) from error
    except HfHubHTTPError as error:
        raise _http_error(repository, error) from error
    except UnicodeEncodeError as error:  # of a header
        raise HubError(
            "the token of the Hub has characters that no token has",
            "copy it again: hf auth login, HF_TOKEN or --token",
        ) from error
    except ValueError as error:  # of names and of the card's metadata
        raise HubError(
            " ".join(str(error).split()), f"check the name and the card of {repository}"
        ) from error
    except (
        OfflineModeIsEnabled,
        RevisionResolutionError,
        LocalEntryNotFoundError,
        HTTPError,
        ConnectionError,
    ) as error:
        raise _unreachable(repository) from error
    except OSError as error:
        raise HubError(
            f"{repository} cannot be stored: {error.strerror or error}",
            "free some space or choose another --cache-dir",
        ) from error


def _http_error(repository: str, error: HfHubHTTPError) -> HubError:
    status = error.response.status_code
    hints = {
        401: "hf auth login, or pass --token",
        403: "the token has no right to do this; use one with write access",
        412: "the repository has changed since the audit; audit it again",
    }
    return HubError(
        f"the Hub answered {status} for {repository}", hints.get(status, "try again later")
    )


def _unreachable(repository: str) -> HubError:
    also = _folder_of_that_name(repository)
    if constants.HF_HUB_OFFLINE:
        return HubError(
            f"{repository} is not in the cache", f"unset HF_HUB_OFFLINE to download it{also}"
        )
    return HubError(
        f"the Hub ({constants.ENDPOINT}) cannot be reached for {repository}",
        f"check the network; HF_HUB_OFFLINE=1 takes what was downloaded before, however old{also}",
    )


def _not_found(repository: str) -> str:
    hint = "check the name; for a private repository: hf auth login, or --token"
    return hint + _folder_of_that_name(repository)


def _folder_of_that_name(repository: str) -> str:
    """More of a hint, where a folder may have been meant."""
    folder = repository.removeprefix("datasets/")
    return f"; for the folder of that name write ./{folder}" if is_there(folder) else ""
