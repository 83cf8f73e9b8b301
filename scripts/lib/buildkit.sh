# shellcheck shell=bash
# BuildKit, to compare configs with and to make images that mab checks: a test-bed
# part of its own, built from its module (its replace directives forbid `go
# install`), and a daemon without services of the system. Needs root and runc. To
# be sourced after go.sh; start_buildkit wants tests/lib/services.sh.

MAB_BUILDKIT_VERSION=v0.18.2

buildkit_make() {
    local module
    # The directory is set: a go.mod above it would be asked otherwise.
    module=$(cd "$1" && timeout "$MAB_DOWNLOAD_TIMEOUT" go mod download -json "github.com/moby/buildkit@$2" | jq -r .Dir)
    [[ -d $module ]] || die "the module github.com/moby/buildkit $2 was not to be had"
    cp -r "$module" "$1/source"
    chmod -R u+w "$1/source"
    rm -rf "$1/source/vendor" # the list of it alone: modules are packed without
    mkdir "$1/bin"
    (cd "$1/source" && timeout 1800 go build -mod=mod -trimpath -o "$1/bin/" ./cmd/buildkitd ./cmd/buildctl) >&2
    rm -rf "$1/source"
}
buildkit_hash() { part_hash buildkit_make "$MAB_BUILDKIT_VERSION"; }

# Puts buildkitd and buildctl on PATH.
ensure_buildkit() {
    if ! part_find buildkit "$(buildkit_hash)" >/dev/null; then
        ensure_go
        part_make buildkit "$(buildkit_hash)" \
            "building BuildKit $MAB_BUILDKIT_VERSION from its module into $MAB_TESTBED/buildkit" \
            buildkit_make "$MAB_BUILDKIT_VERSION"
    fi
    PATH=$(part_find buildkit "$(buildkit_hash)")/bin:$PATH
}

# start_buildkit: a daemon among this shell's services; sets BUILDKIT_HOST.
start_buildkit() {
    local dir=$MAB_SERVICES/buildkit
    mkdir -p "$dir/root"
    cat >"$dir/buildkitd.toml" <<TOML
root = "$dir/root"
[grpc]
address = ["unix://$dir/buildkitd.sock"]
[worker.oci]
enabled = true
binary = "runc"
snapshotter = "auto"
networkMode = "host"
[worker.containerd]
enabled = false
TOML
    export BUILDKIT_HOST=unix://$dir/buildkitd.sock
    service_start buildkit buildkitd --config "$dir/buildkitd.toml"
    service_wait buildkit 20 buildctl debug workers || die "buildkitd does not start"
}
