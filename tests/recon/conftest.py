import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Switch the annotation checks off, to meet the error messages that users meet."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
