"""The flags of kaniko's executor: those that are taken, those that change nothing here, and those refused.

Why a text: `cli/foreign.py` reads its lines, and pages that compare the two print them; each line ends with
its reason. What is taken has its help in the parser.
Spec: kaniko 1.24's cmd/executor/cmd/root.go and README.
"""

from __future__ import annotations

import argparse

from imagesmith.cli.flags import add_policy, add_root, many, new_file, text_flag

__all__ = ["KANIKO_LINES", "add_kaniko_flags"]

#: As foreign.py's: `switch` and `value` are passed over, `no` is refused; behind the
#: `=` is why, or what to use.
KANIKO_LINES = """
switch --force = nothing here asks to be in a container
switch --cleanup --pre-cleanup --preserve-context --materialize = the builder's own files are never an image's
switch --use-new-run --compressed-caching = what a step changed is seen by its layer, without snapshots
switch --skip-unused-stages = stages that the result does not need are never built
switch --ignore-var-run --whitelist-var-run = what is mounted while a step runs is never in a layer
switch --cache-copy-layers = every step is cached
switch --skip-push-permission-check = nothing is asked of a registry before there is something to push
switch --force-build-metadata = instructions about metadata never make layers
switch --log-timestamp = --log-format json has times
value  --snapshot-mode --snapshotMode = what a step changed is seen by its layer, without snapshots
value  --push-retry --image-fs-extract-retry --image-download-retry = all is tried again by itself
value  --push-retry-initial-delay --push-retry-max-delay --push-retry-backoff-multiplier = as registries ask
value  --cache-dir = base images are kept in the store, whose folder is --root
no     --push-ignore-immutable-tag-errors = a tag that the registry does not have
no     --azure-container-registry-config = `imagesmith login`, or credHelpers in config.json
no     --multi-platform = --custom-platform OS/ARCH,OS/ARCH, of which an index is made
"""


def add_kaniko_flags(parser: argparse.ArgumentParser) -> None:
    """Declare those that are taken."""
    _source_flags(parser.add_argument_group("what is built"))
    _result_flags(parser.add_argument_group("what comes out"))
    _cache_flags(parser.add_argument_group("cache and store"))
    _registry_flags(parser.add_argument_group("how registries are reached"))
    g = parser.add_argument_group("what is shown")
    g.add_argument(
        "-v", "--verbosity", default="info", metavar="LEVEL",
        choices=("trace", "debug", "info", "warn", "error", "fatal", "panic"),
        help="trace and debug say more, error and what is above it shows errors only",
    )  # fmt: skip
    g.add_argument(
        "--log-format", default="color", choices=("text", "color", "json"), help="json is --progress rawjson"
    )


def _source_flags(g: argparse._ArgumentGroup) -> None:
    g.add_argument(
        "-f", "--dockerfile", default="Dockerfile", metavar="FILE", help="from here, or else in the context"
    )
    g.add_argument(
        "-c", "--context", default="/workspace/", metavar="PLACE",
        help="a folder, dir://, tar://FILE, tar://stdin, git://HOST/PATH#REF#COMMIT, https://, or a public"
        " object behind s3:// or gs:// (default: /workspace/)",
    )  # fmt: skip
    text_flag(g, "-b", "--bucket", metavar="NAME", text="the same as --context gs://NAME")
    text_flag(g, "--context-sub-path", metavar="PATH", text="a folder within the context")
    text_flag(g, "--git", metavar="K=V,…", text="branch=NAME, single-branch=, recurse-submodules=BOOL")
    many(g, "--build-arg", metavar="K=V", text="value of an ARG; without =V that of the environment")
    text_flag(g, "--target", metavar="STAGE", text="the stage to build")
    many(
        g, "--custom-platform", "--customPlatform", metavar="OS/ARCH", text="platform to build for; also A,B"
    )
    many(g, "--secret", metavar="id=…", text="a secret for RUN --mount=type=secret")
    many(g, "--ignore-path", metavar="PATH", text="one of the builder's own files, as /product_uuid")
    g.add_argument(
        "--isolation", default="auto", choices=("auto", "native", "chroot", "oci"),
        help="how RUN is kept apart",
    )  # fmt: skip
    add_policy(g)


def _result_flags(g: argparse._ArgumentGroup) -> None:
    many(g, "-d", "--destination", metavar="REF", text="where the image is pushed")
    g.add_argument("--no-push", action="store_true", help="push no image; it is named in the store")
    text_flag(g, "--tar-path", "--tarPath", metavar="FILE", text="write an archive for `docker load`")
    text_flag(g, "--oci-layout-path", metavar="DIR", text="write a layout")
    for name, text in (
        ("--digest-file", "write the image's digest"),
        ("--image-name-with-digest-file", "write each NAME@DIGEST"),
        ("--image-name-tag-with-digest-file", "write each NAME:TAG@DIGEST"),
    ):
        g.add_argument(name, default="", metavar="FILE", type=new_file, help=text)
    many(g, "--label", metavar="K=V", text="label of the image")
    many(g, "--annotation", metavar="K=V", text="annotation of the manifest")
    g.add_argument("--single-snapshot", action="store_true", help="one layer upon the base image")
    g.add_argument("--reproducible", action="store_true", help="all times in the image are 1970-01-01")
    g.add_argument("--compression", default="", choices=("", "gzip", "zstd"), help="of the layers")
    text_flag(g, "--compression-level", metavar="N", text="of the layers")


def _cache_flags(g: argparse._ArgumentGroup) -> None:
    g.add_argument("--cache", action="store_true", help="take steps from the store and --cache-repo")
    text_flag(
        g, "--cache-repo", metavar="REPO",
        text="where steps are kept, also oci:DIR (default: the first destination's repository with /cache)",
    )  # fmt: skip
    g.add_argument("--cache-ttl", default="336h", metavar="TIME", help="take no step older (default: 336h)")
    g.add_argument(
        "--cache-run-layers", action=argparse.BooleanOptionalAction, default=True,
        help="false executes every step",
    )  # fmt: skip
    g.add_argument("--no-push-cache", action="store_true", help="take steps from --cache-repo, write none")
    text_flag(g, "--kaniko-dir", metavar="DIR", text="whose .docker/config.json has the credentials")
    add_root(g)


def _registry_flags(g: argparse._ArgumentGroup) -> None:
    for name, text in (
        ("--insecure", "plain HTTP, or any certificate, for the destinations"),
        ("--skip-tls-verify", "the same"),
        ("--insecure-pull", "plain HTTP, or any certificate, for all registries"),
        ("--skip-tls-verify-pull", "the same"),
    ):
        g.add_argument(name, action="store_true", help=text)
    many(g, "--insecure-registry", metavar="HOST", text="plain HTTP, or any certificate, for one registry")
    many(g, "--skip-tls-verify-registry", metavar="HOST", text="the same")
    many(g, "--registry-mirror", metavar="HOST[/PATH]", text="asked before Docker Hub")
    many(g, "--registry-map", metavar="HOST=HOST[/PATH];…", text="asked before another registry")
    g.add_argument(
        "--skip-default-registry-fallback", action="store_true",
        help="ask mirrors only, if there are any",
    )  # fmt: skip
    many(g, "--registry-certificate", metavar="HOST=FILE", text="certificates that a registry's is held to")
    many(g, "--registry-client-cert", metavar="HOST=CERT,KEY", text="what a registry is shown")
    many(g, "--credential-helpers", metavar="NAME", text="none, if empty: those of config.json are asked")
