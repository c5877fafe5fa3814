"""What all tests of the runtime share."""

import pytest

from faramesh_mesh.gossip import readiness


@pytest.fixture(autouse=True)
def _alone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh of one listens for two seconds before it permits (`tests/gossip/test_readiness.py`); a hundred tests here start one, and wait for
    other things. Processes of their own still listen."""
    monkeypatch.setattr(readiness, "LISTEN", 0)
