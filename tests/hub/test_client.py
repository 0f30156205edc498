from __future__ import annotations

import pytest
from huggingface_hub import HfApi
from loopback_hub import LoopbackHub

from hfscan.errors import HubError
from hfscan.hub.client import hub_errors


def test_a_token_that_is_none(hub: LoopbackHub) -> None:
    """As from HF_TOKEN, which the client takes by itself."""
    no_token = pytest.raises(HubError, match="the token of the Hub has characters")
    with no_token as caught, hub_errors("me/net"):
        HfApi(hub.endpoint, token="hf_sécret").whoami()
    assert "cret" not in str(caught.value) + caught.value.hint
