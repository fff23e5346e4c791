"""Which stages an SBOM looks at: those whose ARG asks for it, and no others."""

from __future__ import annotations

import pytest

from imagesmith.request import Attestations, SbomWanted
from tests.kitchen import Kitchen
from tests.plan.conftest import plan_of

STAGES = """\
{head}
FROM scratch AS one
{one}
COPY f /one
FROM scratch AS unused
ARG BUILDKIT_SBOM_SCAN_STAGE=true
FROM one AS two
{two}
COPY f /two
FROM scratch
{last}
COPY --from=two /two /
"""
STAGE, CONTEXT = "ARG BUILDKIT_SBOM_SCAN_STAGE", "ARG BUILDKIT_SBOM_SCAN_CONTEXT"


@pytest.mark.parametrize(
    ("given", "args", "found"),
    [
        ({}, {}, []),
        ({"one": f"{STAGE}=true"}, {}, ["one"]),
        ({"two": f"{STAGE}=1"}, {}, ["two"]),
        ({"head": f"{STAGE}=true"}, {}, ["one", "two"]),
        ({"head": f"{STAGE}=two,three"}, {}, ["two"]),
        ({"head": f"{STAGE}=true", "one": f"{STAGE}=false"}, {}, ["two"]),
        ({"head": f"{STAGE}=two", "one": STAGE}, {}, ["two"]),
        ({"one": STAGE}, {}, []),
        ({"one": STAGE}, {"BUILDKIT_SBOM_SCAN_STAGE": "true"}, ["one"]),
        ({}, {"BUILDKIT_SBOM_SCAN_STAGE": "true"}, []),
        ({"last": f"{STAGE}=true"}, {}, []),
        ({"last": f"{CONTEXT}=true"}, {}, ["context"]),
        ({"one": f"{CONTEXT}=true"}, {}, []),
        ({"head": f"{CONTEXT}=true"}, {}, ["context"]),
    ],
)
def test_what_is_scanned(
    kitchen: Kitchen, given: dict[str, str], args: dict[str, str], found: list[str]
) -> None:
    kitchen.write({"f": "f"})
    text = STAGES.format(**{"head": "", "one": "", "two": "", "last": "", **given})
    wanted = Attestations(sbom=SbomWanted())
    [image] = plan_of(kitchen, text, build_args=args, attestations=wanted).images
    assert [name for name, _ in image.scans] == found
    assert plan_of(kitchen, text, build_args=args).images[0].scans == ()
