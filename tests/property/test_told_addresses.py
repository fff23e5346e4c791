"""Addresses as they are told: whatever stands in a query or a fragment, none of its words is left."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from imagesmith.attest.redact import without_secrets

SECRET = "SeCrEt"
#: What may stand around a secret word in an address, and no quote or blank, where texts end one.
around = st.text("abZ09-._~%:/@!$&()*+,;=?#[]{}|^\\\u00e9", max_size=12)
hosts = st.sampled_from(["https://e.example/f", "HTTP://e.example:80", "ftp://u@e.example/a/b", "s3://b/k"])


@given(hosts, around, around, st.sampled_from("?#"), st.sampled_from(["", "=", "a=", "&b=", ";c=", "#d="]))
def test_no_word_behind_a_path_is_left(host: str, before: str, after: str, mark: str, name: str) -> None:
    address = f"{host}{mark}{before}{name}{SECRET}{after}"
    told = without_secrets(address)
    assert not re.search(f"{SECRET}(?![^?#&;=]*=xxxxx)", told)  # the name of a word stays
    assert told.startswith(host.replace("u@", "", 1) if "ftp" not in host else "ftp://")
    assert without_secrets(told) == told
    assert without_secrets(f"ADD '{address}' /x") == f"ADD '{told}' /x"


@given(st.text(max_size=80))
def test_texts_without_an_address_are_told_as_they_are(text: str) -> None:
    assert without_secrets(text.replace("://", "")) == text.replace("://", "")
