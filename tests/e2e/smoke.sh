# shellcheck shell=bash
# Finished images are tried out before anything names them.
# minutes: 2
# needs: bases qemu jq

TEST_USER=65530
BASE() { printf '%s/base/debian:merged' "$MAB_TEST_REGISTRY"; }

# tool: a program that the gate cannot look into: it starts another by its name.
# build_file [LINE]…: an image of a script for five platforms.
build_file() {
    printf '#!/bin/sh\necho "tool on $(/bin/uname -m)"\n[ "$1" != fail ] || { echo "a reason" >&2; exit 9; }\n' >tool
    chmod 755 tool
    cat >build.yaml <<YAML
version: 1
image: $MAB_TEST_REGISTRY/smoke/${NAME:-app}
platforms: [linux/amd64, linux/arm64, linux/arm/v7, linux/s390x, linux/ppc64le]
base: $(BASE)
files:
  - {from: tool, to: /usr/local/bin/tool}
config:
  entrypoint: [/usr/local/bin/tool]
  env: {GREETING: hello}
YAML
    printf '%s\n' "$@" >>build.yaml
}

test_every_platform_is_tried_and_the_result_says_so() {
    sandbox_or_skip
    build_file 'smoke:' \
        "  - pattern: '(?m)^tool on (x86_64|aarch64|armv7l|armv8l|s390x|ppc64le)\$'" \
        '  - {args: [fail], exit-code: 9, output: a reason}' \
        '  - command: [/bin/sh, -c, "echo $$GREETING $$OTHER; /usr/bin/id -u"]' \
        '    env: {OTHER: "on ${platform}"}' \
        '    output: "hello on ${platform}"' \
        'config: {}'
    # The keys of one map stand together.
    sed -i '/^config: {}$/d' build.yaml
    run_ok as_user mab build --push --metadata-file result.json --progress plain
    assert_equal "$(grep -c '^\[smoke\] .* 3 smoke runs done .*: passed$' <<<"$ERR")" 5
    assert_equal "$(jq -r '.mab.manifests[] | .platform + " " + ([.smoke[].outcome] | join(","))' result.json | sort)" \
'linux/amd64 passed,passed,passed
linux/arm/v7 passed,passed,passed
linux/arm64 passed,passed,passed
linux/ppc64le passed,passed,passed
linux/s390x passed,passed,passed'
    assert_equal "$(jq -rc '.mab.manifests[0].smoke[1].command' result.json)" '["/usr/local/bin/tool","fail"]'
    # Nothing of the new layers stays in the cache unpacked.
    assert_equal "$(as_user find "$TEST_HOME/.cache/mab" -name tool | wc -l)" 0
}

test_one_platform_that_fails_keeps_the_tag_as_it_was() {
    sandbox_or_skip
    local NAME=kept
    build_file 'smoke: {output: tool on}'
    run_ok as_user mab build --push -o oci:layout --progress quiet
    local image=$MAB_TEST_REGISTRY/smoke/${NAME:-app}:latest before index
    before=$(crane digest --insecure "$image")
    index=$(<layout/index.json)
    # Another image, one platform of which is not what was said.
    build_file 'labels: {other: "1"}' 'smoke: {output: tool on}' \
        'per-platform:' '  linux/s390x: {smoke: {args: [fail], output: tool on, timeout: 30s}}'
    run_exit 4 as_user mab build --push -o oci:layout
    assert_contains "$ERR" 'error: on linux/s390x the smoke run `/usr/local/bin/tool fail` ended with exit code 9, not 0'
    assert_contains "$ERR" 'build.yaml:11:8'
    assert_contains "$ERR" $'it wrote:\n  tool on s390x\n  a reason'
    assert_lacks "$ERR" 'on linux/arm64 the smoke'
    assert_equal "$OUT" ''
    assert_equal "$(crane digest --insecure "$image")" "$before" "the tag"
    assert_equal "$(<layout/index.json)" "$index" "the layout"
    run_ok as_user mab verify oci:layout
    # All that fail are told.
    build_file 'smoke: [{args: [fail]}, {pattern: "^nothing"}]'
    run_exit 4 as_user mab build --push
    assert_equal "$(grep -c '^error: on linux/.* the smoke run' <<<"$ERR")" 10
    assert_equal "$(crane digest --insecure "$image")" "$before" "the tag"
}

test_what_the_gate_cannot_judge_is_caught() {
    sandbox_or_skip
    build_file 'smoke: {}'
    # It looks into no script.
    printf '#!/bin/sh\nexec /usr/bin/no-such-interpreter "$0.real"\n' >tool
    run_exit 4 as_user mab build --platform linux/arm64 -o oci:layout
    assert_contains "$ERR" 'the smoke run `/usr/local/bin/tool` ended with exit code 127, not 0'
    assert_contains "$ERR" $'it wrote:\n  /usr/local/bin/tool: 2: exec: /usr/bin/no-such-interpreter: not found'
    assert_no_path layout/index.json
    # Without trying it the image is built: nothing else sees it.
    run_ok as_user mab build --platform linux/arm64 -o oci:layout --smoke skip --metadata-file result.json
    assert_equal "$(jq -rc '.mab.manifests[0].smoke' result.json)" \
        '[{"command":["/usr/local/bin/tool"],"outcome":"skipped","reason":"--smoke=skip"}]'
    assert_lacks "$ERR" warning
}

