# shellcheck shell=bash
# Rust: the compiler that builds mab itself, and one that has the standard
# library of all five platforms. To be sourced after testbed.sh and apt.sh.
#
# People have rustup. Where it can fetch nothing, Debian's packages of Rust 1.85
# for every architecture are unpacked, without root, into one prefix that works
# like any other toolchain: PATH=$(rust_prefix)/bin:$PATH cargo build --target …

MAB_SUITE=bookworm
MAB_CROSS_RUST=1.85 # the newest that the archive has for all architectures
MAB_HOST_RUST=1.96  # the newest that it has at all, for amd64 and arm64
MAB_RUST_MINIMUM=1.95
MAB_RUST_TARGETS=(x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
    armv7-unknown-linux-gnueabihf s390x-unknown-linux-gnu powerpc64le-unknown-linux-gnu)

debian_multiarch() {
    case $1 in
        amd64) echo x86_64-linux-gnu ;;
        arm64) echo aarch64-linux-gnu ;;
        *) die "mab's scripts run on amd64 and arm64 hosts, not on $1" ;;
    esac
}

# rust_unpack DIRECTORY "SUITE…" RUST HOST ARCHITECTURE…: rustc, cargo and the
# standard library of each architecture. The libraries that they want and this
# system lacks are unpacked beside them.
rust_unpack() {
    local dir=$1 suites=$2 rust=$3 host=$4 version architecture multiarch apt names=() wanted library
    shift 4
    multiarch=$(debian_multiarch "$host")
    apt=$dir/apt
    apt_own "$apt" "$suites" "$host" "$@"
    version=$(apt_own_newest "$apt" rustc-web "$rust")
    [[ -n $version ]] || die "$suites: no package rustc-web of Rust $rust"

    for architecture in "$host" "$@"; do
        names+=("libstd-rust-web-dev:$architecture=$version")
    done
    # Asked of apt, not listed: their names change from release to release.
    # Never the C library: it has to fit the system's own loader.
    names+=("libstd-rust-web-$rust=$version")

    local tools=("rustc-web=$version" "cargo-web=$version") tool
    # Where the same version has them, to check mab's own code with.
    for tool in rustfmt-web rust-web-clippy; do
        [[ $(apt_own_newest "$apt" "$tool" "$rust") != "$version" ]] || tools+=("$tool=$version")
    done
    wanted=$(apt_own_run "$apt" apt-get -s -qq --no-install-recommends install "${tools[@]}") \
        || die "apt-get cannot tell which libraries these want: ${tools[*]}"
    while read -r library; do names+=("$library"); done < <(
        awk '$1 == "Inst" && $2 ~ /^lib/ && $2 !~ /-dev$|^libstd-rust|^libc6|^libc-|^libgcc|^libstdc/ { print $2 }' \
            <<<"$wanted"
    )
    names+=("${tools[@]}")
    say "unpacking Rust $version: ${#names[@]} packages"
    apt_own_download "$apt" "${names[@]}"
    local package
    for package in "$apt"/debs/*.deb; do dpkg -x "$package" "$dir"; done
    rm -rf "$apt" "${dir:?}/usr/share"
    # Some libraries are packed for /lib, which on systems is a link to /usr/lib.
    if [[ -d $dir/lib ]]; then
        cp -a "$dir/lib/." "$dir/usr/lib/"
        rm -rf "${dir:?}/lib"
    fi
    printf '%s\n' "$version" >"$dir/version"

    # Wrappers know where the prefix will be: they have to work where PATH has nothing else. Until
    # then, and where it was moved, they find it from their own path.
    mkdir -p "$dir/bin"
    for tool in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        [[ -e $dir/usr/bin/$tool ]] || continue
        {
            printf '#!/bin/sh\n'
            printf 'prefix=%q\n' "$MAB_PART_PREFIX"
            # shellcheck disable=SC2016
            printf '[ -x "$prefix/usr/bin/%s" ] || prefix=$(dirname "$(dirname "$(readlink -f "$0")")")\n' "$tool"
            # shellcheck disable=SC2016
            printf 'export LD_LIBRARY_PATH="$prefix/usr/lib/%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n' "$multiarch"
            if [[ $tool == cargo ]]; then
                # shellcheck disable=SC2016
                printf 'export RUSTC="${RUSTC:-$prefix/bin/rustc}" RUSTDOC="${RUSTDOC:-$prefix/bin/rustdoc}"\n'
            fi
            # shellcheck disable=SC2016
            printf 'exec "$prefix/usr/bin/%s" "$@"\n' "$tool"
        } >"$dir/bin/$tool"
        chmod 755 "$dir/bin/$tool"
    done
    "$dir/bin/cargo" --version >/dev/null
    "$dir/bin/rustc" --version >/dev/null
}

rust_cross_make() {
    local host others=() architecture
    host=$(dpkg --print-architecture)
    for architecture in amd64 arm64 armhf i386 s390x ppc64el; do
        [[ $architecture == "$host" ]] || others+=("$architecture")
    done
    rust_unpack "$1" "$MAB_SUITE" "$MAB_CROSS_RUST" "$host" "${others[@]}"
    local target
    for target in "${MAB_RUST_TARGETS[@]}"; do
        rust_has_target "$1/bin/rustc" "$target" || die "the unpacked Rust has no std for $target"
    done
}
rust_cross_hash() { part_hash rust_cross_make "$MAB_SUITE $MAB_CROSS_RUST" "$(declare -f rust_unpack)"; }

# The prefix with the five targets; fails when it is not made.
rust_prefix() { part_find rust "$(rust_cross_hash)"; }
ensure_rust() {
    part_make rust "$(rust_cross_hash)" \
        "unpacking Rust $MAB_CROSS_RUST with the standard library of every platform (packages of $MAB_SUITE, about 200 MB to download) into $MAB_TESTBED/rust" \
        rust_cross_make
}

rust_host_make() { rust_unpack "$1" "$MAB_SUITE-security $MAB_SUITE" "$MAB_HOST_RUST" "$(dpkg --print-architecture)"; }
rust_host_hash() { part_hash rust_host_make "$MAB_SUITE $MAB_HOST_RUST" "$(declare -f rust_unpack)"; }

rust_path_cargo_is_new() {
    local version
    have cargo && have rustc || return 1
    version=$(cargo --version 2>/dev/null | awk '{ print $2 }') || return 1
    [[ -n $version ]] && version_at_least "$version" "$MAB_RUST_MINIMUM"
}

# Makes `cargo` on PATH one that can build mab.
ensure_host_rust() {
    rust_path_cargo_is_new && return 0
    local prefix
    if ! part_find host-rust "$(rust_host_hash)" >/dev/null; then
        have dpkg && apt_stanza "$MAB_SUITE-security" >/dev/null \
            || die "mab needs cargo $MAB_RUST_MINIMUM or newer on PATH" "With rustup: rustup update stable"
        part_make host-rust "$(rust_host_hash)" \
            "unpacking Rust $MAB_HOST_RUST (packages of $MAB_SUITE-security, about 100 MB to download) into $MAB_TESTBED/host-rust, because PATH has no cargo $MAB_RUST_MINIMUM or newer" \
            rust_host_make
    fi
    prefix=$(part_find host-rust "$(rust_host_hash)")
    PATH=$prefix/bin:$PATH
}

# rust_has_target RUSTC TARGET
rust_has_target() {
    local libdir files
    libdir=$("$1" --print target-libdir --target "$2" 2>/dev/null) || return 1
    files=("$libdir"/libstd-*.rlib)
    [[ -e ${files[0]} ]]
}

rust_missing_targets() {
    local target
    for target in "${MAB_RUST_TARGETS[@]}"; do
        rust_has_target rustc "$target" || printf '%s\n' "$target"
    done
}

# Makes `cargo` on PATH one that has the standard library of the five platforms:
# what is on PATH, else what rustup can add to it, else the prefix.
ensure_rust_targets() {
    local missing=() prefix
    if have rustc && have cargo; then
        mapfile -t missing < <(rust_missing_targets)
        [[ ${#missing[@]} -eq 0 ]] && return 0
    fi
    if prefix=$(rust_prefix); then
        PATH=$prefix/bin:$PATH
        return 0
    fi
    if have rustup && [[ ${#missing[@]} -gt 0 ]]; then
        say "adding targets with rustup: ${missing[*]}"
        if timeout 120 rustup target add "${missing[@]}" >&2; then
            mapfile -t missing < <(rust_missing_targets)
            [[ ${#missing[@]} -eq 0 ]] && return 0
        fi
        say "rustup could not add them; taking the distribution's packages"
    fi
    have dpkg && apt_stanza "$MAB_SUITE" >/dev/null \
        || die "no Rust with the standard libraries of: ${missing[*]:-the five platforms}" \
            "With rustup: rustup target add ${missing[*]:-${MAB_RUST_TARGETS[*]}}"
    ensure_rust
    PATH=$(rust_prefix)/bin:$PATH
}

# --- mab's own code for arm64, to be run under QEMU ---------------------------

rust_arm64_make() {
    rust_unpack "$1" "$MAB_SUITE-security $MAB_SUITE" "$MAB_HOST_RUST" "$(dpkg --print-architecture)" arm64
}
rust_arm64_hash() { part_hash rust_arm64_make "$MAB_SUITE $MAB_HOST_RUST" "$(declare -f rust_unpack)"; }

# arm64_cargo COMMAND…: cargo of the host with a compiler that has arm64's
# standard library: the host's own where it has it, else unpacked packages.
arm64_cargo() {
    local target=aarch64-unknown-linux-gnu rustc=rustc
    ensure_host_rust
    if ! rust_has_target rustc "$target"; then
        part_make rust-arm64 "$(rust_arm64_hash)" \
            "unpacking Rust $MAB_HOST_RUST with arm64's standard library (packages of $MAB_SUITE-security, about 130 MB to download) into $MAB_TESTBED/rust-arm64" \
            rust_arm64_make
        rustc=$(part_find rust-arm64 "$(rust_arm64_hash)")/bin/rustc
    fi
    RUSTC=$rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc cargo "$@" --target "$target"
}
