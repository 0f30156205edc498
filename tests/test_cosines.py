from __future__ import annotations

import pytest
import torch

from hfscan.cosines import cosines, slow_waves


@pytest.mark.parametrize("edge", [1, 2, 8, 33])
def test_the_basis_is_orthonormal_and_ordered(edge: int) -> None:
    basis = cosines(edge)
    assert torch.allclose(basis @ basis.T, torch.eye(edge), atol=1e-5)
    changes = (basis.sign().diff(dim=1) != 0).sum(1)
    assert changes.tolist() == list(range(edge))


def test_slow_waves() -> None:
    heights = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    pixels = slow_waves(heights, (8, 12))
    assert pixels.shape == (2, 3, 8, 12)
    spectrum = cosines(8) @ pixels @ cosines(12).T
    assert torch.allclose(spectrum[..., :4, :5], heights, atol=1e-5)
    assert torch.allclose(pixels.norm(), heights.norm())
    assert torch.allclose(spectrum.norm(), heights.norm())  # there is nothing else
