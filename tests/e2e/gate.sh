# shellcheck shell=bash
# The gate: each check that is an error by default refuses a real program that is
# wrong, with its message; and the same image, forced through with --allow, is
# seen to fail when it is started. Good images of mab and of others pass (BuildKit's
# in tests/e2e-full/buildkit.sh: it takes minutes to compile).
# minutes: 2
# needs: docker bases go rust musl-base crane ko buildah skopeo umoci jq
# shellcheck disable=SC2154 # T, OUT, ERR and others are the harness's

REGISTRY_BASE=$MAB_TEST_REGISTRY/base/debian:merged

# cc OUTPUT [OPTION…]: a small C program.
cc() {
    local out=$1
    shift
    printf '#include <stdio.h>\nint main(void) { puts("started"); return 0; }\n' >main.c
    gcc -O1 -o "$out" main.c "$@"
}

# spec [LINE…]: a build file for a file `app`, for amd64 on Debian unless a line says so.
spec() {
    {
        printf 'version: 1\nimage: %s/gate/%s\n' "$MAB_TEST_REGISTRY" "$(basename "$T" | tr 'A-Z.' 'a-z-')"
        [[ "$*" == *platforms:* ]] || printf 'platforms: [linux/amd64]\n'
        [[ "$*" == *base:* ]] || printf 'base: %s\n' "$REGISTRY_BASE"
        [[ "$*" == *binaries:* ]] || printf 'binaries:\n  - {file: app, to: /usr/bin/app}\n'
        [[ $# -eq 0 ]] || printf '%s\n' "$@"
    } >build.yaml
    chmod -R go+rX .
}

# refused CHECK TEXT…: by this check, with all of these texts, and nothing is written.
refused() {
    local check=$1 text
    shift
    rm -rf oci
    run_exit 4 as_user mab build --progress quiet
    for text in "$@"; do assert_contains "$ERR" "$text"; done
    assert_contains "$ERR" "hint: "
    assert_contains "$ERR" "--allow $check"
    assert_no_path oci/index.json
    [[ ! -d oci/blobs/sha256 || -z $(ls -A oci/blobs/sha256) ]] || fail "a layer was written"
}

# forced CHECKS: builds and pushes all the same; REFERENCE is the image.
forced() {
    run_ok as_user mab build --push --progress plain --allow "$1"
    REFERENCE=$OUT
}

# fails_to_start TEXT [PLATFORM]: under Docker.
fails_to_start() {
    run docker_run "$REFERENCE" "${2:-linux/amd64}"
    [[ $STATUS -ne 0 ]] || fail "it starts"
    assert_lacks "$OUT" started
    assert_matches "$ERR$OUT" "$1"
}

# root_of PLATFORM: the image's files, in the directory root.
root_of() {
    local arch variant
    IFS=/ read -r _ arch variant <<<"$1"
    rm -rf one root
    skopeo copy -q --src-tls-verify=false --override-os linux --override-arch "$arch" \
        ${variant:+--override-variant "$variant"} "docker://$REFERENCE" oci:one:x
    umoci unpack --image one:x root >/dev/null
}

# old_base: Debian whose libc.so.6 calls itself older: the versions after 2.33 have other names.
old_base() {
    local base=$MAB_TEST_REGISTRY/base/debian:older
    mkdir -p old/usr/lib/x86_64-linux-gnu
    tar -xzf "$(bases_dir)/merged/amd64.tar.gz" -C old ./usr/lib/x86_64-linux-gnu/libc.so.6
    sed -i 's/GLIBC_2\.3[4-6]/GLIBC_1.99/g' old/usr/lib/x86_64-linux-gnu/libc.so.6
    tar -C old --owner=0 --group=0 -cf old.tar usr/lib/x86_64-linux-gnu/libc.so.6
    crane append --insecure --platform linux/amd64 -b "$REGISTRY_BASE" -f old.tar -t "$base" >/dev/null 2>&1
    OLD_BASE=$base
}

# musl_base: a base with musl alone.
musl_base() {
    MUSL_BASE=$MAB_TEST_REGISTRY/base/musl:one
    tar -C "$(musl_base_dir)/root" --owner=0 --group=0 -cf musl.tar .
    crane append --insecure --oci-empty-base -f musl.tar -t "$MUSL_BASE" >/dev/null 2>&1
    crane mutate --insecure "$MUSL_BASE" --set-platform linux/amd64 -t "$MUSL_BASE" >/dev/null 2>&1
}

# musl_cc OUTPUT
musl_cc() {
    local sdk lib
    sdk=$(musl_base_dir)/sdk
    lib=$sdk/usr/lib/x86_64-linux-musl
    printf '#include <stdio.h>\nint main(void) { puts("started"); return 0; }\n' >main.c
    gcc -O1 -o "$1" main.c -nostdinc -isystem "$sdk/usr/include/x86_64-linux-musl" -nostdlib -no-pie \
        "$lib/crt1.o" "$lib/crti.o" \
        -L"$(musl_base_dir)/root/lib/x86_64-linux-musl" -l:libc.so "$lib/crtn.o" -Wl,-dynamic-linker,/lib/ld-musl-x86_64.so.1
}

test_machine() {
    printf 'package main\nfunc main() { println("started") }\n' >main.go
    GOARCH=riscv64 CGO_ENABLED=0 GOCACHE=$T/cache go build -o app main.go
    spec
    refused machine "/usr/bin/app for linux/amd64 is a 64-bit little-endian RISC-V program" "prebuilt/"
    forced machine
    fails_to_start 'exec format error'
}

test_program() {
    cc whole
    head -c 3000 whole >app
    chmod 755 app
    spec
    refused program "/usr/bin/app for linux/amd64 is a damaged ELF file"
    forced program
    fails_to_start '.*' # the kernel kills it without a word
    printf 'no program\n' >app
    refused program "is not a Linux program (ELF) but something else"
    forced program,entrypoint
    fails_to_start 'exec format error'
}

# GCC links no soft float against its hard-float start files, so the program has none.
test_float_abi() {
    printf 'int twice(int x) { return 2 * x; }\n' >lib.c
    printf 'int twice(int); void _start(void) { twice(1); for (;;) ; }\n' >start.c
    local soft=(-march=armv7-a -marm -mfloat-abi=soft -nostdlib)
    arm-linux-gnueabihf-gcc "${soft[@]}" -shared -fPIC -o libtwice.so lib.c
    arm-linux-gnueabihf-gcc "${soft[@]}" -o app start.c -L. -ltwice -Wl,-dynamic-linker,/lib/ld-linux.so.3
    spec "platforms: [linux/arm/v7]" "files:" "  - {from: libtwice.so, to: /usr/lib/libtwice.so}"
    refused float-abi "is a soft-float program with libraries (gnueabi), but a hard-float one"
    forced float-abi,interpreter
    fails_to_start '[Nn]o such file or directory' linux/arm/v7
}

test_isa_level() {
    cc app -march=x86-64-v3 -Wl,-z,x86-64-v3
    spec
    refused isa-level "needs x86-64-v3 (its note says so), but the platform promises no more than x86-64-v1"
    forced isa-level
    root_of linux/amd64
    run qemu-x86_64-static -cpu qemu64 -L root/rootfs root/rootfs/usr/bin/app
    [[ $STATUS -ne 0 ]] || fail "it starts on a processor without the level"
    assert_contains "$ERR$OUT" "CPU ISA level is lower than required"
    # On the variant that has it all is well; and Go's own record is read, too.
    spec "platforms: [linux/amd64/v3]"
    run_ok as_user mab build --progress quiet
    printf 'package main\nfunc main() { println("started") }\n' >main.go
    GOAMD64=v3 CGO_ENABLED=0 GOCACHE=$T/cache go build -o app main.go
    spec
    refused isa-level "needs x86-64-v3 (GOAMD64 says so)"
    forced isa-level
    root_of linux/amd64
    run qemu-x86_64-static -cpu qemu64 root/rootfs/usr/bin/app
    assert_contains "$ERR$OUT" "can only be run on AMD64 processors with v3"
    # Debian's armhf is ARMv7, which the first Raspberry Pi is not.
    printf 'int main(void) { return 0; }\n' >main.c
    arm-linux-gnueabihf-gcc -static -o app main.c
    spec "platforms: [linux/arm/v6]" "base: scratch"
    refused isa-level "needs ARMv7 (its attributes say so), but the platform promises no more than ARMv6"
}

test_interpreter() {
    cc app
    spec "base: static"
    refused interpreter "/usr/bin/app for linux/amd64 asks for the loader /lib64/ld-linux-x86-64.so.2" "link it statically"
    forced interpreter
    fails_to_start 'no such file or directory'
}

test_libc() {
    musl_base
    cc app
    spec "base: $MUSL_BASE"
    refused libc "is linked against glibc, but its base has musl" "base: $MUSL_BASE@sha256:"
    forced libc
    fails_to_start 'no such file or directory'
    musl_cc app
    spec "base: $MUSL_BASE"
    run_ok as_user mab build --push --progress quiet
    run_ok docker_run "$OUT" linux/amd64
    assert_contains "$OUT" started
    spec
    refused libc "is linked against musl, but its base has glibc" "take a base with musl"
    forced libc
    fails_to_start 'no such file or directory'
}

test_library() {
    printf 'int twice(int x) { return 2 * x; }\n' >lib.c
    printf 'int twice(int); int main(void) { return twice(0); }\n' >prog.c
    gcc -shared -fPIC -o libtwice.so lib.c
    gcc -o app prog.c -L. -ltwice
    spec
    refused library "/usr/bin/app for linux/amd64 needs the library libtwice.so" "add it under \`files\`"
    forced library
    fails_to_start 'libtwice.so: cannot open shared object file'
    spec "files:" "  - {from: libtwice.so, to: /usr/lib/x86_64-linux-gnu/}"
    run_ok as_user mab build --push --progress quiet
    run_ok docker_run "$OUT" linux/amd64
    # Where the loader looks only by its cache, a new library is not found.
    mkdir -p etc
    printf '/opt/lib\n' >etc/opt.conf
    spec "files:" "  - {from: libtwice.so, to: /opt/lib/}" "  - {from: etc/opt.conf, to: /etc/ld.so.conf.d/}"
    refused library "libtwice.so"
}

test_symbol_version() {
    old_base
    cc app
    spec "base: $OLD_BASE"
    refused symbol-version "error: /usr/bin/app for linux/amd64 needs GLIBC_2.34, but its base has glibc 2.33" \
        "base: $OLD_BASE@sha256:" "take a newer base (debian:bookworm has 2.36)" "-gnu.2.33" "link it statically"
    forced symbol-version
    fails_to_start "version .GLIBC_2.34. not found"
    # The same with what cgo makes, compiled by mab.
    printf 'module x\n\ngo 1.22\n' >go.mod
    printf 'package main\n\n// #include <stdlib.h>\nimport "C"\n\nfunc main() { println("started", C.abs(1)) }\n' >main.go
    rm -f app main.c prog.c lib.c
    chown -R 65534:65534 .
    spec "base: $OLD_BASE" "binaries:" "  - {go: {path: ., env: {CGO_ENABLED: '1'}}, to: /usr/bin/app}"
    refused symbol-version "/usr/bin/app for linux/amd64 needs GLIBC_2.34, but its base has glibc 2.33" "CGO_ENABLED"
    forced symbol-version
    fails_to_start "version .GLIBC_2.34. not found"
}

test_glibc_ceiling() {
    mkdir -p src
    printf '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml
    printf 'fn main() { println!("started"); }\n' >src/main.rs
    chown -R 65534:65534 .
    spec "binaries:" "  - {rust: {path: ., glibc: '2.17'}, to: /usr/bin/app}"
    run_exit 4 as_user CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=gcc mab build --progress quiet
    assert_contains "$ERR" "GLIBC_2.34, but \`glibc: \"2.17\"\` is the newest that it may need"
    assert_contains "$ERR" "pip install ziglang"
    # What was promised and not kept shows on an older system.
    old_base
    spec "base: $OLD_BASE" "binaries:" "  - {rust: {path: ., glibc: '2.17'}, to: /usr/bin/app}"
    run_ok as_user CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=gcc mab build --push --progress quiet \
        --allow glibc-ceiling,symbol-version
    REFERENCE=$OUT
    fails_to_start "version .GLIBC_2.34. not found"
}

# GNU ld leaves the pointers to exported symbols of such a program for s390x to a loader.
test_static_relocations() {
    s390x-linux-gnu-gcc -O1 -fPIE -fno-stack-protector -nostdlib -static-pie -Wl,-E -o app "$MAB_ROOT/tests/lib/unrelocated.c"
    spec "platforms: [linux/s390x]" "base: scratch" "config:" "  entrypoint: [/usr/bin/app]"
    refused static-relocations "/usr/bin/app for linux/s390x has a relocation that nothing applies, to \`say\`"
    forced static-relocations
    # Not under Docker: the first process of a container is not ended by its own signal, and QEMU waits for it.
    root_of linux/s390x
    run qemu-s390x-static root/rootfs/usr/bin/app
    assert_equal "$STATUS $OUT" "139 "
    # Without exported symbols all are relative, and it starts.
    s390x-linux-gnu-gcc -O1 -fPIE -fno-stack-protector -nostdlib -static-pie -o app "$MAB_ROOT/tests/lib/unrelocated.c"
    run_ok as_user mab build --push --progress quiet
    run docker_run "$OUT" linux/s390x
    assert_equal "$STATUS $OUT" "0 started"
}

test_script() {
    printf '#!/bin/bash\necho started\n' >start
    chmod 755 start
    spec "binaries: []" "files:" "  - {from: start, to: /usr/bin/}" "config:" "  entrypoint: [/usr/bin/start]"
    refused script "/usr/bin/start for linux/amd64 is a script of \`/bin/bash\`, which is not in the image"
    forced script
    fails_to_start 'no such file or directory'
    printf '#!/bin/sh\r\necho started\r\n' >start
    refused script "carriage return" "dos2unix"
    forced script
    fails_to_start 'no such file or directory'
    printf '#!/bin/sh\necho started\n' >start
    run_ok as_user mab build --push --progress quiet
    run_ok docker_run "$OUT" linux/amd64
}

test_entrypoint() {
    cc app
    spec "config:" "  entrypoint: [/usr/bin/ap]"
    refused entrypoint "/usr/bin/ap, which linux/amd64 is to start, is not in the image"
    forced entrypoint
    fails_to_start 'no such file or directory'
    spec "config:" "  entrypoint: [ap]"
    refused entrypoint "ap, which linux/amd64 is to start, is not in PATH"
    spec "binaries:" "  - {file: app, to: /usr/bin/app, mode: '0700'}" "config:" "  user: nobody"
    refused entrypoint "may not be executed by user 65534: its mode is 0700"
    forced entrypoint
    fails_to_start 'permission denied'
    spec "config:" "  entrypoint: [app]"
    run_ok as_user mab build --push --progress quiet
    run_ok docker_run "$OUT" linux/amd64
}

test_user() {
    cc app
    spec "config:" "  user: web"
    run_exit 4 as_user mab build --progress quiet
    assert_contains "$ERR" "there is no user \`web\` in the image"
    forced user
    fails_to_start 'unable to find user web'
}

test_workdir() {
    cc app
    spec "config:" "  workdir: /usr/bin/app"
    refused workdir "the working directory /usr/bin/app of linux/amd64 is not a directory"
    forced workdir
    fails_to_start 'not a directory'
}

test_hidden_file() {
    cc app
    printf 'x\n' >libc.so.6
    chmod 755 libc.so.6
    spec "files:" "  - {from: libc.so.6, to: /lib/x86_64-linux-gnu/libc.so.6}"
    run_exit 4 as_user mab build --progress quiet
    assert_contains "$ERR" "/lib/x86_64-linux-gnu/libc.so.6 cannot be in the image: the base has it already"
    assert_contains "$ERR" "replace: true"
    # With the file hidden another check sees what comes of it.
    run_exit 4 as_user mab build --progress quiet --allow hidden-file
    assert_contains "$ERR" "check: library"
    forced hidden-file,library
    fails_to_start 'libc.so.6: (file too short|invalid ELF header)'
}

test_base_platform() {
    local base=$MAB_TEST_REGISTRY/base/wrong:one
    crane append --insecure --oci-empty-base -f "$(bases_dir)/merged/amd64.tar.gz" -t "$base" >/dev/null 2>&1
    crane mutate --insecure "$base" --set-platform linux/s390x --cmd /bin/sh -t "$base" >/dev/null 2>&1
    printf 'int main(void) { return 0; }\n' >main.c
    s390x-linux-gnu-gcc -static -o app main.c
    spec "platforms: [linux/s390x]" "base: $base" "config:" "  entrypoint: [/bin/sh, -c, app]"
    refused base-platform "the base says that it is for linux/s390x, but" "are for x86-64"
    forced base-platform,machine
    root_of linux/s390x
    run qemu-s390x-static -L root/rootfs root/rootfs/usr/bin/dash -c app
    assert_contains "$ERR$OUT" "Invalid ELF image for this architecture"
    run_exit 4 as_user mab check "$REFERENCE"
}

# Warnings go on, and say what they lead to.
test_warnings() {
    printf '#include <netdb.h>\nint main(void) { struct addrinfo *r; return getaddrinfo("x", "1", 0, &r); }\n' >nss.c
    gcc -static -o app nss.c 2>/dev/null
    printf 'hosts: files myhostname\n' >nsswitch.conf
    spec "files:" "  - {from: nsswitch.conf, to: /etc/nsswitch.conf}"
    run_ok as_user mab build --progress plain
    assert_contains "$ERR" "is static, but looks up names through glibc's NSS [static-nss]"
    cc app -z execstack
    spec "binaries:" "  - {file: app, to: /usr/bin/app, mode: '4755'}"
    run_ok as_user mab build --progress plain
    assert_contains "$ERR" "asks for an executable stack [exec-stack]"
    assert_contains "$ERR" "has mode 4755"
    assert_contains "$ERR" "[set-id]"
    run_ok as_user mab check oci:oci --json
    assert_equal "$(jq -r '[.platforms[0].findings[] | select(.check == "exec-stack") | .severity] | first' <<<"$OUT")" warning
    printf '.globl _start\n_start: movabs $_start, %%rax\n jmp _start\n.section .note.GNU-stack,"",@progbits\n' >text.s
    gcc -nostdlib -pie -Wl,-z,notext -o app text.s 2>/dev/null
    spec
    run_ok as_user mab build --progress plain
    assert_contains "$ERR" "[text-relocations]"
    # Let through in the build file, it is told all the same.
    spec "allow: [text-relocations]"
    run_ok as_user mab build --progress plain
    assert_contains "$ERR" "(let through) [text-relocations]"
    spec "allow: [text-relocation]"
    run_exit 2 as_user mab build
    assert_contains "$ERR" "did you mean \`text-relocations\`?"
}

# The gate's time stands in the events.
test_the_gate_is_a_phase() {
    cc app
    spec
    run_ok as_user mab build --progress json
    local id
    id=$(jq 'select(.event == "started" and .phase == "check").id' <<<"$ERR")
    assert_matches "$(jq --argjson id "$id" 'select(.event == "finished" and .id == $id).cpuMilliseconds' <<<"$ERR")" '^[0-9.]+$'
}

# counted NAME REFERENCE: checks an image; its answers are in NAME.json.
counted() {
    run as_user mab check "$2" --json
    printf '%s' "$OUT" >"$T/$1.json"
    jq -e '.platforms | length > 0' "$T/$1.json" >/dev/null
}

# answers NAME…: the number of files and of each answer, over all of these images; then each reason
# why something is unknown, with how often it is given.
answers() {
    local files=("${@/#/$T/}")
    jq -rs '[.[].platforms[]] |
        (map(.answers.fits) | add) as $fits | (map(.answers["does not fit"]) | add) as $not | (map(.answers.unknown) | add) as $unknown |
        "\(length) images, \(map(.files) | add) ELF files: \($fits) answers fit, \($not) do not, \($unknown) unknown (\($unknown * 10000 / ($fits + $not + $unknown) | round / 100) %)"' \
        "${files[@]/%/.json}"
    jq -rs '[.[].platforms[].findings[] | select(.answer == "unknown")
            | .check + ": " + (.message | sub("^/[^:]*: "; "") | gsub("[^ ]+\\.so[^ ]*"; "a library"))]
        | group_by(.)[] | "  unknown \(length) times: \(.[0])"' "${files[@]/%/.json}"
}

test_no_false_alarm() {
    local kind name image images=(plain merged musl)
    for kind in plain merged; do
        counted "$kind" "$MAB_TEST_REGISTRY/base/debian:$kind"
        assert_equal "$STATUS" 0
        # Its package's library debconf is left out of this base.
        assert_equal "$(jq -r '[.platforms[].findings[] | select(.answer == "does not fit") | .subject] | unique | join(" ")' "$kind.json")" \
            /usr/sbin/update-passwd
        assert_equal "$(jq -r '.platforms | length' "$kind.json")" 5
    done
    musl_base
    counted musl "$MUSL_BASE"
    for name in "${MAB_EXAMPLES[@]}"; do
        example "$name"
        counted "$name-static" "oci:$EXAMPLE/oci"
        counted "$name-debian" "$EXAMPLE_PUSHED"
        images+=("$name-static" "$name-debian")
    done
    for image in "${images[@]}"; do
        assert_equal "$(jq '[.platforms[].errors] | add' "$image.json")" 0 "errors of $image"
    done
    answers "${images[@]}" >told
    mapfile -t lines <told
    tell "${lines[@]}"
    awk -F '[(%]' 'NR == 1 { exit !($2 + 0 < 5) }' told || fail "unknown is 5 % or more"
}

test_one_platform_is_checked() {
    run_ok as_user mab check "$REGISTRY_BASE" --platform linux/arm/v7
    assert_matches "$OUT" '^linux/arm/v7 +fits'
    assert_lacks "$OUT" linux/amd64
    run_exit 2 as_user mab check "$REGISTRY_BASE" --platform linux/riscv64
}

# Images that others made: good ones pass, and one that is labelled wrong is refused.
test_images_of_buildah() {
    cc app -static
    local container platform
    for platform in linux/amd64 linux/arm64; do
        container=$(buildah --storage-driver vfs --root "$T/root" --runroot "$T/run" from --arch "${platform#linux/}" scratch)
        buildah --storage-driver vfs --root "$T/root" --runroot "$T/run" copy -q "$container" app /app
        buildah --storage-driver vfs --root "$T/root" --runroot "$T/run" config --arch "${platform#linux/}" \
            --entrypoint '["/app"]' "$container"
        buildah --storage-driver vfs --root "$T/root" --runroot "$T/run" commit -q "$container" "oci:$T/${platform#linux/}:x"
    done
    chmod -R go+rX amd64 arm64
    run_ok as_user mab check "oci:$T/amd64:x"
    run_exit 4 as_user mab check "oci:$T/arm64:x"
    assert_contains "$ERR" "/app for linux/arm64 is a 64-bit little-endian x86-64 program"
}

test_images_of_ko() {
    example go # its modules are fetched
    user_copy "$MAB_ROOT/examples/go" "$T/go"
    cd "$T/go"
    run_ok as_user KO_DOCKER_REPO=$MAB_TEST_REGISTRY/gate/ko KO_DEFAULTBASEIMAGE="$REGISTRY_BASE" \
        GOMODCACHE="$EXAMPLE_HOME/go/pkg/mod" \
        ko build --bare --platform=linux/amd64,linux/arm64 --sbom=none .
    run_ok as_user mab check "$OUT"
    local wrong=$MAB_TEST_REGISTRY/gate/ko:wrong
    crane mutate --insecure "$MAB_TEST_REGISTRY/gate/ko@$(crane digest --insecure --platform linux/amd64 $MAB_TEST_REGISTRY/gate/ko:latest)" \
        --set-platform linux/arm64 -t "$wrong" >/dev/null
    run_exit 4 as_user mab check "$wrong"
    assert_contains "$ERR" "for linux/arm64 is a 64-bit little-endian x86-64 program"
}

test_images_of_docker() {
    cc app -static
    printf 'FROM scratch\nCOPY app /app\nENTRYPOINT ["/app"]\n' >Dockerfile
    docker build -q -t gate:good . >/dev/null
    docker save -o good.tar gate:good
    chmod go+r good.tar
    run_ok as_user mab check docker-archive:good.tar
    # The usual mistake: the platform is said, and the same file copied.
    docker build -q --platform linux/arm64 -t gate:wrong . >/dev/null
    docker save -o wrong.tar gate:wrong
    chmod go+r ./*.tar
    if [[ $(docker image inspect -f '{{.Architecture}}' gate:wrong) != arm64 ]]; then
        # Docker 20.10 without BuildKit takes the daemon's own for `scratch`.
        docker push -q "$(docker tag gate:wrong $MAB_TEST_REGISTRY/gate/docker:one && echo $MAB_TEST_REGISTRY/gate/docker:one)" >/dev/null
        crane mutate --insecure $MAB_TEST_REGISTRY/gate/docker:one --set-platform linux/arm64 -t $MAB_TEST_REGISTRY/gate/docker:wrong >/dev/null
        run_exit 4 as_user mab check $MAB_TEST_REGISTRY/gate/docker:wrong
    else
        run_exit 4 as_user mab check docker-archive:wrong.tar
    fi
    assert_contains "$ERR" "/app for linux/arm64 is a 64-bit little-endian x86-64 program"
}