test_programs_that_are_not_there_hang_or_crash() {
    sandbox_or_skip
    check() { # WORDS SMOKE
        build_file "smoke: $2"
        run_exit 4 as_user mab build --platform linux/amd64,linux/s390x -o oci:layout
        assert_contains "$ERR" "on linux/amd64 the smoke run $1"
        assert_contains "$ERR" "on linux/s390x the smoke run $1"
        assert_no_path layout/index.json
    }
    check '`/bin/sleep 600` took more than 0.5 s' '{command: [/bin/sleep, 600], timeout: 500ms}'
    check '`/bin/sh -c kill -SEGV $$` was killed by signal 11' '{command: [/bin/sh, -c, "kill -SEGV $$$$"]}'
    check '`/nothing` was not started: /nothing is not in the image' '{command: [/nothing]}'
    check '`/etc/passwd` was not started: cannot execute /etc/passwd' '{command: [/etc/passwd]}'
    # Arguments alone, in an image that starts nothing by itself.
    printf 'version: 1\nplatforms: [linux/amd64]\nfiles: [{from: tool, to: /tool}]\nsmoke: {args: [x]}\n' >build.yaml
    run_exit 4 as_user mab build -o oci:layout
    assert_contains "$ERR" 'the smoke run `x` was not started: x is not in the image'
    assert_contains "$ERR" 'hint: the image has no entrypoint for these arguments'
    # What is left in the background ends with the program, and output without an end does not fill the memory.
    check '`/bin/sh -c /usr/bin/yes & /usr/bin/yes | /usr/bin/head -c 50000000; exit 5` ended with exit code 5' \
        '{command: [/bin/sh, -c, "/usr/bin/yes & /usr/bin/yes | /usr/bin/head -c 50000000; exit 5"]}'
    assert_contains "$ERR" 'the last lines that it wrote:'
    assert_equal "$(pgrep -u "$(as_user id -u)" yes || true)" ''
}

test_where_it_cannot_run_it_is_left_out_or_required() {
    sandbox_or_skip
    build_file 'smoke: {output: tool on}'
    # No QEMU on PATH, and nothing registered.
    mkdir -p bin
    ln -s "$(command -v mab)" bin/mab
    bare() {
        # shellcheck disable=SC2016
        as_user unshare -Urm sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && PATH=$1 && shift && exec mab build --platform linux/amd64,linux/s390x -o oci:layout "$@"' \
            sh "$T/bin" "$@"
    }
    run_ok bare --metadata-file result.json --progress plain
    assert_contains "$ERR" 'warning: the smoke runs of linux/s390x were left out: programs for linux/s390x need QEMU'
    assert_contains "$ERR" 'qemu-user-static'
    assert_contains "$ERR" '[smoke] linux/amd64 1 smoke run done'
    assert_equal "$(jq -r '.mab.manifests[] | .smoke[] | .outcome' result.json)" $'passed\nskipped'
    rm -r layout
    run_exit 4 bare --smoke require
    assert_contains "$ERR" 'error: the smoke runs of linux/s390x cannot run here: programs for linux/s390x need QEMU'
    assert_contains "$ERR" 'hint: `--smoke auto` leaves out what cannot run'
    assert_no_path layout/index.json
    # No namespaces at all.
    # shellcheck disable=SC2016
    closed() {
        as_user unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec mab build -o oci:layout --platform linux/amd64 "$@"' sh "$@"
    }
    run_ok closed --progress plain
    assert_contains "$ERR" 'warning: the smoke runs of linux/amd64 were left out: this system does not let this user make a sandbox'
    run_exit 4 closed --smoke require
    assert_contains "$ERR" 'error: the smoke runs of linux/amd64 cannot run here'
}

both_run() {
    local tries
    for tries in $(seq 300); do
        [[ $(pgrep -u "$(as_user id -u)" -cf 'sleep 4242') -lt 2 ]] || return 0
        sleep 0.1
    done
    fail "they never ran, after $tries looks: $(<"$T/out")"
}
test_an_interrupt_ends_the_runs_and_leaves_nothing() {
    sandbox_or_skip
    build_file 'smoke: {command: [/bin/sleep, 4242]}'
    local signal
    for signal in INT TERM; do
        killed_after "$signal" both_run mab build -o oci:layout --platform linux/amd64,linux/s390x
        assert_no_path layout/index.json
    done
    assert_equal "$(as_user find "$TEST_HOME/.cache/mab" -name '.unpacking-*' | wc -l)" 0
}
