"""`imagesmith kaniko`: the flags of kaniko's executor, as words of `imagesmith build`.

Why words: `build` reads, checks and does all there is; what a flag of kaniko means is said once, here. A link
to this program that is called `executor` comes here too.
Spec: kaniko 1.24's cmd/executor/cmd/root.go, pkg/executor/push.go; kanikoflags.py lists what is passed over.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from imagesmith.cli.kanikocontext import Place, found_context
from imagesmith.cli.kanikoflags import add_kaniko_flags
from imagesmith.cli.kanikohosts import HostWords, write_hosts
from imagesmith.cli.parser import Parser, be_verbose
from imagesmith.errors import ContextError, UsageError
from imagesmith.fs.results import put_file
from imagesmith.oci.names import ImageRef
from imagesmith.settings import Access, Settings

__all__ = ["configure", "run", "words_of"]

_FOLDER = "/kaniko"
#: The tag of a cache in --cache-repo, which kaniko's own tags, digests in hex, never are.
_CACHE_TAG = "imagesmith"
#: What can be none of an image's files here, whatever a step does: the container's own.
_OWN_PATHS = (
    "/proc", "/sys", "/dev", "/kaniko", "/busybox", "/product_name", "/product_uuid", "/etc/hosts",
    "/etc/resolv.conf", "/etc/hostname", "/var/run", "/run/secrets",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_kaniko_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.cli import build

    _check(args)
    if args.verbosity in ("trace", "debug"):
        be_verbose()
    _use_logins(args.kaniko_dir or os.environ.get("KANIKO_DIR", "") or _FOLDER)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imagesmith-")))
        hosts = scratch / "hosts"
        has_hosts = write_hosts(_host_words(args), hosts)
        context = f"gs://{args.bucket.removeprefix('gs://')}" if args.bucket else args.context
        if "://" in args.bucket and not args.bucket.startswith("gs://"):
            context = args.bucket
        access = Access(hosts_dir=str(hosts) if has_hosts else "")
        root = Settings.load(args.root).root
        place = stack.enter_context(
            found_context(context, args.context_sub_path, args.dockerfile, args.git, root, access)
        )
        words = words_of(args, place)
        words += [f"--digest-file={scratch / 'digest'}"]
        words += [f"--hosts-dir={hosts}"] if has_hosts else []
        parser = Parser(prog="imagesmith build")
        build.configure(parser)
        try:
            status = build.run(parser.parse_args([*words, place.context]))
        except ContextError as e:
            e.hint = place.hint or e.hint
            raise
        _write_digests(args, (scratch / "digest").read_text())
    return status


def _check(args: argparse.Namespace) -> None:
    if not args.destination and not args.no_push:
        raise UsageError("you must provide --destination, or use --no-push")
    named = args.image_name_with_digest_file or args.image_name_tag_with_digest_file
    if named and not args.destination:
        raise UsageError("a file of image names needs --destination")
    if args.tar_path and not args.destination:
        raise UsageError("--tar-path needs --destination, which names the image in the archive")
    if args.cache and args.no_push and not args.cache_repo:
        raise UsageError("if using cache with --no-push, specify cache repo with --cache-repo")
    if any(args.credential_helpers):
        raise UsageError(
            f"--credential-helpers {next(filter(None, args.credential_helpers))}: helpers are named in files",
            hint="instead: credHelpers in config.json",
        )
    for path in args.ignore_path:
        if not any(path == own or path.startswith(f"{own}/") for own in _OWN_PATHS):
            raise UsageError(
                f"--ignore-path {path}: files of a step are not left out of its layer",
                hint="instead: RUN --mount=type=tmpfs,target=PATH",
            )


def _use_logins(folder: str) -> None:
    """Take the credentials of kaniko's folder, where nothing else names a file of them."""
    own = os.path.join(folder, ".docker")
    if not os.environ.get("DOCKER_CONFIG") and os.path.isfile(os.path.join(own, "config.json")):
        os.environ["DOCKER_CONFIG"] = own


def _host_words(args: argparse.Namespace) -> HostWords:
    env = os.environ
    return HostWords(
        mirrors=(*args.registry_mirror, env.get("KANIKO_REGISTRY_MIRROR", "")),
        maps=(*args.registry_map, env.get("KANIKO_REGISTRY_MAP", "")),
        certificates=tuple(args.registry_certificate),
        clients=tuple(args.registry_client_cert),
        plain=frozenset(args.insecure_registry),
        unverified=frozenset(args.skip_tls_verify_registry),
        fallback=not args.skip_default_registry_fallback,
    )


