# shellcheck shell=bash
# Real services for end-to-end tests: registries, a Docker daemon, QEMU for
# foreign programs, base images put there by other people's tools, and a user
# without privileges. To be sourced after scripts/lib/all.sh.
#
# Everything lives under MAB_RUN, a temporary directory, listens on loopback
# only, and ends with `services_stop`, which services_begin ties to the exit of
# this shell. A subshell that calls services_begin has services of its own.

# services_begin [DIRECTORY]
services_begin() {
    if [[ -n ${1:-} ]]; then
        MAB_RUN=$1
        mkdir -p "$MAB_RUN"
        MAB_RUN_KEEP=1
    else
        MAB_RUN=$(mktemp -d "${TMPDIR:-/tmp}/mab-run.XXXXXX")
        MAB_RUN_KEEP=
    fi
    chmod 755 "$MAB_RUN" # the unprivileged user passes through it
    MAB_SERVICES=$(mktemp -d "$MAB_RUN/services.XXXXXX")
    chmod 755 "$MAB_SERVICES"
    trap services_stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Ends what this shell started, newest first, and removes its files.
services_stop() {
    local status=$? file
    trap - EXIT INT TERM HUP
    set +e
    [[ -z ${MAB_EARLY:-} || $BASHPID -ne $$ ]] || kill -TERM -- "-$MAB_EARLY" 2>/dev/null
    while read -r file; do
        service_stop "$(basename "$file" .pid)"
    done < <(ls -t "$MAB_SERVICES"/*.pid 2>/dev/null)
    services_unmount "$MAB_SERVICES"
    [[ -n ${MAB_KEEP:-} ]] || rm -rf "$MAB_SERVICES"
    if [[ -z $MAB_RUN_KEEP ]]; then
        if [[ -n ${MAB_KEEP:-} ]]; then
            printf 'kept: %s\n' "$MAB_RUN" >&2
        else
            chmod -R u+rwX "$MAB_RUN" 2>/dev/null
            rm -rf "$MAB_RUN"
        fi
    fi
    exit $status
}

# What a killed daemon left mounted below a directory.
services_unmount() {
    local mount
    while read -r mount; do
        umount -l "$mount" 2>/dev/null
    done < <(awk -v under="$1/" 'index($2, under) == 1 { print $2 }' /proc/self/mounts | sort -r)
    return 0
}

# service_start NAME COMMAND…: in the background, in a session of its own, with
# its output in $MAB_SERVICES/NAME.{out,log}.
service_start() {
    local name=$1
    shift
    service_stop "$name" # an earlier test's of that name would never be stopped
    # 9 is the lock of a test bed part, which a daemon must not inherit.
    setsid "$@" >"$MAB_SERVICES/$name.out" 2>"$MAB_SERVICES/$name.log" </dev/null 9>&- &
    printf '%s\n' $! >"$MAB_SERVICES/$name.pid"
    disown $!
}

service_alive() {
    local pid
    read -r pid <"$MAB_SERVICES/$1.pid" 2>/dev/null && kill -0 "$pid" 2>/dev/null
}

service_stop() {
    local name=$1 pid i
    read -r pid 2>/dev/null <"$MAB_SERVICES/$name.pid" || return 0
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    # Its process group: a daemon's children with it.
    kill -KILL -- "-$pid" 2>/dev/null || true
    rm -f "$MAB_SERVICES/$name.pid"
}

# service_wait NAME SECONDS CHECK…: until CHECK succeeds; fails with the log.
service_wait() {
    local name=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! service_alive "$name" || [[ $SECONDS -ge $end ]]; then
            printf 'error: %s did not start\n' "$name" >&2
            tail -n 30 "$MAB_SERVICES/$name.log" >&2
            return 1
        fi
        sleep 0.05
    done
}

free_port() {
    perl -MIO::Socket::INET -e '
        print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:0")->sockport, "\n"'
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

http_answers() { # HOST PORT
    (
        exec 3<>"/dev/tcp/$1/$2" || exit 1
        printf 'GET /v2/ HTTP/1.0\r\nHost: %s:%s\r\n\r\n' "$1" "$2" >&3
        read -r -t 2 line <&3 && [[ $line == HTTP/* ]]
    ) 2>/dev/null
}

# start_registry NAME [--port N] [--user NAME:PASSWORD] [--read-only] [--no-delete]
#     [--token NAME:PASSWORD] [--tls] [--with PROGRAM]
# --token: tokens of a server of its own (registry_tokens NAME is its log).
# (REGISTRY_AUTH_FILE, which is Podman's, would be read as a setting of the registry.)
# --tls: with a certificate of `authority`. --with: another program of the same
# kind than docker-registry, such as distribution v3.
# Sets REGISTRY to its address (localhost:PORT). Its requests, one a line, are in
# registry_log NAME; its files in registry_files NAME.
start_registry() {
    local name=$1 port='' user='' delete=true readonly=false token='' tls='' program=docker-registry realm
    shift
    while [[ $# -gt 0 ]]; do
        case $1 in
            --port) port=$2; shift ;;
            --user) user=$2; shift ;;
            --read-only) readonly=true ;;
            --no-delete) delete=false ;;
            --token) token=$2; shift ;;
            --tls) tls=1 ;;
            --with) program=$2; shift ;;
            *) printf 'error: start_registry: %s?\n' "$1" >&2; return 2 ;;
        esac
        shift
    done
    local dir=$MAB_SERVICES/registry-$name
    mkdir -p "$dir/files"
    [[ -n $port ]] || port=$(free_port)
    port_is_free "$port" || {
        printf 'error: port %s is taken; a registry for the tests cannot start there\n' "$port" >&2
        return 1
    }
    if [[ -n $tls ]]; then authority; fi
    if [[ -n $token ]]; then
        realm=$(free_port)
        openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=tokens -days 2 \
            -keyout "$dir/token.key" -out "$dir/token.crt" 2>/dev/null
        service_start "tokens-$name" python3 "$MAB_ROOT/tests/lib/token_server.py" \
            "$realm" "$dir" "${token%%:*}" "${token#*:}"
        service_wait "tokens-$name" 20 http_answers localhost "$realm" || return 1
    fi
    {
        printf 'version: 0.1\n'
        printf 'log: {level: info, accesslog: {disabled: false}}\n'
        printf 'http: {addr: "127.0.0.1:%s", secret: loopback-only%s}\n' "$port" \
            "${tls:+, tls: {certificate: \"$MAB_SERVICES/authority/server.crt\", key: \"$MAB_SERVICES/authority/server.key\"\}}"
        printf 'storage:\n  filesystem: {rootdirectory: "%s"}\n' "$dir/files"
        printf '  delete: {enabled: %s}\n' "$delete"
        printf '  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: %s}}\n' "$readonly"
        if [[ -n $user ]]; then
            htpasswd -Bbn "${user%%:*}" "${user#*:}" >"$dir/htpasswd"
            printf 'auth: {htpasswd: {realm: tests, path: "%s"}}\n' "$dir/htpasswd"
        elif [[ -n $token ]]; then
            printf 'auth: {token: {realm: "http://localhost:%s/token", service: tests, issuer: tests, rootcertbundle: "%s"}}\n' \
                "$realm" "$dir/token.crt"
        fi
    } >"$dir/config.yml"
    printf '%s\n' "$program" >"$dir/program"
    service_start "registry-$name" env -u REGISTRY_AUTH_FILE "$program" serve "$dir/config.yml"
    printf '%s\n' "$port" >"$dir/port"
    # One that speaks TLS answers plain http, too, with an error.
    service_wait "registry-$name" 20 http_answers localhost "$port" || return 1
    # shellcheck disable=SC2034  # the caller's
    REGISTRY=localhost:$port
}
stop_registry() { service_stop "registry-$1"; }
# Starts a stopped registry again, with the same files and port.
restart_registry() {
    local dir=$MAB_SERVICES/registry-$1 port program
    service_stop "registry-$1"
    read -r port <"$dir/port"
    read -r program <"$dir/program"
    service_start "registry-$1" env -u REGISTRY_AUTH_FILE "$program" serve "$dir/config.yml"
    service_wait "registry-$1" 20 http_answers localhost "$port"
}
# One line a request, in the common log format: method, path, status, bytes sent.
registry_log() { printf '%s\n' "$MAB_SERVICES/registry-$1.out"; }
registry_files() { printf '%s\n' "$MAB_SERVICES/registry-$1/files"; }

# The requests to a registry's token server, one a line.
registry_tokens() { printf '%s\n' "$MAB_SERVICES/tokens-$1.out"; }

# authority: an authority of the tests' own with a certificate for localhost, made
# once: $MAB_SERVICES/authority/{ca,server}.{crt,key}.
authority() {
    local dir=$MAB_SERVICES/authority
    [[ ! -e $dir/server.crt ]] || return 0
    mkdir -p "$dir"
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=authority -days 2 \
        -keyout "$dir/ca.key" -out "$dir/ca.crt" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$dir/server.key" -out "$dir/server.csr" 2>/dev/null
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >"$dir/extensions"
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
        -extfile "$dir/extensions" -out "$dir/server.crt" 2>/dev/null
}

# start_memory_registry NAME: go-containerregistry's, in memory. Sets REGISTRY.
start_memory_registry() {
    local port
    port=$(free_port)
    service_start "registry-$1" crane registry serve --address "127.0.0.1:$port"
    service_wait "registry-$1" 20 http_answers localhost "$port" || return 1
    # shellcheck disable=SC2034  # the caller's
    REGISTRY=localhost:$port
}

# start_docker: a Docker daemon of its own; sets and exports DOCKER_HOST, so that
# `docker` talks to it. Sets DOCKER_STORAGE to the storage driver that works here.
start_docker() {
    local dir=$MAB_SERVICES/docker socket driver
    mkdir -p "$dir"
    # A socket's path is limited to 107 bytes.
    socket=$dir/d.sock
    export DOCKER_HOST=unix://$socket
    for driver in overlay2 vfs; do
        service_start docker dockerd --data-root "$dir/data-$driver" --exec-root "$dir/exec" \
            --pidfile "$dir/dockerd.pid" -H "$DOCKER_HOST" --group root \
            --iptables=false --ip6tables=false --bridge=none --storage-driver "$driver"
        if service_wait docker 30 docker version 2>"$dir/failed"; then
            # shellcheck disable=SC2034  # the caller's
            DOCKER_STORAGE=$driver
            [[ $driver == overlay2 ]] || printf 'docker: storage driver vfs, because overlay2 does not work here\n' >&2
            return 0
        fi
        service_stop docker
    done
    cat "$dir/failed" >&2
    return 1
}

host_platform() { [[ $(uname -m) == aarch64 ]] && echo linux/arm64 || echo linux/amd64; }

# docker_run REFERENCE PLATFORM [ARGUMENT…]: pulls that platform's image and runs
# it without a network. Docker 20.10 keeps one image for a digest, and refuses
# another platform's of the same index: so a digest is forgotten first.
# Options of `docker run` come from the array DOCKER_RUN_OPTIONS.
docker_run() {
    local reference=$1 platform=$2
    shift 2
    if [[ $reference == *@* ]]; then docker image rm -f "$reference" >/dev/null 2>&1 || true; fi
    docker pull -q --platform "$platform" "$reference" >/dev/null || return 1
    # The first process of a container that waits for its own signal waits for ever.
    timeout --kill-after=5 300 \
        docker run --rm --network none --platform "$platform" "${DOCKER_RUN_OPTIONS[@]}" "$reference" "$@" </dev/null
}
DOCKER_RUN_OPTIONS=()

# register_binfmt: lets the kernel run programs of the other platforms through
# QEMU, also inside containers (flag F opens the interpreter now). Registered
# once for the machine, and left there.
register_binfmt() {
    local dir=/proc/sys/fs/binfmt_misc host name magic mask qemu rest
    [[ -e $dir/register ]] || mount -t binfmt_misc binfmt_misc "$dir" \
        || { printf 'error: binfmt_misc cannot be mounted here\n' >&2; return 1; }
    host=$(uname -m)
    while read -r name rest; do
        [[ -n $name && $name != "$host" ]] || continue
        # The ELF header up to e_machine. The mask lets the OS ABI and the type
        # (executable or position-independent) differ.
        read -r magic mask <<<"$rest"
        qemu=$(command -v "qemu-$name-static") \
            || { printf 'error: qemu-%s-static is not installed\n' "$name" >&2; return 1; }
        [[ -e $dir/qemu-$name ]] && grep -q '^flags:.*F' "$dir/qemu-$name" && continue
        [[ -e $dir/qemu-$name ]] && echo -1 >"$dir/qemu-$name"
        printf '%s' ":qemu-$name:M::$magic:$mask:$qemu:F" >"$dir/register" \
            || { printf 'error: qemu-%s could not be registered with binfmt_misc\n' "$name" >&2; return 1; }
    done <<'TABLE'
aarch64 \x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00 \xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff
arm \x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00 \xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff
s390x \x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16 \xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff
ppc64le \x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x15\x00 \xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\x00
TABLE
}

# push_base REFERENCE plain|merged [oci|docker]
# Pushes the Debian base as an index (or a Docker manifest list) of five
# platforms, with crane alone. The index's digest is printed.
push_base() {
    local dir
    dir=$(bases_dir) || { printf 'error: the part bases is missing: scripts/testbed bases\n' >&2; return 1; }
    push_roots "$1" "$dir/$2" "$2" "${3:-oci}"
}
# push_roots REFERENCE DIRECTORY NAME [oci|docker]: the same of other root file systems, a tar of each platform.
push_roots() {
    local reference=$1 dir=$2 kind=$3 types=${4:-oci} repository name ref empty=(--oci-empty-base) entries=()
    repository=${reference%:*}
    local index_options=()
    if [[ $types == docker ]]; then
        empty=()
        index_options=(--docker-empty-base)
    fi
    for name in $(bases_names); do
        ref=$repository:parts-$kind-$types-$name
        crane append --insecure "${empty[@]}" -f "$dir/$name.tar.gz" -t "$ref" >/dev/null 2>&1 \
            && crane mutate --insecure "$ref" -t "$ref" --set-platform "$(bases_platform "$name")" \
                --cmd /bin/sh --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
                --label "org.opencontainers.image.version=12-$kind" >/dev/null 2>&1 \
            || { printf 'error: crane could not push %s\n' "$ref" >&2; return 1; }
        entries+=(-m "$ref")
    done
    crane index append --insecure "${index_options[@]}" "${entries[@]}" -t "$reference" >/dev/null 2>&1 \
        || { printf 'error: crane could not push the index %s\n' "$reference" >&2; return 1; }
    crane digest --insecure "$reference"
}

# fresh_home: makes an empty home for as_user and sets TEST_HOME.
fresh_home() {
    TEST_HOME=$(mktemp -d "$MAB_RUN/home.XXXXXX")
    chmod 700 "$TEST_HOME"
    as_users "$TEST_HOME"
}

# Who as_user is when this is root, uid and gid. A file that looks at all processes of
# that user has a number of its own: another file runs beside it.
TEST_USER=65534

# as_user [NAME=VALUE]… COMMAND…: as a user without privileges, with nothing of this environment but the compilers and
# tools of the test bed on PATH, and a home of its own. What Go has compiled is
# the run's: its standard library takes longer than most tests. (offline.sh
# builds with an empty cache, as another user.) Its compiler may use memory for time.
as_user() {
    [[ -n ${TEST_HOME:-} ]] || fresh_home
    local become=() pass=() name
    is_root && become=(setpriv --reuid="$TEST_USER" --regid="$TEST_USER" --clear-groups)
    for name in GOPROXY GOSUMDB GONOSUMDB GOPRIVATE HTTPS_PROXY HTTP_PROXY NO_PROXY SSL_CERT_FILE; do
        [[ -z ${!name:-} ]] || pass+=("$name=${!name}")
    done
    if [[ ! -d $MAB_RUN/go-build ]]; then
        mkdir -p "$MAB_RUN/go-build"
        ! is_root || chown 65534:65534 "$MAB_RUN/go-build"
    fi
    "${become[@]}" env -i HOME="$TEST_HOME" LANG=C.UTF-8 TMPDIR="${TMPDIR:-/tmp}" GOCACHE="$MAB_RUN/go-build" GOGC=400 \
        PATH="$(user_path)" "${pass[@]}" "$@"
}

# The PATH of as_user: mab, the Rust of five platforms, Go, tools, the system.
user_path() {
    local path=$MAB_RUN/bin dir
    if dir=$(rust_prefix); then path+=:$dir/bin; fi
    if dir=$(command -v go); then path+=:$(dirname "$(readlink -f "$dir")"); fi
    for dir in $(peer_names); do
        if dir=$(part_find "peer-$dir" "$(peer_hash "$dir")"); then path+=:$dir/bin; fi
    done
    printf '%s\n' "$path:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
}

# user_dir: makes a directory that as_user owns, and prints it.
user_dir() {
    local dir
    dir=$(mktemp -d "$MAB_RUN/work.XXXXXX")
    chmod 755 "$dir"
    as_users "$dir"
    printf '%s\n' "$dir"
}

# as_users PATH…: gives files and trees to as_user.
as_users() { ! is_root || chown -R "$TEST_USER:$TEST_USER" "$@"; }

# user_copy SOURCE DESTINATION: a copy of a file or tree, without build results,
# that as_user owns.
user_copy() {
    mkdir -p "$2"
    if [[ -d $1 ]]; then
        tar -C "$1" --exclude=target --exclude=oci -cf - . | tar -C "$2" -xf -
    else
        cp "$1" "$2/"
    fi
    chmod -R u+rwX,go+rX "$2"
    as_users "$2"
}
