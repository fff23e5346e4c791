"""Examples of every command, as `--help` shows them below the flags.

Why here and not beside the flags: only --help reads them, so no other command pays for them; and a test runs
every one of them as it stands, which makes them true; tests/cli/test_examples.py says in what world.
"""

from __future__ import annotations

__all__ = ["examples_of"]

_EXAMPLES = """
build
  imagesmith build -t registry.example.com/app:1.0 --push .
  imagesmith build --target files -o type=local,dest=out .
  imagesmith build --build-arg VERSION=2 -t app:2 --on-failure keep=failed .
bake
  imagesmith bake
  imagesmith bake --print app
  imagesmith bake --set '*.args.VERSION=2' --set app.tags=app:3 app
work
  imagesmith work --verdict verdict.json unit.json
kaniko
  imagesmith kaniko --context . --destination registry.example.com/app:2
  imagesmith kaniko -c dir://. --no-push -d app:2 --tar-path app-2.tar
pin
  imagesmith pin .
  imagesmith pin --update --prune --platform linux/amd64,linux/arm64 .
  imagesmith pin --check --json .
run
  imagesmith run tools:1 echo hello
  imagesmith run -e NAME=you -w /tmp tools:1 sh -c 'echo "hello, $NAME"; pwd'
reproduce
  imagesmith reproduce app:1 .
  imagesmith reproduce registry.example.com/proven:1.0
push
  imagesmith push app:1 registry.example.com/team/app:1
pull
  imagesmith pull registry.example.com/app:1.0
  imagesmith pull --policy policy.json registry.example.com/app:1.0
copy
  imagesmith copy registry.example.com/app:1.0 registry.example.com/team/app:1.0
  imagesmith copy --all registry.example.com/both:1 oci:layout:both
  imagesmith copy --tags '1.*' registry.example.com/app oci:layout
save
  imagesmith save -o app.tar app:1
load
  imagesmith load -i saved.tar
mirror
  imagesmith mirror --to registry.example.com/mirror images.txt
  imagesmith mirror --dry-run --to registry.example.com/mirror images.txt
images
  imagesmith images
tag
  imagesmith tag app:1 registry.example.com/app:stable
  imagesmith tag docker://registry.example.com/app:1.0 stable
rmi
  imagesmith rmi app:1
prune
  imagesmith prune --older-than 72h
cache ls
  imagesmith cache ls
cache prune
  imagesmith cache prune --older-than 72h --max-size 5GB
cache export
  imagesmith cache export -o caches.tar
cache import
  imagesmith cache import kept-caches.tar
inspect
  imagesmith inspect registry.example.com/app:1.0
  imagesmith inspect -f '{{.Digest}} {{json .Config.Cmd}}' app:1
  imagesmith inspect -f '{{json .Provenance}}' app:1
explore
  imagesmith explore --plain app:1
  imagesmith explore --html app.html registry.example.com/app:1.0
  imagesmith explore --ci --max-size 200MB --max-wasted-percent 10 app:1
ls
  imagesmith ls -l app:1
  imagesmith ls -R registry.example.com/app:1.0 /
cat
  imagesmith cat registry.example.com/app:1.0 /greeting
digest
  imagesmith digest registry.example.com/app:1.0
tags
  imagesmith tags registry.example.com/app
catalog
  imagesmith catalog registry.example.com
manifest get
  imagesmith manifest get registry.example.com/app:1.0
manifest put
  imagesmith manifest put registry.example.com/app:again manifest.json
manifest delete
  imagesmith manifest delete registry.example.com/app:1.0
blob get
  imagesmith blob get registry.example.com/app sha256:DIGEST > layer.tar.gz
blob put
  imagesmith blob put registry.example.com/app greeting
blob head
  imagesmith blob head registry.example.com/app sha256:DIGEST
blob delete
  imagesmith blob delete registry.example.com/app sha256:DIGEST
sign
  imagesmith sign --key plain.key registry.example.com/app:1.0 --tag
verify
  imagesmith verify --key signer.pub registry.example.com/signed:1
attest
  imagesmith attest --key plain.key --predicate sbom.json store:app:1
verify-attestation
  imagesmith verify-attestation --key signer.pub --type spdxjson store:tools:1
key generate
  imagesmith key generate --password-file password mine
key show
  imagesmith key show plain.key
delete
  imagesmith delete registry.example.com/app:1.0
index create
  imagesmith index create registry.example.com/app:all app:1
index add
  imagesmith index add registry.example.com/both:1 registry.example.com/app:1.0
index remove
  imagesmith index remove registry.example.com/both:1 --platform linux/arm64
append
  imagesmith append -b app:1 -t registry.example.com/app:more layer.tar
mutate
  imagesmith mutate app:1 --label team=web --cmd '["/app", "-v"]' -t app:web
flatten
  imagesmith flatten app:1 -t app:flat
rebase
  imagesmith rebase app:1 --old-base base:1 --new-base base:2 -t app:rebased
sbom
  imagesmith sbom app:1 --supplier 'Example Ltd' -o app.spdx.json
  imagesmith sbom --format cyclonedx registry.example.com/app:1.0
export
  imagesmith export app:1 files.tar
diff
  imagesmith diff app:1 registry.example.com/app:1.0
artifact push
  imagesmith artifact push registry.example.com/notes:1 greeting sbom.json
artifact pull
  imagesmith artifact pull registry.example.com/files:1 -o out
artifact ls
  imagesmith artifact ls registry.example.com/files:1
attach
  imagesmith attach oci:image sbom.json --artifact-type application/spdx+json
referrers
  imagesmith referrers registry.example.com/app:1.0
validate
  imagesmith validate registry.example.com/app:1.0
login
  imagesmith login -u me --password-stdin registry.example.com < password
logout
  imagesmith logout registry.example.com
registry serve
  imagesmith registry serve --dir images --addr 127.0.0.1:5000
registry gc
  imagesmith registry gc --dir images
config
  imagesmith config
completion
  imagesmith completion bash > imagesmith.bash
docker-plugin install
  imagesmith docker-plugin install
  imagesmith docker-plugin install --as-buildx
docker-plugin uninstall
  imagesmith docker-plugin uninstall
docker-plugin status
  imagesmith docker-plugin status
docker-plugin call
  imagesmith docker-plugin call buildx buildx build -t app:docker .
doctor
  imagesmith doctor
"""


def examples_of(command: str) -> list[str]:
    """The examples of a command, or of all of its commands; empty where there are none."""
    found, name = [], ""
    for line in _EXAMPLES.strip().splitlines():
        if not line.startswith(" "):
            name = line
        elif name == command or name.startswith(f"{command} "):
            found.append(line.strip())
    return found
