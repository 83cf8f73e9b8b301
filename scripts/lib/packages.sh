# shellcheck shell=bash
# The distribution's packages that building and testing want. To be sourced
# after testbed.sh.

# Compilers, for scripts/quickstart. The host's own architecture needs no cross GCC.
packages_compilers() {
    local host
    host=$(dpkg --print-architecture)
    printf '%s\n' ca-certificates gcc libc6-dev git xz-utils
    [[ $host == amd64 ]] || printf '%s\n' gcc-x86-64-linux-gnu libc6-dev-amd64-cross
    [[ $host == arm64 ]] || printf '%s\n' gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    printf '%s\n' \
        gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
        gcc-s390x-linux-gnu libc6-dev-s390x-cross \
        gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross
}

# For programs with C++ in them, and build scripts that read C headers.
packages_cxx() {
    local host
    host=$(dpkg --print-architecture)
    printf '%s\n' g++ libclang-dev pkg-config perl make
    [[ $host == amd64 ]] || printf '%s\n' g++-x86-64-linux-gnu
    [[ $host == arm64 ]] || printf '%s\n' g++-aarch64-linux-gnu
    printf '%s\n' g++-arm-linux-gnueabihf g++-s390x-linux-gnu g++-powerpc64le-linux-gnu
}

# Registry, runtimes, readers and helpers, for the end-to-end tests and benchmarks.
packages_tools() {
    printf '%s\n' docker-registry docker.io containerd runc skopeo umoci buildah \
        qemu-user-static strace apache2-utils jq time libarchive-tools \
        binutils file procps python3 util-linux
}

# packages_missing NAME…: prints those that are not installed.
packages_missing() {
    local -A installed=()
    local status name
    while read -r status name; do
        [[ $status == installed ]] && installed[$name]=1
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null)
    for name in "$@"; do
        [[ -n ${installed[$name]:-} ]] || printf '%s\n' "$name"
    done
}

# Keeps packages such as docker-registry from starting their services on
# installation: tests start their own, on ports and directories of their own.
packages_without_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [[ -e $policy ]]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    # Also when this is interrupted: the file would stop every later start.
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    "$@" || status=$?
    rm -f "$policy"
    trap - EXIT
    return $status
}

packages_apt_install() {
    DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y -qq \
        --no-install-recommends -o Dpkg::Use-Pty=0 "$@" >"$packages_log" 2>&1
}

# packages_ensure WHAT NAME…
packages_ensure() {
    local what=$1
    shift
    have dpkg-query || die "this is no Debian system: $what cannot be installed by this script" \
        "Install the equivalents of: $*"
    local missing
    mapfile -t missing < <(packages_missing "$@")
    [[ ${#missing[@]} -eq 0 ]] && return 0
    if ! is_root; then
        die "$what: ${#missing[@]} packages are missing. Have an administrator run:" \
            "apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing $what with apt-get: ${missing[*]}"
    # Another run of ours, or its early part, may be installing: apt would fail at once.
    (umask 022 && mkdir -p "$MAB_TESTBED")
    (
        flock 9
        local packages_log started=$SECONDS
        packages_log=$(mktemp)
        timeout "$MAB_DOWNLOAD_TIMEOUT" apt-get update -qq >"$packages_log" 2>&1 9>&- \
            || { cat "$packages_log" >&2; die "apt-get update failed"; }
        (packages_without_services packages_apt_install "${missing[@]}") 9>&- \
            || { tail -n 40 "$packages_log" >&2; die "apt-get install failed"; }
        rm -f "$packages_log"
        say "$what: done in $((SECONDS - started)) s"
    ) 9>"$MAB_TESTBED/.lock-packages"
}

ensure_packages_compilers() {
    local names
    mapfile -t names < <(packages_compilers)
    packages_ensure "compilers" "${names[@]}"
}

ensure_packages_cxx() {
    local names
    mapfile -t names < <(packages_cxx)
    packages_ensure "C++ compilers and libclang" "${names[@]}"
}

ensure_packages_tools() {
    local names
    mapfile -t names < <(packages_tools)
    packages_ensure "test tools" "${names[@]}"
}

# Node and npm, for the check of the build file's schema with an editor's own
# language server. Often installed from elsewhere.
ensure_node() {
    ! { have node && have npm; } || return 0
    (packages_ensure "Node" nodejs npm)
}
