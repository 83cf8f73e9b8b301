# shellcheck shell=bash
# Root filesystems of a Debian with dpkg and apt for five platforms, as gzipped
# tars: its essential packages, unpacked and noted as installed, so that packages
# can be installed on top. To be sourced after bases.sh.

MAB_DEBIAN_PACKAGES="?essential apt passwd adduser"

# Notes a package in dpkg's database as installed.
debian_note() {
    local root=$1 package=$2 control=$3 name info
    mkdir "$control"
    dpkg-deb -e "$package" "$control"
    name=$(sed -n 's/^Package: //p' "$control/control")
    ! grep -q '^Multi-Arch: same' "$control/control" || name+=:$(sed -n 's/^Architecture: //p' "$control/control")
    sed 's/^\(Package: .*\)/\1\nStatus: install ok installed/' "$control/control" >>"$root/var/lib/dpkg/status"
    echo >>"$root/var/lib/dpkg/status"
    info=$root/var/lib/dpkg/info/$name
    dpkg-deb --fsys-tarfile "$package" | tar -tf - | sed 's|^\.||; s|/$||; s|^$|/.|' >"$info.list"
    for file in md5sums preinst postinst prerm postrm triggers templates config shlibs symbols; do
        [[ ! -e $control/$file ]] || cp -p "$control/$file" "$info.$file"
    done
    rm -r "$control"
}

debian_make() {
    local dir=$1 name debian apt root package words
    read -ra words <<<"${MAB_DEBIAN_PACKAGES//$'\n'/ }"
    for name in $(bases_names); do
        debian=$(bases_field "$name" 3)
        apt=$dir/apt-$name
        apt_own "$apt" "$MAB_SUITE" "$debian"
        apt_own_run "$apt" timeout "$MAB_DOWNLOAD_TIMEOUT" apt-get install -qq --yes --download-only --no-install-recommends \
            -o Dir::State::status=/dev/null -o Debug::NoLocking=1 "${words[@]}" >/dev/null \
            || die "the packages of a Debian for $debian could not be fetched"
        root=$dir/root
        mkdir -m 755 "$root"
        for package in "$apt"/cache/archives/*.deb; do
            dpkg -x "$package" "$root"
        done
        mkdir -p "$root"/var/lib/dpkg/{info,updates,triggers} "$root"/var/cache/apt/archives/partial
        for package in "$apt"/cache/archives/*.deb; do
            debian_note "$root" "$package" "$dir/control"
        done
        : >"$root/var/lib/dpkg/available"
        printf '%s\n' "$debian" >"$root/var/lib/dpkg/arch-native"
        printf '1\n' >"$root/var/lib/dpkg/info/format"
        bases_finish "$root"
        printf 'root:*::0:99999:7:::\n' >"$root/etc/shadow"
        chmod 640 "$root/etc/shadow"
        bases_merge "$root"
        bases_tar "$root" "$dir/$name.tar.gz"
        chmod -R u+rwX "$root"
        rm -rf "$root" "$apt"
    done
}
debian_hash() {
    part_hash debian_make "$MAB_SUITE" "$MAB_BASES" "$MAB_DEBIAN_PACKAGES" "$MAB_BASE_TIME" \
        "$(declare -f bases_tar bases_finish bases_merge debian_note)"
}
debian_dir() { part_find debian "$(debian_hash)"; }
ensure_debian() {
    part_make debian "$(debian_hash)" \
        "unpacking a Debian with apt for five platforms (packages of $MAB_SUITE, about 250 MB to download) into $MAB_TESTBED/debian" \
        debian_make
}

# debian_mirror DIRECTORY: what apt in an image wants to fetch from this machine's mirror,
# as an APT_CONFIG for /mnt/apt.
debian_mirror() {
    mkdir -p "$1/sources"
    apt_stanza "$MAB_SUITE" >"$1/sources/mirror.sources"
    {
        apt-config dump | grep '^Acquire' || true
        printf 'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "/mnt/apt/sources";\n'
        printf 'Acquire::Languages "none";\nAcquire::Retries "2";\n'
    } >"$1/apt.conf"
    chmod -R a+rX "$1"
}
