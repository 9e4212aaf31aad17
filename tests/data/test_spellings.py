"""Values that differ in form only."""

import pandas as pd
import pytest

from src.data.spellings import plain_form, unify_spellings


def test_what_one_form_is() -> None:
    for same in (["1", "01", "1.0", "1.", "001.00", " 1 "], ["Benign", "benign", "BENIGN "], ["in situ", "In  Situ"]):
        assert len(set(map(plain_form, same))) == 1
    apart = ["1", "-1", "10", "1.5", "p1", "p01", "ER+", "ER-", "ER", "a", "b", "a b", "0", ""]
    assert len(set(map(plain_form, apart))) == len(apart)


def test_such_values_are_one_or_several_or_refused() -> None:
    values = pd.Series(["1.0", "01", "1", "1", "2", ""])
    assert unify_spellings(values, "patients", "unite", "it").tolist() == ["1", "1", "1", "1", "2", ""]
    assert unify_spellings(values, "patients", "unite", "it", ["01"]).tolist() == ["01", "01", "01", "01", "2", ""]
    assert unify_spellings(values, "patients", "keep", "it").tolist() == values.tolist()
    assert unify_spellings(values[3:], "patients", "fail", "it").tolist() == values[3:].tolist()
    said = r"patients differ .*, but it has '01' \(1\) and '1', '1\.0' \(1\) and '1': .*data\.spellings=unite.*=keep"
    with pytest.raises(ValueError, match=said):
        unify_spellings(values, "patients", "fail", "it")
    with pytest.raises(ValueError, match="`spellings` must be one of fail, unite, keep"):
        unify_spellings(values, "patients", "both", "it")
