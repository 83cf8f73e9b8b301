# shellcheck shell=bash
# In a container of Docker's default profile no program of an image can run: what is said
# then, and that what is advised helps.
# minutes: 1
# needs: docker bases

IMAGE() { printf '%s/base/debian:merged' "$MAB_TEST_REGISTRY"; }

# contained [OPTION]… -- COMMAND…: in the Debian base, whose C library is that of this system.
contained() {
    local options=()
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    # Docker keeps one platform of a tag, and another test may have wanted another.
    docker run --rm --platform "$(host_platform)" --user 65534:65534 --network host -v "$MAB_RUN/bin:/opt:ro" -e HOME=/tmp \
        "${options[@]}" "$(IMAGE)" "$@"
}

test_what_the_default_profile_forbids_is_told() {
    docker pull -q --platform linux/ppc64le "$(IMAGE)"
    run contained -- /opt/mab run "$(IMAGE)" -- /bin/true
    assert_equal "$STATUS" 125
    assert_contains "$ERR" "error: this system does not let this user make a sandbox"
    assert_contains "$ERR" "--security-opt seccomp=unconfined"
    run contained -- /opt/mab check --sandbox
    assert_equal "$STATUS" 4
    assert_contains "$OUT" "--security-opt seccomp=unconfined"
}

test_what_is_advised_helps() {
    run contained --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --security-opt systempaths=unconfined -- /opt/mab run "$(IMAGE)" -- /bin/sh -c 'echo runs'
    assert_equal "$STATUS $OUT" "0 runs"
}

test_a_build_with_commands_says_so_and_one_without_succeeds() {
    mkdir -p work
    printf 'version: 1\nplatforms: [%s]\nbase: static\nfiles: [{from: file, to: /file}]\n' "$(host_platform)" >work/build.yaml
    echo text >work/file
    printf 'run: [[/nothing]]\n' | cat work/build.yaml - >work/run.yaml
    printf 'smoke: {command: [/nothing]}\n' | cat work/build.yaml - >work/smoke.yaml
    chown -R 65534:65534 work
    run contained -v "$T/work:/work" -w /work -- /opt/mab build -f run.yaml
    assert_equal "$STATUS" 3
    assert_contains "$ERR" "this system does not let this user make a sandbox"
    assert_contains "$ERR" "--security-opt seccomp=unconfined"
    assert_no_path work/oci/index.json
    run contained -v "$T/work:/work" -w /work -- /opt/mab build
    assert_equal "$STATUS" 0
    # A trial run is left out, and said to be, or wanted.
    run contained -v "$T/work:/work" -w /work -- /opt/mab build -f smoke.yaml
    assert_equal "$STATUS" 0
    assert_contains "$ERR" "were left out: this system does not let this user make a sandbox"
    run contained -v "$T/work:/work" -w /work -- /opt/mab build -f smoke.yaml --smoke require
    assert_equal "$STATUS" 4
}
