# shellcheck shell=bash
# What scripts/toolchain-matrix and tests/e2e-full/toolchains.sh do for one cell. To
# be sourced after all.sh, services.sh and bench.sh.

# In the repository: what took hours on one machine is known on the next.
MAB_MATRIX_STATE=${MAB_MATRIX_STATE:-$MAB_ROOT/testdata/results/matrix.tsv}
# A cell that takes longer is "not tried".
MAB_MATRIX_LIMIT=${MAB_MATRIX_LIMIT:-900}

# In the order of the table, quick ones first.
matrix_programs() {
    printf '%s\n' go-plain plain go-sqlite sqlite ring zlib zstd cxx bindgen jemalloc libgit2 openssl-system aws-lc \
        openssl-vendored
}

# Why a cell cannot be had, or nothing.
matrix_not_had() { # PROGRAM COMPILER LIBC
    case $1/$2/$3 in
        cxx/gcc/musl) echo "no libstdc++ for musl among the distribution's packages" ;;
        openssl-system/*/musl) echo "no OpenSSL for musl among the distribution's packages" ;;
    esac
}

# Another hash for another program or other compilers. mab itself is not in it:
# after a change to what it does for compilers, --again.
matrix_key() { # PROGRAM LIBC
    {
        (cd "testdata/matrix/$1" && find . -type f -not -path './target/*' | sort | xargs sha256sum)
        if [[ $2 == musl ]]; then rust_musl_hash; else rust_cross_hash; fi
        zig_hash
        sysroots_hash
    } | sha256sum | cut -c 1-16
}

# Makes what all cells share. Sets MAB, REGISTRY and the directories.
matrix_prepare() {
    ensure_packages_compilers
    ensure_packages_cxx
    ensure_packages_tools
    ensure_bases
    ensure_rust
    ensure_zig
    ensure_sysroots
    ensure_go
    ensure_peer crane
    MAB=${MAB_MATRIX_MAB:-}
    if [[ -z $MAB ]]; then bench_mab; fi
    services_begin
    start_registry matrix
    push_base "$REGISTRY/base/debian:merged" merged >/dev/null
    register_binfmt
    start_docker
    # Kept: what has been fetched need not be again.
    matrix_home=$MAB_TESTBED/matrix-home
    mkdir -p "$matrix_home" "$(dirname "$MAB_MATRIX_STATE")"
    touch "$MAB_MATRIX_STATE"
}

# matrix_tools DIRECTORY [NO-CC]: /usr/bin without the cross compilers, and
# without the machine's own too.
matrix_tools() {
    [[ ! -d $1 ]] || return 0
    mkdir -p "$1"
    # One process for thousands of links.
    cp -s /usr/bin/* "$1/" 2>/dev/null || true
    rm -f "$1"/*-linux-gnu*-g* "$1"/*-linux-musl*-g* "$1/zig" "$1/musl-gcc" "$1"/clang*
    [[ -z ${2:-} ]] || rm -f "$1"/{gcc,cc,g++,c++}
}

# The PATH of a cell.
matrix_path() { # PROGRAM COMPILER LIBC
    local go path
    go=$(dirname "$(readlink -f "$(command -v go)")")
    case $3 in
        glibc) path=$(rust_prefix)/bin:$go ;;
        musl) path=$(rust_musl_prefix)/bin:$go ;;
    esac
    case $1/$2/$3 in
        */gcc/glibc) printf '%s\n' "$path:/usr/bin:/bin" ;;
        */gcc/musl) printf '%s\n' "$path:$(musl_prefix)/bin:/usr/bin:/bin" ;;
        # Go takes the machine's own compiler where there is one.
        go-*/zig/*)
            matrix_tools "$MAB_RUN/no-cc" NO-CC
            printf '%s\n' "$path:$(zig_prefix)/bin:$MAB_RUN/no-cc"
            ;;
        *)
            matrix_tools "$MAB_RUN/no-cross"
            printf '%s\n' "$path:$(zig_prefix)/bin:$MAB_RUN/no-cross"
            ;;
    esac
}

# Variables of a cell or a published program, one a line: where the system's OpenSSL of each platform is.
matrix_environment() { # PROGRAM
    local name target sysroots
    case $1 in openssl-system | sccache) ;; *) return 0 ;; esac
    sysroots=$(sysroots_dir)
    for name in $(bases_names); do
        target=$(matrix_target "$name")
        printf '%s\n' "PKG_CONFIG_SYSROOT_DIR_${target//-/_}=$sysroots/$name"
    done
}
matrix_target() {
    case $1 in
        amd64) echo x86_64-unknown-linux-gnu ;;
        arm64) echo aarch64-unknown-linux-gnu ;;
        armv7) echo armv7-unknown-linux-gnueabihf ;;
        ppc64le) echo powerpc64le-unknown-linux-gnu ;;
        *) echo "$1-unknown-linux-gnu" ;;
    esac
}

# The build file of a cell, whose base is a Debian or the built-in one.
matrix_build_file() { # PROGRAM COMPILER LIBC
    local source platforms
    case $1/$2/$3 in
        # C is compiled as quickly as can be.
        go-*) source='go: {path: ., env: {CGO_CFLAGS: "-O0"}}' ;;
        # The base's own libraries want the base's own glibc.
        openssl-system/zig/glibc) source='rust: {path: ., glibc: "2.36"}' ;;
        # What makes mab take zig although there may be another linker.
        */zig/glibc) source='rust: {path: ., glibc: "2.32"}' ;;
        *) source='rust: {path: .}' ;;
    esac
    platforms=$(for name in $(bases_names); do bases_platform "$name"; done | paste -sd, -)
    printf 'version: 1\nimage: %s\ntags: [latest]\nplatforms: [%s]\n' "$REGISTRY/matrix/$1-$2-$3" "$platforms"
    case $3 in
        glibc) printf 'base: %s\n' "$REGISTRY/base/debian:merged" ;;
        musl) printf 'base: static\n' ;;
    esac
    printf 'binaries:\n  - %s\n    to: /usr/bin/app\n' "$source"
}

