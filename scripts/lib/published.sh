# shellcheck shell=bash
# Programs that others have published, built unmodified: for scripts/published-programs.
# To be sourced after all.sh, services.sh, bench.sh and matrix.sh.

# NAME LANGUAGE SOURCE VERSION PACKAGE-DIRECTORY BINARY BASE. Rust's are the newest that Rust
# 1.85 compiles; the lock file is the one that was published.
MAB_PUBLISHED="
ripgrep   rust ripgrep    15.2.0 .           rg        static
hexyl     rust hexyl      0.14.0 .           hexyl     static
fd        rust fd-find    10.2.0 .           fd        debian
dufs      rust dufs       0.43.0 .           dufs      static
miniserve rust miniserve  0.29.0 .           miniserve debian
bat       rust bat        0.25.0 .           bat       debian
sccache   rust sccache    0.10.0 .           sccache   debian
crane     go   github.com/google/go-containerregistry v0.22.1 cmd/crane crane static
regctl    go   github.com/regclient/regclient v0.11.7 cmd/regctl regctl static
oras      go   oras.land/oras v1.3.6 cmd/oras  oras  static
hugo      go   github.com/gohugoio/hugo v0.140.2 . hugo debian
"
MAB_PUBLISHED_PLATFORMS="amd64 arm64 armv7"
published_names() { awk 'NF { print $1 }' <<<"$MAB_PUBLISHED"; }
published_field() { awk -v name="$1" -v field="$2" '$1 == name { print $field }' <<<"$MAB_PUBLISHED"; }

# The sources as the registry has them, into a directory; through cargo and go themselves.
published_fetch() { # NAME DIRECTORY
    local name=$1 dir=$2 source version found
    source=$(published_field "$name" 3)
    version=$(published_field "$name" 4)
    case $(published_field "$name" 2) in
        rust)
            mkdir -p "$MAB_RUN/fetch/src"
            printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "src/lib.rs"\n[dependencies]\n%s = "=%s"\n' \
                "$source" "$version" >"$MAB_RUN/fetch/Cargo.toml"
            : >"$MAB_RUN/fetch/src/lib.rs"
            rm -f "$MAB_RUN/fetch/Cargo.lock"
            (cd "$MAB_RUN/fetch" && HOME=$matrix_home CARGO_HOME=$matrix_home/.cargo timeout "$MAB_DOWNLOAD_TIMEOUT" \
                "$(rust_prefix)/bin/cargo" fetch -q >&2)
            found=$(find "$matrix_home"/.cargo/registry/src -maxdepth 2 -name "$source-$version" | head -n 1)
            ;;
        go)
            found=$(cd / && timeout "$MAB_DOWNLOAD_TIMEOUT" go mod download -json "$source@$version" | jq -r .Dir)
            ;;
    esac
    [[ -d $found ]] || die "the sources of $name $version were not found"
    mkdir -p "$dir"
    cp -r "$found/." "$dir/"
    chmod -R u+w "$dir"
}

# What the same compilers make of it without mab, for this machine.
published_native() { # NAME SOURCE RESULT
    local package
    package=$(published_field "$1" 5)
    case $(published_field "$1" 2) in
        rust)
            (cd "$2" && env -i HOME="$matrix_home" PATH="$(matrix_path x gcc glibc)" \
                cargo build -q --release --locked --bin "$(published_field "$1" 6)" --target-dir "$2.target" >&2)
            cp "$2.target/release/$(published_field "$1" 6)" "$3"
            rm -rf "$2.target"
            ;;
        go) (cd "$2/$package" && CGO_ENABLED=0 go build -buildvcs=false -o "$3" . >&2) ;;
    esac
}

published_build_file() { # NAME
    local base platforms name package
    platforms=$(for name in $MAB_PUBLISHED_PLATFORMS; do bases_platform "$name"; done | paste -sd, -)
    base=static
    [[ $(published_field "$1" 7) == static ]] || base=$REGISTRY/base/debian:merged
    package=source/$(published_field "$1" 5)
    printf 'version: 1\nimage: %s\ntags: [latest]\nplatforms: [%s]\nbase: %s\nbinaries:\n' \
        "$REGISTRY/published/$1" "$platforms" "$base"
    case $(published_field "$1" 2) in
        rust) printf '  - rust: {path: source, bin: %s}\n' "$(published_field "$1" 6)" ;;
        go) printf '  - go: %s\n' "${package%/.}" ;;
    esac
    printf '    to: /usr/bin/%s\n' "$(published_field "$1" 6)"
}

