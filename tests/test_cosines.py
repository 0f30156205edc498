from __future__ import annotations

import pytest
import torch

from hfscan.cosines import cosines


@pytest.mark.parametrize("edge", [1, 2, 8, 33])
def test_the_basis_is_orthonormal_and_ordered(edge: int) -> None:
    basis = cosines(edge)
    assert torch.allclose(basis @ basis.T, torch.eye(edge), atol=1e-5)
    changes = (basis.sign().diff(dim=1) != 0).sum(1)
    assert changes.tolist() == list(range(edge))