matrix_has() { # PROGRAM COMPILER LIBC NAME
    awk -F '\t' -v p="$1" -v c="$2" -v l="$3" -v n="$4" -v k="$(matrix_key "$1" "$3")" '
        $1 == p && $2 == c && $3 == l && $4 == n && $5 == k { found = 1 }
        END { exit !found }' "$MAB_MATRIX_STATE"
}
matrix_forget() { # PROGRAM COMPILER LIBC [NAME]
    awk -F '\t' -v p="$1" -v c="$2" -v l="$3" -v n="${4:-}" \
        '!($1 == p && $2 == c && $3 == l && (n == "" || $4 == n))' "$MAB_MATRIX_STATE" >"$MAB_MATRIX_STATE.new"
    mv "$MAB_MATRIX_STATE.new" "$MAB_MATRIX_STATE"
}
matrix_put() { # PROGRAM COMPILER LIBC NAME STATUS SECONDS DETAIL
    matrix_forget "$1" "$2" "$3" "$4"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$(matrix_key "$1" "$3")" "$5" "$6" "$7" >>"$MAB_MATRIX_STATE"
    LC_ALL=C sort -o "$MAB_MATRIX_STATE" "$MAB_MATRIX_STATE"
    printf '%-17s %-4s %-5s %-8s %-10s %6s s  %s\n' "$1" "$2" "$3" "$4" "$5" "$6" "$7"
}

# matrix_build DIRECTORY PROGRAM COMPILER LIBC SECONDS [OPTION…]: mab, in the
# cell's environment. Its output is in DIRECTORY/log, the reference in DIRECTORY/out.
matrix_build() {
    local dir=$1 program=$2 compiler=$3 libc=$4 seconds=$5 name environment pass=()
    shift 5
    mapfile -t environment < <(matrix_environment "$program")
    for name in GOPROXY GOSUMDB GONOSUMDB GOPRIVATE GOCACHE HTTPS_PROXY HTTP_PROXY NO_PROXY SSL_CERT_FILE; do
        [[ -z ${!name:-} ]] || pass+=("$name=${!name}")
    done
    (cd "$dir" && timeout -k 20 "$seconds" env -i HOME="$matrix_home" LANG=C.UTF-8 TMPDIR="${TMPDIR:-/tmp}" \
        PATH="$(matrix_path "$program" "$compiler" "$libc")" "${pass[@]}" "${environment[@]}" \
        "$MAB" build --push --progress plain --verbose "$@" >out 2>log)
}