# What the tasks work on.
published_data() { # DIRECTORY
    mkdir -p "$1/site/content" "$1/site/layouts/_default"
    printf 'fn main() {\n    println!("needle");\n}\n' >"$1/main.rs"
    printf 'no hay\nneedle one\nneedle two\n' >"$1/hay.txt"
    printf 'title = "T"\nbaseURL = "http://example.com/"\ndisableKinds = ["taxonomy", "term", "RSS", "sitemap"]\n' >"$1/site/hugo.toml"
    printf -- '---\ntitle: Page\n---\n*words*\n' >"$1/site/content/page.md"
    printf '{{ .Title }}: {{ .Content }}\n' >"$1/site/layouts/_default/single.html"
    printf '{{ range .Pages }}{{ .Title }}{{ end }}\n' >"$1/site/layouts/_default/list.html"
    chmod -R a+rX "$1"
}

# published_version NAME RUN…: what it says of itself, but for the platform.
published_version() {
    local name=$1
    shift
    case $(published_field "$name" 2) in
        # Read to its end: Docker fails where nobody listens any more.
        rust) "$@" --version | sed -n 1p ;;
        go) "$@" version | sed 's,linux/[a-z0-9]*,PLATFORM,' ;;
    esac
}

# published_task NAME RUN…: one real task; prints what is to be equal everywhere. RUN is a
# command that runs the program: itself, or Docker with its image. The data are in
# $MAB_RUN/data for both.
published_task() {
    local name=$1 port data=$MAB_RUN/data
    shift
    case $name in
        ripgrep) "$@" --sort path --line-number needle "$data" ;;
        hexyl) "$@" --color never "$data/hay.txt" ;;
        fd) "$@" --color never --extension txt . "$data" ;;
        bat) "$@" --color always --style numbers --paging never --theme GitHub "$data/main.rs" ;;
        miniserve | dufs | hugo)
            port=$(free_port)
            published_serve "$port" "$name" "$@"
            ;;
        # Its server, started and spoken to.
        sccache) "$@" --zero-stats 2>&1 ;;
        crane) "$@" digest --insecure --platform linux/s390x "$REGISTRY/base/debian:merged" ;;
        regctl) "$@" --host "reg=$REGISTRY,tls=disabled" manifest get --format raw-body "$REGISTRY/base/debian:merged" ;;
        oras) "$@" manifest fetch --plain-http "$REGISTRY/base/debian:merged" ;;
    esac
}

# A file out of a server that runs until it has been asked.
published_serve() { # PORT NAME RUN…
    local port=$1 name=$2 pid i status=1 arguments path=/hay.txt
    shift 2
    case $name in
        miniserve) arguments=(--port "$port" --interfaces 127.0.0.1 "$MAB_RUN/data") ;;
        dufs) arguments=(--port "$port" --bind 127.0.0.1 "$MAB_RUN/data") ;;
        # Its site is rendered, and asked for a page.
        hugo)
            arguments=(server --source "$MAB_RUN/data/site" --port "$port" --bind 127.0.0.1 --renderToMemory
                --watch=false --disableLiveReload --noBuildLock)
            path=/page/
            ;;
    esac
    setsid "$@" "${arguments[@]}" >"$MAB_RUN/serve.log" 2>&1 </dev/null &
    pid=$!
    for ((i = 0; i < 300; i++)); do
        if published_get "$port" "$path" >"$MAB_RUN/served" 2>/dev/null && [[ -s $MAB_RUN/served ]]; then
            status=0
            break
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if [[ $status -eq 0 ]]; then cat "$MAB_RUN/served"; else cat "$MAB_RUN/serve.log" >&2; fi
    docker ps -q --filter "name=published-$name" | xargs -r docker kill >/dev/null 2>&1 || true
    kill -TERM -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    return $status
}
# The status and the body of an answer.
published_get() { # PORT PATH
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf 'GET %s HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3
        timeout 10 tr -d '\r' <&3 | awk 'NR == 1 { print $2 } body { print } /^$/ { body = 1 }'
    )
}
