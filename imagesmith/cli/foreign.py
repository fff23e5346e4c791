"""Flags and commands of docker, kaniko, buildah, skopeo and crane: what they are here.

Why: whoever comes from there types them, or has them in a CI file. One that changes nothing here is passed
over; one that would change something is refused by name, with what to use instead. None is taken and ignored.
Spec: `docker build --help` (28), `docker buildx build --help` (0.21), kaniko 1.24's README, buildah-build(1),
skopeo-copy(1), crane's cmd/crane/doc.
"""

from __future__ import annotations

from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import UsageError

__all__ = ["boolean", "instead_of", "passed_over"]

#: A line for flags that are taken alike: `switch` and `value` are passed over, `off` and `on` are switches
#: that are passed over where they say that, all else is refused; behind the `=` is what to use instead.
_BUILD = """
switch --rm --force-rm --compress --disable-content-trust
value  --builder
off    --provenance --sbom --attest = images are made without attestations
off    --squash --single-snapshot = build, then `imagesmith flatten REF`
off    --debug -D = -v
no     --memory -m --memory-swap --cpu-period --cpu-quota --cpu-shares -c = --cgroup-parent, or systemd-run
no     --cpuset-cpus --cpuset-mems = taskset
no     --security-opt = RUN --security=insecure, with --allow security.insecure
no     --policy = there are no policies for sources

switch --no-push --cleanup --force --use-new-run --skip-unused-stages --compressed-caching --ignore-var-run
switch --skip-push-permission-check
value  --snapshot-mode --snapshotMode
on     --cache --layers = --no-cache
no     --context = the context is a word of its own: build DIR
no     --context-sub-path = a git context names a folder: URL#ref:folder
no     --dockerfile = -f FILE
no     --destination -d = -t REF --push
no     --tar-path --tarPath = -o type=docker,dest=FILE
no     --oci-layout-path = -o type=oci,tar=false,dest=DIR
no     --cache-repo = --cache-from type=registry,ref=REF and --cache-to type=registry,ref=REF
no     --cache-dir = --cache-from type=local,src=DIR
no     --cache-ttl = `imagesmith prune`
no     --custom-platform --customPlatform --arch --os --variant = --platform OS/ARCH[/VARIANT]
no     --reproducible --timestamp --source-date-epoch = SOURCE_DATE_EPOCH, and rewrite-timestamp=true in -o
no     --kaniko-dir = --root DIR
no     --insecure-pull --skip-tls-verify --skip-tls-verify-pull = --insecure, or --insecure-registry HOST
no     --skip-tls-verify-registry = --insecure-registry HOST
no     --registry-mirror = --registries-conf FILE
no     --push-retry --image-download-retry --image-fs-extract-retry --retry = nothing: all is tried again
no     --verbosity --log-format --logfile = -v, --progress plain or rawjson, 2> FILE
off    --log-timestamp = --progress rawjson
no     --ignore-path = RUN --mount=type=tmpfs,target=PATH

on     --tls-verify = --insecure, or --insecure-registry HOST
no     --creds = `imagesmith login`
no     --jobs = stages are built side by side, as many as there are processors
no     --format = -o type=image,oci-mediatypes=true or false
no     --pull-always = --pull
no     --pull-never = images of the store are used first, without --pull
no     --manifest = -t REF
no     --volume = RUN --mount=type=bind, with --build-context NAME=DIR
no     --ignorefile = DOCKERFILE.dockerignore beside the Dockerfile
no     --env = ENV in the Dockerfile
no     --from = --build-context NAME=docker-image://REF
no     --userns = --isolation
"""

_TRANSFER = """
switch --preserve-digests --remove-signatures --insecure-policy --disable-content-trust
on     --tls-verify --src-tls-verify --dest-tls-verify = --insecure, or --insecure-registry HOST
no     --creds --src-creds --dest-creds = `imagesmith login`, or --authfile FILE
no     --src-authfile --dest-authfile = --authfile FILE, with the logins of both
no     --src-cert-dir --dest-cert-dir = --cert-dir DIR
no     --multi-arch = --all, or --platform OS/ARCH
no     --override-arch --override-os --override-variant = --platform OS/ARCH[/VARIANT]
no     --additional-tag = `imagesmith tag docker://REF TAG`
no     --retry-times = transfers are tried again by themselves
no     --all-tags = `imagesmith mirror`
no     --allow-nondistributable-artifacts = foreign layers are left where they are
"""

_FLAGS = {"build": _BUILD, **dict.fromkeys(("push", "pull", "copy", "save", "load", "mirror"), _TRANSFER)}

_COMMANDS = """
buildx bud        `imagesmith build`
image ls list     `imagesmith images`
ps exec           `imagesmith run`; it keeps no containers
du                `imagesmith cache ls` for caches; `imagesmith prune` frees what is not used
system info       `imagesmith doctor`, and `imagesmith prune`
history config    `imagesmith inspect REF`
imagetools        `imagesmith inspect`, `imagesmith index create` and `imagesmith copy`
cp                `imagesmith copy`
sync              `imagesmith mirror`
list-tags         `imagesmith tags`
auth              `imagesmith login`
rm                `imagesmith rmi`, or `imagesmith delete` for a registry
import            `imagesmith load`
commit            `imagesmith mutate` and `imagesmith append`
"""

_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def boolean(flag: str, text: str) -> bool:
    """What Go's strconv.ParseBool reads, as docker's switches do.

    Raises:
        UsageError: it is neither true nor false.
    """
    if text not in _TRUE + _FALSE:
        raise UsageError(f"{flag}={text}: a switch is true or false")
    return text in _TRUE


def instead_of(command: str) -> str:
    """What does the work of another tool's command; empty if it is not known."""
    for line in _COMMANDS.strip().splitlines():
        if command in line[:18].split():
            return line[18:]
    return ""


def passed_over(command: str, flag: str, value: str | None, known: list[str]) -> bool:
    """Pass over another tool's flag; returns True if the next word is its value.

    Args:
        command: ours.
        flag: with its dashes.
        value: what stood behind its `=`.
        known: our own flags.

    Raises:
        UsageError: it would change something here, or nobody knows it.
    """
    for line in _FLAGS.get(command, "").splitlines():
        names, _, instead = line.partition(" = ")
        taken, *flags = names.split() or [""]
        if flag in flags:
            break
    else:
        hint = f"`imagesmith {command} --help` shows what it takes"
        raise UsageError(f"unknown flag: {flag}{suggest(flag, known)}", hint=hint)
    if taken == "value":
        return value is None
    if taken != "no":
        on = value is None or boolean(flag, value)
        if taken == "switch" or on == (taken == "on"):
            return False
    said = flag if value is None else f"{flag}={value}"
    raise UsageError(f"{said}: a flag of another tool, which is not taken here", hint=f"instead: {instead}")