# One program with one compiler and one libc, for all platforms that have no result.
matrix_run() { # PROGRAM COMPILER LIBC
    local program=$1 compiler=$2 libc=$3 name names=() reason dir options started seconds
    for name in ${MAB_MATRIX_PLATFORMS:-$(bases_names)}; do
        matrix_has "$program" "$compiler" "$libc" "$name" || names+=("$name")
    done
    [[ ${#names[@]} -gt 0 ]] || return 0
    reason=$(matrix_not_had "$program" "$compiler" "$libc")
    if [[ -n $reason ]]; then
        for name in "${names[@]}"; do matrix_put "$program" "$compiler" "$libc" "$name" not-had 0 "$reason"; done
        return 0
    fi
    if [[ $libc == musl ]]; then ensure_rust_musl; fi
    dir=${MAB_MATRIX_WORK:-$MAB_RUN}/cell-$program
    mkdir -p "$dir"
    cp -r "testdata/matrix/$program/." "$dir/"
    matrix_build_file "$program" "$compiler" "$libc" >"$dir/build.yaml"
    options=()
    for name in "${names[@]}"; do options+=(--platform "$(bases_platform "$name")"); done
    started=$SECONDS
    if matrix_build "$dir" "$program" "$compiler" "$libc" $((MAB_MATRIX_LIMIT * ${#names[@]})) "${options[@]}"; then
        for name in Cargo.lock go.sum; do
            [[ ! -e $dir/$name ]] || cmp "$dir/$name" "testdata/matrix/$program/$name" \
                || die "the lock file of $program is not what it needs"
        done
        seconds=$(((SECONDS - started) / ${#names[@]}))
        for name in "${names[@]}"; do matrix_start "$dir" "$program" "$compiler" "$libc" "$name" "$seconds"; done
    else
        # One platform spoils it for all: which?
        for name in "${names[@]}"; do
            started=$SECONDS
            local status=0
            matrix_build "$dir" "$program" "$compiler" "$libc" "$MAB_MATRIX_LIMIT" --platform "$(bases_platform "$name")" \
                || status=$?
            seconds=$((SECONDS - started))
            case $status in
                0) matrix_start "$dir" "$program" "$compiler" "$libc" "$name" "$seconds" ;;
                124 | 137) matrix_put "$program" "$compiler" "$libc" "$name" not-tried "$seconds" "more than $MAB_MATRIX_LIMIT s" ;;
                130 | 143) exit "$status" ;;
                *)
                    reason=$({ grep -m 1 '^error' "$dir/log" || tail -n 1 "$dir/log"; } | tr '\t' ' ' | cut -c 1-160)
                    matrix_put "$program" "$compiler" "$libc" "$name" failed "$seconds" "$reason"
                    [[ -z ${MAB_MATRIX_WORK:-} ]] || cp "$dir/log" "$MAB_MATRIX_WORK/$program-$compiler-$libc-$name.log"
                    ;;
            esac
        done
    fi
    [[ -z ${MAB_MATRIX_WORK:-} ]] || return 0
    chmod -R u+rwX "$dir"
    rm -rf "$dir"
}

# Starts what was built, on its platform.
matrix_start() { # DIRECTORY PROGRAM COMPILER LIBC NAME SECONDS
    local dir=$1 program=$2 compiler=$3 libc=$4 name=$5 said linker watch
    # The first process of a container does not die of a signal that QEMU sends to itself.
    (exec >/dev/null 2>&1; sleep 120; docker kill "$program-$name") &
    watch=$!
    said=$(DOCKER_RUN_OPTIONS=(--name "$program-$name")
        docker_run "$(<"$dir/out")" "$(bases_platform "$name")" 2>&1) || said+=" (exit code $?)"
    kill "$watch" 2>/dev/null || true
    linker=$(matrix_linker "$dir/log" "$name")
    if [[ $said == "$(<"testdata/matrix/$program/expected")" ]]; then
        matrix_put "$program" "$compiler" "$libc" "$name" ran "$6" "$linker"
    else
        matrix_put "$program" "$compiler" "$libc" "$name" failed "$6" \
            "it said: $(tr '\n\t' '  ' <<<"$said" | cut -c 1-120)"
    fi
}

# What mab says that it linked with: target and linker.
matrix_linker() { # LOG NAME
    local machine
    machine=$(matrix_target "$2")
    sed -n "s/.*\(${machine%%-*}-[a-z0-9_-]*\) is linked by \([^ ,]*\).*/\1 \2/p" "$1" | head -n 1
}

# Writes the table between its markers in docs/toolchains.md.
matrix_table() {
    python3 - "$MAB_MATRIX_STATE" docs/toolchains.md $(matrix_programs) <<'PYTHON'
import sys
state, page, programs = sys.argv[1], sys.argv[2], sys.argv[3:]
cells = {}
for line in open(state):
    program, compiler, libc, name, _, status, _, detail = line.rstrip("\n").split("\t")
    cells[program, compiler, libc, name] = (status, detail)
platforms = [("amd64", "amd64"), ("arm64", "arm64"), ("armv7", "arm/v7"), ("s390x", "s390x"), ("ppc64le", "ppc64le")]
titles = {
    "plain": "no C", "ring": "ring", "aws-lc": "aws-lc-rs", "sqlite": "SQLite (`rusqlite`, bundled)",
    "openssl-vendored": "OpenSSL, vendored", "openssl-system": "OpenSSL of the system", "zlib": "zlib", "zstd": "zstd",
    "jemalloc": "jemalloc", "libgit2": "libgit2", "cxx": "C++", "bindgen": "bindgen",
    "go-plain": "Go without C", "go-sqlite": "Go with C (`go-sqlite3`)",
}
notes, count = [], {"ran": 0, "failed": 0, "not": 0, "open": 0}
def cell(program, compiler, libc, name):
    status, detail = cells.get((program, compiler, libc, name), ("open", ""))
    if status == "open":
        count["open"] += 1
        return "open"
    if status == "ran":
        count["ran"] += 1
        return "ran"
    count["failed" if status == "failed" else "not"] += 1
    if detail not in notes:
        notes.append(detail)
    word = {"failed": "failed", "not-had": "not tried", "not-tried": "not tried"}[status]
    return f"{word} [{notes.index(detail) + 1}]"
order = ["plain", "ring", "aws-lc", "sqlite", "openssl-vendored", "openssl-system", "zlib", "zstd", "jemalloc",
         "libgit2", "cxx", "bindgen", "go-plain", "go-sqlite"]
assert sorted(order) == sorted(programs)
text = []
for libc, title in [("glibc", "With glibc, on Debian 12"), ("musl", "Static, on the built-in base `static`")]:
    text += [f"### {title}", "", "| program | with |" + "".join(f" {title} |" for _, title in platforms),
             "| --- | --- |" + " --- |" * len(platforms)]
    for program in order:
        for compiler, title in [("gcc", "GCC"), ("zig", "zig")]:
            row = "".join(f" {cell(program, compiler, libc, name)} |" for name, _ in platforms)
            text.append(f"| {titles[program]} | {title} |{row}")
    text.append("")
text.append(f"{count['ran']} ran, {count['failed']} failed, {count['not']} not tried, {count['open']} open, of {sum(count.values())}.")
if notes:
    text.append("")
    text += [f"{number + 1}. {note}" for number, note in enumerate(notes)]
old = open(page).read()
begin, end = "<!-- matrix: written by scripts/toolchain-matrix -->", "<!-- end of the matrix -->"
head, rest = old.split(begin)
_, tail = rest.split(end)
new = head + begin + "\n\n" + "\n".join(text) + "\n\n" + end + tail
if new != old:
    open(page, "w").write(new)
print(text[-1 if not notes else -2 - len(notes)])
PYTHON
}
