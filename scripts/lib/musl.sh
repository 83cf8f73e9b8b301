# shellcheck shell=bash
# musl: its headers and archive for five platforms with a GCC for each, and a
# Rust whose standard library knows it. To be sourced after apt.sh and rust.sh.
#
# People have `rustup target add x86_64-unknown-linux-musl` and musl.cc's
# compilers or musl-tools. Where neither can be fetched, these are made from the
# distribution's packages, under the same names and in the same places, so that
# mab sees nothing but ordinary tools:
#
#   musl         bin/<machine>-linux-<musl…>-gcc: the cross GCC with musl's
#                headers and libraries (what musl-gcc is for the machine's own)
#   rust-musl    the part rust with a std for five musl targets, each with start
#                files and libc.a as rustup's have them

# NAME RUST-TARGET GCC-PREFIX MUSL-PREFIX DEBIAN'S-DIRECTORY
MAB_MUSL="
amd64   x86_64-unknown-linux-musl       x86_64-linux-gnu      x86_64-linux-musl      x86_64-linux-musl
arm64   aarch64-unknown-linux-musl      aarch64-linux-gnu     aarch64-linux-musl     aarch64-linux-musl
armv7   armv7-unknown-linux-musleabihf  arm-linux-gnueabihf   arm-linux-musleabihf   arm-linux-musleabihf
s390x   s390x-unknown-linux-musl        s390x-linux-gnu       s390x-linux-musl       s390x-linux-musl
ppc64le powerpc64le-unknown-linux-musl  powerpc64le-linux-gnu powerpc64le-linux-musl powerpc64le-linux-musl
"
musl_field() { awk -v name="$1" -v field="$2" '$1 == name { print $field }' <<<"$MAB_MUSL"; }
musl_targets() { awk 'NF { print $2 }' <<<"$MAB_MUSL"; }

# What musl's own musl-gcc.specs says, with paths that follow the prefix.
musl_specs() {
    cat <<'SPECS'
%rename cpp_options mab_cpp_options
%rename cc1 mab_cc1

*cpp_options:
-nostdinc -isystem %:getenv(MAB_MUSL_ROOT /include) -isystem include%s %(mab_cpp_options)

*cc1:
%(mab_cc1) -nostdinc -isystem %:getenv(MAB_MUSL_ROOT /include) -isystem include%s

*link_libgcc:
-L%:getenv(MAB_MUSL_ROOT /lib) -L .%s

*libgcc:
libgcc.a%s %:if-exists(libgcc_eh.a%s)

*startfile:
%{static-pie:%:getenv(MAB_MUSL_ROOT /lib/rcrt1.o);!shared:%:getenv(MAB_MUSL_ROOT /lib/Scrt1.o)} %:getenv(MAB_MUSL_ROOT /lib/crti.o) crtbeginS.o%s

*endfile:
crtendS.o%s %:getenv(MAB_MUSL_ROOT /lib/crtn.o)

*link:
-nostdlib %{shared:-shared} %{static:-static} %{static-pie:-static -pie --no-dynamic-linker -z text} %{pie:-pie} %{rdynamic:-export-dynamic}

*esp_link:


*esp_options:


*esp_cpp_options:


SPECS
}

# The unwinder of a GCC that was made for glibc 2.35 or newer asks the C library where code lies
# by a function that musl has not. And it takes glibc's word that a program with threads has all
# of their functions; in musl each is in a file of its own.
musl_unwinder() {
    cat <<'C'
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>

void *const unwinder_calls[] = {pthread_once, pthread_key_create, pthread_getspecific, pthread_setspecific,
    pthread_mutex_lock, pthread_mutex_unlock};

struct found {
    unsigned long long flags;
    void *start, *end;
    struct link_map *map;
    void *eh_frame;
    unsigned long long reserved[7];
};
struct search {
    ElfW(Addr) code;
    struct found *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *data) {
    struct search *search = data;
    int here = 0;
    void *eh_frame = 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        ElfW(Addr) start = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_GNU_EH_FRAME) eh_frame = (void *)start;
        if (part->p_type == PT_LOAD && search->code >= start && search->code - start < part->p_memsz) {
            here = 1;
            search->found->start = (void *)start;
            search->found->end = (void *)(start + part->p_memsz);
        }
    }
    search->found->eh_frame = eh_frame;
    return here && eh_frame;
}

