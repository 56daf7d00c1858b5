"""The probe takes, for each family, the fastest path that gives plain logits."""

import pytest
from tiny import FAMILIES, tiny_model

from tenfold.base.model import Base
from tenfold.base.probe import probe

EXPECTED = {"gpt_neo": "padded", "bloom": "padded"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_fastest_exact_path_is_taken(family):
    way = probe(Base(tiny_model(family), None, family, ""))
    assert way.path == EXPECTED.get(family, "shared")
    assert way.error < 1e-5
