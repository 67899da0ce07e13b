#!/usr/bin/env bash
# Builds a Kubernetes 1.20 control plane and kubelet out of Debian 12's source package, for tests against a real cluster. Needs root,
# about 12 minutes on two cores the first time, and 3 GB in the cache; a second call does nothing. Nothing is installed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/place.sh"

readonly version=1.20.2
# What a change of this script has to make anew.
readonly stamp=$cache/built-2
[ -f "$stamp" ] && exit 0
need apt-get dpkg dpkg-source gcc
mkdir -p "$cache"/{apt/lists/partial,apt/cache/archives/partial,debs,unpacked,bin,source,gopath/src/k8s.io,gocache,pause}

# With lists of its own, so that the machine's stay as they are.
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { print $2; exit }' /etc/apt/sources.list)
printf 'Types: deb deb-src\nURIs: %s\nSuites: bookworm\nComponents: main\nSigned-By: %s\n' "$mirror" "$keyring" > "$cache/debian.sources"
apt() {
  apt-get -qq -oDir::Etc::sourcelist="$cache/debian.sources" -oDir::Etc::sourceparts=/dev/null \
    -oDir::State::lists="$cache/apt/lists" -oDir::Cache="$cache/apt/cache" \
    -oAcquire::Languages=none -oAPT::Sandbox::User=root "$@"
}

fetch_packages() {
  say "fetching Go, etcd and the sources (apt-get download)"
  apt update
  (cd "$cache/debs" && apt download golang-1.19-go golang-1.19-src etcd-server golang-github-modern-go-reflect2-dev)
  local package
  for package in golang-1.19-go golang-1.19-src etcd-server golang-github-modern-go-reflect2-dev; do
    dpkg -x "$cache"/debs/${package}_*.deb "$cache/unpacked"
  done
  [ -d "$tree" ] && return
  (cd "$cache/source" && apt source --download-only kubernetes \
    && dpkg-source --no-check -x kubernetes_*.dsc "$tree.half" > /dev/null && mv "$tree.half" "$tree")
}

patch_sources() {
  # The copy of reflect2 that comes along crashes when built by Go 1.18 or newer.
  local vendored=$tree/vendor/github.com/modern-go/reflect2
  rm -f "$vendored"/*.{go,s}
  cp "$cache"/unpacked/usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$vendored/"
  rm -f "$vendored"/*_test.go
  # A root without CAP_SYS_RESOURCE, as in many containers and virtual machines, may not set negative scores.
  sed -i -E 's/(KubeletOOMScoreAdj int = )-[0-9]+/\10/; s/(guaranteedOOMScoreAdj int = )-[0-9]+/\10/; s/\(1000 \+ guaranteedOOMScoreAdj\)/3/g' \
    "$tree/pkg/kubelet/qos/policy.go"
  sed -i -E 's/(defaultSandboxOOMAdj int = )-[0-9]+/\10/' "$tree/pkg/kubelet/dockershim/docker_sandbox.go"
  # A provisioner of volumes that are folders: its pods' user has to write to them, as fsGroup has it of a real one.
  sed -i 's/os.MkdirAll(\(.*\), 0750)/os.MkdirAll(\1, 0777)/' "$tree/pkg/volume/hostpath/host_path.go"
  sed -i -E 's/(dockerOOMScoreAdj = )-[0-9]+/\10/' "$tree/pkg/kubelet/dockershim/cm/container_manager_linux.go"
}

# The definitions are left out of the source package.
generate_openapi() {
  [ -s pkg/generated/openapi/zz_generated.openapi.go ] && return
  say "generating OpenAPI definitions"
  local maker
  for maker in code-generator kube-openapi; do
    go build -o "$bin/openapi-gen" "./vendor/k8s.io/$maker/cmd/openapi-gen" 2> /dev/null && break
  done
  local staging=(api apimachinery apiserver kube-aggregator apiextensions-apiserver cloud-provider component-base controller-manager
    kube-controller-manager kube-proxy kube-scheduler kubelet metrics client-go kubectl)
  local inputs
  inputs=$(grep -rl --include='*.go' '+k8s:openapi-gen=' pkg "${staging[@]/#/staging/src/k8s.io/}" | sed 's#^staging/src/#vendor/#' \
    | xargs -n1 dirname | grep -v -E 'testdata|/generated/openapi$|_examples' | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
  "$bin/openapi-gen" --logtostderr -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$cache/violations" --output-base "$GOPATH/src"
}

build_programs() {
  local flags="-s -w" package program
  for package in component-base/version client-go/pkg/version; do
    package=k8s.io/kubernetes/vendor/k8s.io/$package
    flags="$flags -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=20"
  done
  for program in kube-apiserver kube-controller-manager kube-scheduler kubelet; do
    [ -x "$bin/$program" ] && continue
    local begun=$SECONDS
    go build -trimpath -ldflags "$flags" -o "$bin/$program" "./cmd/$program"
    say "built $program in $((SECONDS - begun)) s"
  done
}

# The first process of each pod: waits to be ended, and takes the dead whom nobody else waits for.
build_pause() {
  cat > "$cache/pause/pause.c" << 'C'
#include <signal.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, SIG_IGN);
  for (;;) pause();
}
C
  gcc -static -Os -o "$cache/pause/pause" "$cache/pause/pause.c"
}

readonly tree=$cache/source/kubernetes-$version
fetch_packages
patch_sources
ln -sfn "$tree" "$cache/gopath/src/k8s.io/kubernetes"
export GOROOT=$cache/unpacked/usr/lib/go-1.19 GOPATH=$cache/gopath GOCACHE=$cache/gocache
export GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GOSUMDB=off CGO_ENABLED=0 GO111MODULE=off
export PATH=$GOROOT/bin:$PATH
go() { nice "$GOROOT/bin/go" "$@"; }
cd "$GOPATH/src/k8s.io/kubernetes"
generate_openapi
build_programs
build_pause
# The cluster is what is kept; what it was built of can be had again.
rm -rf "$cache"/{apt,debs,source,gopath,gocache,violations,debian.sources,unpacked/usr/lib,unpacked/usr/share} "$bin/openapi-gen"
touch "$stamp"
say "built in $bin"
