# shellcheck shell=bash
# Root filesystems of a small Debian for five platforms, as gzipped tars: what a
# base image's single layer holds. To be sourced after testbed.sh and apt.sh.
#
#   plain/ARCHITECTURE.tar.gz   /bin, /sbin, /lib are directories
#   merged/ARCHITECTURE.tar.gz  they are links into /usr, as in current images:
#                               /bin, /sbin, /lib64 relative, /lib absolute

# Names of the tars, with the platform and Debian's name of each.
MAB_BASES="
amd64   linux/amd64   amd64   x86_64
arm64   linux/arm64   arm64   aarch64
armv7   linux/arm/v7  armhf   armv7l
s390x   linux/s390x   s390x   s390x
ppc64le linux/ppc64le ppc64el ppc64le
"
bases_names() { awk 'NF { print $1 }' <<<"$MAB_BASES"; }
bases_field() { awk -v name="$1" -v field="$2" '$1 == name { print $field }' <<<"$MAB_BASES"; }
bases_platform() { bases_field "$1" 2; }
# What `uname -m` prints on it.
bases_machine() { bases_field "$1" 4; }

MAB_BASE_PACKAGES="libc6 libgcc-s1 libstdc++6 base-files base-passwd dash coreutils
    libselinux1 libacl1 libattr1 libpcre2-8-0 libgmp10 libssl3 zlib1g"
MAB_BASE_PACKAGES_ALL="ca-certificates" # the same for every architecture

# All files get one time: the tars are the same for the same packages.
MAB_BASE_TIME='2024-01-01T00:00:00Z'

bases_tar() {
    tar -C "$1" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
        --mtime="$MAB_BASE_TIME" -cf - . | gzip -n -6 >"$2"
}

# What the packages' installation scripts would have made.
bases_finish() {
    local root=$1
    [[ -e $root/bin/sh ]] || ln -s dash "$root/bin/sh"
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    mkdir -p "$root"/{tmp,var/tmp,root,proc,sys,dev,run,etc/ssl/certs}
    if [[ -d $root/usr/share/ca-certificates/mozilla ]]; then
        cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
    fi
    rm -rf "$root"/usr/share/{doc,man,locale,lintian,info}
    chmod 1777 "$root/tmp" "$root/var/tmp"
    chmod 700 "$root/root"
}

bases_merge() {
    local root=$1 name target
    for name in bin sbin lib lib64; do
        [[ -d $root/$name && ! -L $root/$name ]] || continue
        mkdir -p "$root/usr/$name"
        cp -a "$root/$name/." "$root/usr/$name/"
        rm -rf "${root:?}/$name"
        target=usr/$name
        [[ $name == lib ]] && target=/usr/lib
        ln -s "$target" "$root/$name"
    done
}

bases_make() {
    local dir=$1 host name debian apt=$1/apt names=("$MAB_BASE_PACKAGES_ALL") package root others=()
    host=$(dpkg --print-architecture)
    for name in $(bases_names); do
        debian=$(bases_field "$name" 3)
        [[ $debian == "$host" ]] || others+=("$debian")
    done
    apt_own "$apt" "$MAB_SUITE" "$host" "${others[@]}"
    for name in $(bases_names); do
        for package in $MAB_BASE_PACKAGES; do
            names+=("$package:$(bases_field "$name" 3)")
        done
    done
    apt_own_download "$apt" "${names[@]}"
    mkdir -p "$dir"/{plain,merged}
    for name in $(bases_names); do
        root=$dir/root-$name
        mkdir -m 755 "$root"
        for package in "$apt"/debs/*_"$(bases_field "$name" 3)".deb "$apt"/debs/*_all.deb; do
            dpkg -x "$package" "$root"
        done
        bases_finish "$root"
        bases_tar "$root" "$dir/plain/$name.tar.gz"
        bases_merge "$root"
        bases_tar "$root" "$dir/merged/$name.tar.gz"
        chmod -R u+rwX "$root"
        rm -rf "$root"
    done
    rm -rf "$apt"
}
bases_hash() {
    part_hash bases_make "$MAB_SUITE" "$MAB_BASES" "$MAB_BASE_PACKAGES $MAB_BASE_PACKAGES_ALL" "$MAB_BASE_TIME" \
        "$(declare -f bases_tar bases_finish bases_merge)"
}
bases_dir() { part_find bases "$(bases_hash)"; }
ensure_bases() {
    part_make bases "$(bases_hash)" \
        "unpacking a small Debian base for five platforms (packages of $MAB_SUITE, about 60 MB to download) into $MAB_TESTBED/bases" \
        bases_make
}

# musl for the host: the root file system of a base (root/) with musl's loader and
# a shell linked against it, and what compiles against musl (sdk/).
musl_base_make() {
    local dir=$1 apt=$1/apt host package
    host=$(dpkg --print-architecture)
    apt_own "$apt" "$MAB_SUITE" "$host"
    apt_own_download "$apt" musl musl-dev
    mkdir -p "$dir"/{root,sdk}
    for package in "$apt"/debs/musl_*.deb; do dpkg -x "$package" "$dir/root"; done
    for package in "$apt"/debs/*.deb; do dpkg -x "$package" "$dir/sdk"; done
    rm -rf "$apt" "$dir/root/usr/share"
    mkdir -p "$dir/root"/{etc,tmp,usr/bin}
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/root/etc/passwd"
    printf 'root:x:0:\n' >"$dir/root/etc/group"
}
musl_base_hash() { part_hash musl_base_make "$MAB_SUITE"; }
musl_base_dir() { part_find musl-base "$(musl_base_hash)"; }
ensure_musl_base() {
    part_make musl-base "$(musl_base_hash)" "unpacking musl and its headers into $MAB_TESTBED/musl-base" musl_base_make
}