def words_of(args: argparse.Namespace, place: Place) -> list[str]:
    """The flags as those of `build`, without the context.

    Raises:
        UsageError: a destination is no name of an image.
    """
    words = [f"--tag={destination}" for destination in args.destination]
    words += [f"--file={place.dockerfile}"] if place.dockerfile else []
    words += [f"--build-arg={_argument(text)}" for text in args.build_arg]
    for name in ("target", "isolation", "policy", "root"):
        words += [f"--{name}={getattr(args, name)}"] if getattr(args, name) else []
    for name in ("label", "annotation", "secret"):
        words += [f"--{name}={text}" for text in getattr(args, name)]
    words += ["--squash"] if args.single_snapshot else []
    words += [f"--platform={text}" for text in args.custom_platform]
    if args.reproducible and not any(t.startswith("SOURCE_DATE_EPOCH=") for t in args.build_arg):
        words += ["--build-arg=SOURCE_DATE_EPOCH=0"]
    words += [f"--output={text}" for text in _outputs(args)]
    return [*words, *_cache_words(args), *_registry_words(args), *_shown_words(args)]


def _argument(text: str) -> str:
    return text if "=" in text else f"{text}={os.environ.get(text, '')}"


def _outputs(args: argparse.Namespace) -> list[str]:
    form = [("compression", args.compression), ("compression-level", args.compression_level)]
    form += [("rewrite-timestamp", "true" if args.reproducible else "")]
    tail = "".join(f",{key}={value}" for key, value in form if value)
    found = [] if args.no_push else ["type=registry"]
    found += [f"type=docker,dest={args.tar_path}"] if args.tar_path else []
    found += [f"type=oci,tar=false,dest={args.oci_layout_path}"] if args.oci_layout_path else []
    return [f"{text}{tail}" for text in found or ["type=image"]]


def _cache_words(args: argparse.Namespace) -> list[str]:
    if not args.cache or not args.cache_run_layers:
        return ["--no-cache"]
    words = [f"--cache-ttl={args.cache_ttl}"]
    repository = args.cache_repo
    if not repository:
        first = ImageRef.parse(args.destination[0])
        repository = f"{first.registry}/{first.repository}/cache"
    if repository.startswith("oci:"):
        source, target = (f"type=local,{key}={repository[4:]}" for key in ("src", "dest"))
    else:
        ref = ImageRef.parse(repository, default_tag=False)
        source = target = f"type=registry,ref={repository}{'' if ref.tag else f':{_CACHE_TAG}'}"
    words += [f"--cache-from={source}"]
    if args.no_push_cache:
        return words
    return [*words, f"--cache-to={target},mode=max,merge=true,ignore-error=true"]


def _registry_words(args: argparse.Namespace) -> list[str]:
    hosts = [*args.insecure_registry, *args.skip_tls_verify_registry]
    if args.insecure or args.skip_tls_verify:
        hosts += [ImageRef.parse(destination).registry for destination in args.destination]
        if args.cache_repo and not args.cache_repo.startswith("oci:"):
            hosts += [ImageRef.parse(args.cache_repo).registry]
    words = [f"--insecure-registry={host}" for host in dict.fromkeys(hosts)]
    return [*words, "--insecure"] if args.insecure_pull or args.skip_tls_verify_pull else words


def _shown_words(args: argparse.Namespace) -> list[str]:
    if args.log_format == "json":
        return ["--progress=rawjson"]
    if args.verbosity in ("error", "fatal", "panic"):
        return ["--progress=quiet"]
    return ["--progress=plain"] if args.log_format == "text" else []


def _write_digests(args: argparse.Namespace, digest: str) -> None:
    refs = [ImageRef.parse(destination) for destination in args.destination]
    names = "".join(f"{ref.registry}/{ref.repository}@{digest}\n" for ref in refs)
    tagged = "".join(f"{ref.registry}/{ref.repository}:{ref.tag}@{digest}\n" for ref in refs)
    for file, text in (
        (args.digest_file, digest),
        (args.image_name_with_digest_file, names),
        (args.image_name_tag_with_digest_file, tagged),
    ):
        if file:
            put_file(file, text.encode())  # in its place: a pod's /dev/termination-log is a mount
