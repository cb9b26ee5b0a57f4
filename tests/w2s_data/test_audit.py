"""`audit`: how its settings are arranged, and what bad ones get."""

import pytest

from w2s_data import audit
from w2s_data.errors import InputError

DATA = "example:gaussian_overlap?n=200"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 3}, r"seed is a setting of the section run: pass run=\{'seed': 3\}"),
        ({"overwrite": True}, r"pass run=\{'overwrite': True\}"),
        ({"gian": {"seeds": 2}}, "there is no section 'gian'; did you mean 'gain'"),
        ({"label": "mood"}, "there is no section 'label'; valid: .*'columns'"),
        ({"gain": 3}, "gain must be a dict of settings, or False to skip it; got 3"),
    ],
)
def test_settings_outside_of_sections_are_refused_with_their_place(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        audit(DATA, output=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_stage_is_switched_on_by_true(tmp_path):
    off = dict.fromkeys(("forecast", "select", "gain", "groups", "report"), False)
    run = audit(DATA, output=tmp_path / "run", score=True, **off)
    assert [*run.manifest["stages"]] == ["items", "embed", "score"]
