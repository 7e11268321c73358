#!/usr/bin/env bash
# Builds bin/plumb-kube, or takes it from the cache.
#
#   integration/kube/build.sh [OUTPUT]     (default: bin/plumb-kube of the repository)
#
# The first build compiles Kubernetes, which takes about eleven minutes on two cores. So the program is kept under
# a key made of everything that goes into it, in $PLUMB_CACHE (default: ~/.cache/plumb). Without a writable cache it
# is kept beside the output. Go's own build cache makes later builds fast too, but it may be absent or trimmed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=${1:-$here/../../bin/plumb-kube}
version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' "$here/go.mod")

main() {
  mkdir -p "$(dirname "$output")"
  local cache cached
  cache=$(cache_dir)
  cached=$cache/plumb-kube-$(key)
  lock "$cached.lock"
  if ! works "$cached"; then
    build "$cached"
  fi
  touch "$cached" # newer than its sources, for make; and in use, for tidy
  publish "$cached"
  tidy "$cache"
}

cache_dir() {
  local dir=${PLUMB_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/plumb}
  if mkdir -p "$dir" 2>/dev/null && [ -w "$dir" ]; then
    echo "$dir"
  else
    dirname "$output"
  fi
}

# key changes with the sources, the embedded files, this script and the toolchain. Tests are not linked.
key() {
  cd "$here"
  {
    go version
    go env GOOS GOARCH
    find . -type f \( -name '*.go' ! -name '*_test.go' -o -name '*.yaml' -o -name go.mod -o -name go.sum -o -name build.sh \) -print |
      LC_ALL=C sort | while IFS= read -r file; do sha256sum "$file"; done
  } | sha256sum | cut -c1-16
}

# lock is held until this script ends. A second one then finds the work done.
lock() {
  command -v flock >/dev/null || return 0
  exec 9>"$1"
  if ! flock -n 9; then
    echo "plumb-kube: another build of the control plane is under way, waiting for it" >&2
    flock 9
  fi
}

works() {
  [ -x "$1" ] && "$1" version 2>/dev/null | grep -qF "Kubernetes $version,"
}

build() {
  local tmp=$1.tmp.$$ start=$SECONDS
  echo "plumb-kube: building the control plane, about 11 minutes the first time" >&2
  ticker "$start" &
  local ticking=$!
  # shellcheck disable=SC2064 # these values, not those at the end
  trap "kill $ticking 2>/dev/null || true; rm -f '$tmp'" EXIT
  (cd "$here" && CGO_ENABLED=0 GOWORK=off go build -buildvcs=false -trimpath -ldflags "$(ldflags)" -o "$tmp" . 9>&-)
  works "$tmp" || { echo "plumb-kube: what was built does not run" >&2; exit 1; }
  mv -f "$tmp" "$1"
  kill "$ticking" 2>/dev/null || true
  trap - EXIT
  echo "plumb-kube: built in $((SECONDS - start)) s" >&2
}

# ticker shows that something happens. It must not keep the lock, and it looks often so as not to outlive its parent
# by much if that is killed.
ticker() {
  exec 9>&-
  local waited=0
  while sleep 1 && kill -0 $$ 2>/dev/null; do
    waited=$((SECONDS - $1))
    if [ $((waited % 30)) -eq 0 ]; then
      echo "plumb-kube: still building, $waited s" >&2
    fi
  done
}

# ldflags give the server the version that a release build would give it.
ldflags() {
  local number=${version#v} package flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=${number%%.*}"
    flags+=" -X $package.gitMinor=$(echo "$number" | cut -d. -f2)"
    flags+=" -X $package.gitCommit=unknown -X $package.gitTreeState=archive"
  done
  echo "$flags"
}

# publish replaces the output at once, so that a running one is not disturbed.
publish() {
  [ "$1" -ef "$output" ] && return 0
  local tmp=$output.tmp.$$
  ln -f "$1" "$tmp" 2>/dev/null || cp -f "$1" "$tmp"
  # rename(2) of two links to one file does nothing and leaves both.
  mv -f "$tmp" "$output"
  rm -f "$tmp"
}

# tidy drops what no checkout has used for two weeks; each is 140 MB.
tidy() {
  find "$1" -maxdepth 1 -type f -name 'plumb-kube-*' -mtime +14 -delete 2>/dev/null || true
}

main