int _dl_find_object(void *code, struct found *found) {
    struct search search = {(ElfW(Addr))code, found};
    return dl_iterate_phdr(look, &search) ? 0 : -1;
}
C
}

musl_make() {
    local dir=$1 apt=$1/apt name host others=() debian names=() gcc musl root tool headers flags
    host=$(dpkg --print-architecture)
    for name in $(bases_names); do
        debian=$(bases_field "$name" 3)
        [[ $debian == "$host" ]] || others+=("$debian")
        names+=("musl:$debian" "musl-dev:$debian")
    done
    apt_own "$apt" "$MAB_SUITE" "$host" "${others[@]}"
    apt_own_download "$apt" "${names[@]}"
    mkdir -p "$dir/bin"
    musl_specs >"$dir/musl.specs"
    for name in $(bases_names); do
        debian=$(bases_field "$name" 3)
        gcc=$(musl_field "$name" 3)
        musl=$(musl_field "$name" 4)
        root=$dir/$name
        mkdir -p "$root/unpacked"
        for debian in "$apt"/debs/*_"$debian".deb; do dpkg -x "$debian" "$root/unpacked"; done
        mv "$root/unpacked/usr/include/$(musl_field "$name" 5)" "$root/include"
        mv "$root/unpacked/usr/lib/$(musl_field "$name" 5)" "$root/lib"
        rm -rf "$root/unpacked"
        # The kernel's headers belong to no C library, and C programs want them.
        for headers in linux asm-generic asm mtd; do
            for tool in "/usr/$gcc/include/$headers" "/usr/include/$gcc/$headers" "/usr/include/$headers"; do
                if [[ -d $tool ]]; then ln -s "$tool" "$root/include/$headers"; break; fi
            done
        done
        # Where musl was made with another long double than the GCC has.
        flags=
        if [[ $name == ppc64le ]]; then flags=' -mlong-double-64'; fi
        {
            # shellcheck disable=SC2016
            printf '#!/bin/sh\nprefix=$(dirname "$(dirname "$(readlink -f "$0")")")\n'
            # shellcheck disable=SC2016
            printf 'export MAB_MUSL_ROOT="$prefix/%s"\n' "$name"
            # shellcheck disable=SC2016
            printf 'exec %s-gcc -specs "$prefix/musl.specs"%s "$@"\n' "$gcc" "$flags"
        } >"$dir/bin/$musl-gcc"
        chmod 755 "$dir/bin/$musl-gcc"
        for tool in ar ranlib; do ln -s "$(command -v "$gcc-$tool")" "$dir/bin/$musl-$tool"; done
        # Rust asks for the unwinder by the name that LLVM's has.
        cp "$("$gcc-gcc" -print-file-name=libgcc_eh.a)" "$root/lib/libunwind.a"
        musl_unwinder >"$dir/x.c"
        "$dir/bin/$musl-gcc" -O2 -fPIC -c -o "$dir/find_object.o" "$dir/x.c"
        "$gcc-ar" q "$root/lib/libunwind.a" "$dir/find_object.o"
        printf 'int main(void) { return 0; }\n' >"$dir/x.c"
        "$dir/bin/$musl-gcc" -static -o "$dir/x" "$dir/x.c"
    done
    rm -rf "$apt" "$dir/x" "$dir/x.c" "$dir/find_object.o"
}
musl_hash() { part_hash musl_make "$MAB_SUITE" "$MAB_MUSL" "$MAB_BASES" "$(declare -f musl_specs musl_unwinder)"; }
musl_prefix() { part_find musl "$(musl_hash)"; }
ensure_musl() {
    ensure_packages_compilers
    part_make musl "$(musl_hash)" \
        "unpacking musl for five platforms (packages of $MAB_SUITE, about 4 MB to download) into $MAB_TESTBED/musl" musl_make
}

# rust_moved DIRECTORY PREFIX: wrappers of a copy of a Rust, which else call the one that they
# were made for.
rust_moved() {
    local prefix
    prefix=$(printf '%q' "$2")
    # Its files may be links to the other's: sed replaces them.
    sed -i "s|^prefix=/.*|prefix=${prefix//|/\\|}|" "$1"/bin/*
}

# The standard library comes out of cargo's -Zbuild-std and the package of
# rustc's sources. Its own dependencies come from the crates' registry. What was
# compiled is kept in a directory of its own until the part is whole: it takes
# about ten minutes of a processor, and a busy machine may need several tries.
rust_musl_make() {
    local dir=$1 musl=$2 rust=$3 version host name target libraries gcc file own
    local work=$MAB_TESTBED/.work-rust-musl
    host=$(dpkg --print-architecture)
    version=$(<"$rust/version")
    if [[ $(cat "$work/ready" 2>/dev/null) != "$version" ]]; then
        rm -rf "$work"
        mkdir -p "$work/empty/src" "$work/toolchain/usr/lib/rustlib/src"
        cp -al "$rust/." "$work/toolchain/" 2>/dev/null || cp -a "$rust/." "$work/toolchain/"
        rust_moved "$work/toolchain" "$work/toolchain"
        apt_own "$work/apt" "$MAB_SUITE" "$host"
        apt_own_download "$work/apt" "rust-web-src=$version"
        dpkg -x "$work"/apt/debs/*.deb "$work/sources"
        mv "$work"/sources/usr/src/rustc-* "$work/toolchain/usr/lib/rustlib/src/rust"
        printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n' >"$work/empty/Cargo.toml"
        : >"$work/empty/src/lib.rs"
        # As Rust's own build does it: cargo compiles the crate that aborts like all others, and no program
        # whose profile says so could be linked with it.
        cat >"$work/rustc" <<'WRAPPER'
#!/bin/sh
case " $* " in *" --crate-name panic_abort "*) set -- "$@" -Cpanic=abort ;; esac
exec "$@"
WRAPPER
        chmod 755 "$work/rustc"
        printf '%s\n' "$version" >"$work/ready"
    fi
    # Bitcode: for programs that are linked with lto.
    for target in $(musl_targets); do
        (cd "$work/empty" && PATH=$work/toolchain/bin:$PATH RUSTC_BOOTSTRAP=1 CARGO_HOME=$work/cargo CARGO_INCREMENTAL=0 \
            RUSTC_WRAPPER=$work/rustc RUSTFLAGS="-Cembed-bitcode=yes -Ctarget-feature=+crt-static --remap-path-prefix=$work/toolchain/usr/lib/rustlib/src/rust=/rustc/$version --remap-path-prefix=$work/cargo=/rustc/$version/vendor" \
            timeout 3600 cargo build -q --release --target "$target" -Zbuild-std=std,panic_abort,panic_unwind) >&2
    done
    cp -al "$rust/." "$dir/" 2>/dev/null || cp -a "$rust/." "$dir/"
    rust_moved "$dir" "$dir"
    for name in $(bases_names); do
        target=$(musl_field "$name" 2)
        gcc=$(musl_field "$name" 3)
        libraries=$dir/usr/lib/rustlib/$target/lib
        own=$libraries/self-contained
        mkdir -p "$own"
        for file in "$work/empty/target/$target"/release/deps/*.rlib; do
            [[ $(basename "$file") == libempty-* ]] || cp "$file" "$libraries/"
        done
        for file in crt1.o rcrt1.o Scrt1.o crti.o crtn.o libc.a libunwind.a; do cp "$musl/$name/lib/$file" "$own/"; done
        for file in crtbegin.o crtbeginS.o crtend.o crtendS.o; do cp "$("$gcc-gcc" -print-file-name=$file)" "$own/"; done
        rust_has_target "$dir/bin/rustc" "$target" || die "no std was made for $target"
    done
    rust_moved "$dir" "$MAB_PART_PREFIX"
    rm -rf "$work"
}
rust_musl_hash() { part_hash rust_musl_make "$(rust_cross_hash)" "$(musl_hash)" "$(declare -f rust_moved)"; }
rust_musl_prefix() { part_find rust-musl "$(rust_musl_hash)"; }
ensure_rust_musl() {
    part_find rust-musl "$(rust_musl_hash)" >/dev/null && return 0
    ensure_rust
    ensure_musl
    part_make rust-musl "$(rust_musl_hash)" \
        "building Rust $MAB_CROSS_RUST's standard library for five musl targets into $MAB_TESTBED/rust-musl (some minutes)" \
        rust_musl_make "$(musl_prefix)" "$(rust_prefix)"
}
