"""Every exporter says what it takes and what it can hold, and is refused what it does not."""

from __future__ import annotations

import pytest

from imagesmith.errors import UsageError
from imagesmith.export.writing import refuse_what_it_cannot_hold
from imagesmith.outputoptions import parse_output
from imagesmith.plugins import EXPORTERS, load
from imagesmith.request import Output

DESTS = {"oci": ",dest=x.tar", "docker": ",dest=x.tar", "local": ",dest=x", "tar": ",dest=x.tar"}

#: Values of options that not everything is a value of, and what they need beside them.
VALUES = {
    "context": ("other", ""),
    "load": ("kind:two", ""),
    "unpack": ("false", ""),
    "danging-name-empty-only": ("true", ",dangling-name-prefix=a"),
}


@pytest.mark.parametrize("kind", EXPORTERS)
def test_exporter_declares_its_options_and_what_it_holds(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    exporter = load(EXPORTERS[kind])
    assert callable(exporter.write)
    assert isinstance(exporter.HOLDS_INDEX, bool)
    for name, values in exporter.OPTIONS.items():
        value = "true" if values is bool else values[0] if isinstance(values, tuple) else "1"
        value = "estargz" if name == "compression" else value
        value, more = VALUES.get(name, (value, DESTS.get(kind, "")))
        assert parse_output(f"type={kind}{more},{name}={value}").options[name] == value
        if values is not str:
            with pytest.raises(UsageError, match=name):
                parse_output(f"type={kind}{DESTS.get(kind, '')},{name}=other")
    with pytest.raises(UsageError, match="has no option"):
        parse_output(f"type={kind}{DESTS.get(kind, '')},none-such=1")


@pytest.mark.parametrize("kind", EXPORTERS)
def test_several_images_are_refused_where_one_is_held(kind: str) -> None:
    output = Output(type=kind)
    refuse_what_it_cannot_hold(output, 1)
    if load(EXPORTERS[kind]).HOLDS_INDEX:
        refuse_what_it_cannot_hold(output, 2)
    else:
        with pytest.raises(UsageError, match="manifest lists"):
            refuse_what_it_cannot_hold(output, 2)
