# shellcheck shell=bash
# Development packages of other architectures, each in a directory of its own:
# what PKG_CONFIG_SYSROOT_DIR_<target> names. To be sourced after apt.sh and
# bases.sh. The C library is not in them: the linker has its own.

MAB_SYSROOT_PACKAGES="libssl-dev libssl3"

sysroots_make() {
    local dir=$1 apt=$1/apt name host others=() debian names=() package
    host=$(dpkg --print-architecture)
    for name in $(bases_names); do
        debian=$(bases_field "$name" 3)
        [[ $debian == "$host" ]] || others+=("$debian")
        for package in $MAB_SYSROOT_PACKAGES; do names+=("$package:$debian"); done
    done
    apt_own "$apt" "$MAB_SUITE" "$host" "${others[@]}"
    apt_own_download "$apt" "${names[@]}"
    for name in $(bases_names); do
        mkdir "$dir/$name"
        for package in "$apt"/debs/*_"$(bases_field "$name" 3)".deb; do dpkg -x "$package" "$dir/$name"; done
        rm -rf "$dir/$name/usr/share/doc"
    done
    rm -rf "$apt"
}
sysroots_hash() { part_hash sysroots_make "$MAB_SUITE" "$MAB_BASES" "$MAB_SYSROOT_PACKAGES"; }
sysroots_dir() { part_find sysroots "$(sysroots_hash)"; }
ensure_sysroots() {
    part_make sysroots "$(sysroots_hash)" \
        "unpacking OpenSSL's development packages of five platforms (about 12 MB to download) into $MAB_TESTBED/sysroots" \
        sysroots_make
}
