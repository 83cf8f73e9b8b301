# shellcheck shell=bash
# Commands are run on images of five platforms as an ordinary user, and become layers.
# minutes: 2
# needs: bases qemu jq

TEST_USER=65529
BASE() { printf '%s/base/debian:merged' "$MAB_TEST_REGISTRY"; }
ALL='[linux/amd64, linux/arm64, linux/arm/v7, linux/s390x, linux/ppc64le]'

# build_file PLATFORMS [LINE]…
build_file() {
    local platforms=$1
    shift
    cat >build.yaml <<YAML
version: 1
image: $MAB_TEST_REGISTRY/steps/${NAME:-app}
platforms: $platforms
base: $(BASE)
YAML
    printf '%s\n' "$@" >>build.yaml
}

# layers PLATFORM: digests of the layers of the layout's image for a platform.
manifest() {
    local digest
    digest=$(jq -r '.manifests[0].digest' oci/index.json)
    digest=$(jq -r --arg platform "$1" '.manifests[] | select((.platform | .os + "/" + .architecture + (if .variant then "/" + .variant else "" end)) == $platform) | .digest' "oci/blobs/${digest/://}")
    cat "oci/blobs/${digest/://}"
}
config() {
    local digest
    digest=$(manifest "$1" | jq -r .config.digest)
    cat "oci/blobs/${digest/://}"
}
# layer PLATFORM NUMBER: the tar of a layer, counted from the last one (-1).
layer() {
    local digest
    digest=$(manifest "$1" | jq -r ".layers[$2].digest")
    gzip -dc "oci/blobs/${digest/://}"
}
listing() { layer "$@" | tar -tvf - --numeric-owner --utc | sed -E 's/ +/ /g'; }

# shellcheck disable=SC2016
test_every_platform_has_what_its_command_made() {
    sandbox_or_skip
    build_file "$ALL" 'users: [{name: app, uid: 2000}]' 'run:' \
        '  - echo "$(/bin/uname -m) $TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT $(/usr/bin/id -u) $(/bin/pwd)" >/etc/made' \
        '  - [/bin/sh, -c, "/bin/mkdir -p /srv; /bin/mkdir -m 0750 /srv/own; /bin/chown app:33 /srv/own; echo x >/srv/own/file; /bin/chown -h 7:8 /srv/own/file; /bin/rm /etc/debian_version"]' \
        '  - {command: "test ! -e /etc/debian_version && /bin/touch -d @5 /etc/passwd && /usr/bin/id -u >who", user: app, workdir: /tmp, env: {A: b}}' \
        '  - /bin/true'
    run_ok as_user mab build --metadata-file result.json --progress plain
    # Each with the base unpacked before.
    assert_equal "$(grep -c '^\[run\] .* done in ' <<<"$ERR")" 25
    local name platform machine
    for name in $(bases_names); do
        platform=$(bases_platform "$name")
        machine=$(bases_machine "$name")
        # What changed nothing is no layer.
        assert_equal "$(config "$platform" | jq -r '.history[-3:][].created_by')" \
'mab: run echo "$(/bin/uname -m) $TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT $(/usr/bin/id -u) $(/bin/pwd)" >/etc/made
mab: run /bin/sh -c /bin/mkdir -p /srv; /bin/mkdir -m 0750 /srv/own; /bin/chown app:33 /srv/own; echo x >/srv/own/file; /bin/chown -h 7:8 /srv/own/file; /bin/rm /etc/debian_version
mab: run test ! -e /etc/debian_version && /bin/touch -d @5 /etc/passwd && /usr/bin/id -u >who'
        assert_equal "$(layer "$platform" -3 | tar -xOf - etc/made)" \
            "$machine $platform ${platform//\// }$([[ $platform == */*/* ]] || printf ' ') 0 /"
        assert_equal "$(listing "$platform" -2)" \
'drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/
---------- 0/0 0 1970-01-01 00:00 etc/.wh.debian_version
drwxr-xr-x 0/0 0 1970-01-01 00:00 srv/
drwxr-x--- 2000/33 0 1970-01-01 00:00 srv/own/
-rw-r--r-- 7/8 2 1970-01-01 00:00 srv/own/file'
        assert_equal "$(listing "$platform" -1)" \
'drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/
-rw-r--r-- 2000/2000 5 1970-01-01 00:00 tmp/who'
        assert_equal "$(layer "$platform" -1 | tar -xOf - tmp/who)" 2000
        assert_equal "$(jq -c --arg platform "$platform" '.mab.manifests[] | select(.platform == $platform) | [.steps[].reproducible]' result.json)" '[true,true,true,true]'
    done
    run_ok as_user mab verify oci:oci
    run_ok as_user mab run oci:oci --platform linux/s390x -- /bin/cat /tmp/who
    # The same again is nothing new, and nothing is run.
    local index=$OUT
    index=$(<oci/index.json)
    run_ok as_user mab build --progress plain
    assert_equal "$(grep -c '^\[run\] .* cached in ' <<<"$ERR")" 20
    assert_equal "$(<oci/index.json)" "$index"
    run_ok as_user mab build --progress plain --no-cache
    assert_equal "$(grep -c '^\[run\] .* done in ' <<<"$ERR")" 20
    assert_equal "$(<oci/index.json)" "$index" "run once more"
}

test_everybody_gets_the_same_layers() {
    sandbox_or_skip
    build_file '[linux/amd64, linux/arm64]' 'files: [{from: tree, to: /srv/tree}]' 'run:' \
        '  - cd /srv/tree; /bin/mv a b; /bin/rm -r gone; /bin/ln -s b link; /bin/ln b hard; /bin/chmod 4755 b; /bin/mkdir gone; echo 1 >gone/new' \
        '  - cd /usr; /bin/mv share share.old; /bin/mkdir share; /bin/cp -a share.old/doc share/ 2>/dev/null; /bin/rm -r /var/log; echo file >/var/log; /bin/chown -R 5:6 /etc'
    mkdir -p tree/gone
    echo a >tree/a
    echo g >tree/gone/old
    run_ok as_user mab build
    local index
    index=$(jq -r '.manifests[0].digest' oci/index.json)
    rm -r oci
    # By copying, with a cache of its own.
    run_ok as_user MAB_SANDBOX_COPY=1 MAB_CACHE_DIR="$T/copy" TZ=Asia/Tokyo mab build
    assert_equal "$(jq -r '.manifests[0].digest' oci/index.json)" "$index" "a copy"
    rm -r oci
    mkdir elsewhere
    cp -r build.yaml tree elsewhere
    chown -R "$(id -u)" elsewhere
    (
        cd elsewhere || exit
        umask 077
        HOME=$T/other MAB_CACHE_DIR=$T/other/cache run_ok mab build
        assert_equal "$(jq -r '.manifests[0].digest' oci/index.json)" "$index" "another user, in another place"
    )
}

test_secrets_and_mounts_leave_no_trace() {
    sandbox_or_skip
    mkdir -p bound
    echo bound >bound/file
    echo CANARY-file-secret >token
    build_file '[linux/amd64, linux/s390x]' 'env: [TOKEN]' 'run:' \
        '  - command: /bin/cat /run/secrets/token /run/secrets/file; /bin/cat /mnt/file >/etc/seen; echo c >>/var/cache/own/count; echo t >/scratch/t; ! echo no >/mnt/file' \
        '    mounts:' \
        '      - {secret-env: TOKEN, to: /run/secrets/token}' \
        '      - {secret: token, to: /run/secrets/file}' \
        '      - {bind: bound, to: /mnt}' \
        '      - {cache: own, to: /var/cache/own}' \
        '      - {tmpfs: true, to: /scratch}' \
        '  - command: /usr/bin/wc -l </var/cache/own/count >/etc/count; test ! -e /run/secrets; test ! -e /scratch; test -z "$TOKEN"' \
        '    mounts: [{cache: own, to: /var/cache/own}]'
    run_ok as_user TOKEN=CANARY-env-secret MAB_LOG=trace mab build --metadata-file result.json --progress plain
    assert_lacks "$ERR" CANARY
    assert_contains "$ERR" 'linux/s390x | ***'
    local platform number
    for platform in linux/amd64 linux/s390x; do
        for number in -1 -2; do
            assert_lacks "$(layer $platform $number | tr -d '\0')" CANARY
            assert_lacks "$(listing $platform $number)" scratch
            assert_lacks "$(listing $platform $number)" mnt
            assert_lacks "$(listing $platform $number)" secrets
            assert_lacks "$(listing $platform $number)" var/cache/own
        done
        assert_equal "$(layer $platform -2 | tar -xOf - etc/seen)" bound
        assert_equal "$(layer $platform -1 | tar -xOf - etc/count)" 1
    done
    run grep -rl CANARY oci result.json "$TEST_HOME"
    assert_equal "$OUT" ''
    # Another secret is the same image, another bound file is not.
    run_ok as_user TOKEN=other mab build --progress plain
    assert_equal "$(grep -c '^\[run\] .* cached in ' <<<"$ERR")" 4
    echo changed >bound/file
    run_ok as_user TOKEN=other mab build --progress plain
    assert_equal "$(layer linux/amd64 -2 | tar -xOf - etc/seen)" changed
    assert_equal "$(layer linux/amd64 -1 | tar -xOf - etc/count)" 2 "the cache is kept"
    run_exit 2 as_user mab build
    assert_contains "$ERR" 'the environment does not set the secret TOKEN'
}

test_what_fails_says_so_and_leaves_the_old_image() {
    sandbox_or_skip
    build_file '[linux/amd64, linux/s390x]' 'run: [/bin/true]'
    run_ok as_user mab build
    local index
    index=$(<oci/index.json)
    check() { # MESSAGE RUN
        build_file '[linux/amd64, linux/s390x]' "run: [$2]"
        run_exit 3 as_user mab build
        assert_contains "$ERR" "$1"
        assert_contains "$ERR" "build.yaml:5:7"
        assert_equal "$(<oci/index.json)" "$index"
    }
    check 'the command `echo one; echo two >&2; exit 9` ended with exit code 9' '"echo one; echo two >&2; exit 9"'
    assert_contains "$ERR" $'it wrote:\n  one\n  two'
    check 'the command `/no/such thing` failed: /no/such is not in the image' '[/no/such, thing]'
    check 'failed: cannot execute /etc/passwd' '[/etc/passwd]'
    check 'was killed by signal 11' '"kill -SEGV $$"'
    check 'took more than 0.5 s' '{command: /bin/sleep 600, timeout: 500ms}'
    printf 'version: 1\nplatforms: [linux/amd64]\nrun: [echo hello]\n' >build.yaml
    run_exit 3 as_user mab build
    assert_contains "$ERR" '/bin/sh is not in the image'
    assert_contains "$ERR" "hint: a text is for the image's own shell"
    build_file '[linux/amd64]' 'run: [/bin/true]'
    run_exit 7 as_user mab build --offline
    build_file '[linux/amd64]' 'run: [{command: /bin/true, network: host}]'
    run_ok as_user mab build --metadata-file result.json
    assert_equal "$(jq -c '.mab.manifests[0].steps' result.json)" '[{"command":["/bin/sh","-c","/bin/true"],"reproducible":false}]'
    run_exit 7 as_user mab build --offline
    assert_contains "$ERR" 'mab is offline, but this command has `network: host`'
    # Without QEMU nothing is begun.
    build_file '[linux/amd64, linux/s390x, linux/arm64]' 'run: [/bin/true]'
    mkdir -p bin
    # shellcheck disable=SC2016
    run_exit 3 as_user unshare -Urm sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && mab=$(command -v mab) && PATH=$1 exec "$mab" build' sh "$T/bin"
    assert_contains "$ERR" 'the commands for linux/s390x cannot run here: programs for linux/s390x need QEMU'
    assert_contains "$ERR" 'the commands for linux/arm64 cannot run here'
    assert_lacks "$ERR" '[run]'
    # Who asks before is told as well.
    # shellcheck disable=SC2016
    run_exit 3 as_user unshare -Urm sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && mab=$(command -v mab) && PATH=$1 exec "$mab" check' sh "$T/bin"
    assert_contains "$ERR" 'the commands for linux/s390x cannot run here'
}

# A command that wants more memory than there is ends, and neither mab nor anybody else does.
test_out_of_memory() {
    sandbox_or_skip
    build_file '[linux/amd64]' 'run: [/bin/true]'
    run_ok as_user mab build
    local index
    index=$(<oci/index.json)
    # tail keeps the line until it ends. What a shell starts is killed, and the shell ends as it likes.
    build_file '[linux/amd64]' 'run: ["echo begun; /usr/bin/head -c 2G /dev/zero | /usr/bin/tail -n 1 >/dev/null; exit 5"]'
    run_exit 3 with_memory 300M as_user mab build --progress plain
    assert_contains "$ERR" 'ended with exit code 5 after the kernel had killed a program for want of memory'
    assert_contains "$ERR" $'it wrote:\n  begun'
    assert_contains "$ERR" 'hint: give this machine or container more memory'
    assert_equal "$(<oci/index.json)" "$index"
    assert_equal "$(scratches)$(sandbox_processes)" ''
    run_exit 137 with_memory 300M as_user mab run oci:oci -- \
        /bin/sh -c 'exec /usr/bin/tail -n 1 /dev/zero'
    assert_contains "$ERR" 'warning: the program ended with exit code 137 after the kernel had killed a program'
}

# A QEMU that crashes is named, whoever waits for it.
test_an_emulator_that_crashes() {
    sandbox_or_skip
    printf '#include <signal.h>\nint main(void) { return raise(SIGSEGV); }\n' >crash.c
    mkdir bin
    cc -static -o bin/qemu-s390x-static crash.c
    build_file '[linux/s390x]' 'run: [/bin/true]'
    run_exit 3 as_user PATH="$T/bin:$(user_path)" mab build
    assert_contains "$ERR" 'on linux/s390x the command `/bin/true` was killed by signal 11 (SIGSEGV)'
    assert_contains "$ERR" "hint: it ran under $T/bin/qemu-s390x-static: a newer QEMU may do what this one cannot"
    build_file '[linux/s390x]' 'smoke: [{command: [/bin/true]}]'
    run_exit 4 as_user PATH="$T/bin:$(user_path)" mab build
    assert_contains "$ERR" "hint: it ran under $T/bin/qemu-s390x-static"
    assert_no_path oci/index.json
}

test_steps_have_the_order_that_they_are_written_in() {
    sandbox_or_skip
    printf '#!/bin/sh\necho made by tool >/etc/from-tool\n' >tool
    chmod 755 tool
    build_file '[linux/amd64, linux/arm64]' 'steps:' \
        '  - run: ["echo first >/etc/order"]' \
        '  - files: [{from: tool, to: /usr/bin/tool}, {from: tool, to: /etc/order, replace: true}]' \
        '  - run: [[/usr/bin/tool], "echo more >>/etc/order"]' \
        '  - users: [{name: late, uid: 3000}]' \
        '  - run: [{command: /usr/bin/id -un >/tmp/name, user: late}]' \
        'config: {user: late, entrypoint: [/usr/bin/tool]}'
    run_ok as_user mab build
    assert_equal "$(config linux/arm64 | jq -r '.history[-6:][].created_by')" \
'mab: run echo first >/etc/order
mab: files
mab: run /usr/bin/tool
mab: run echo more >>/etc/order
mab: users
mab: run /usr/bin/id -un >/tmp/name'
    run_ok as_user mab run oci:oci --platform linux/arm64 --entrypoint /bin/cat -- /etc/from-tool /etc/order /tmp/name
    assert_equal "$OUT" 'made by tool
#!/bin/sh
echo made by tool >/etc/from-tool
more
late'
    assert_equal "$(config linux/arm64 | jq -r .config.User)" 3000:3000
    # What a command adds to the users counts.
    build_file '[linux/arm64]' 'run: ["echo own:x:77:78::/:/bin/sh >>/etc/passwd"]' 'config: {user: own}'
    run_ok as_user mab build
    assert_equal "$(config linux/arm64 | jq -r .config.User)" 77:78
    run_ok as_user mab build --dry-run
}

# shellcheck disable=SC2016
test_nothing_is_left_after_signals() {
    sandbox_or_skip
    build_file '[linux/amd64]' 'run: ["for it in 1 2 3 4 5 6 7 8; do echo $it >/etc/$it; done; /bin/sleep 4242 & /bin/sleep 4242"]'
    local signal delay moments=0
    for signal in INT TERM KILL; do
        for delay in 0.02 0.05 0.08 0.1 0.15 0.2 0.3 0.5 0.7 1; do
            killed_after "$signal" "$delay" mab build
            [[ $signal == KILL ]] || assert_equal "$(scratches)" '' "directories after $signal at $delay s"
            assert_no_path oci/index.json
            moments=$((moments + 1))
        done
    done
    assert_equal "$moments" 30
    assert_lacks "$(cat /proc/mounts)" "$TEST_HOME"
    # What was left when mab itself was killed goes with the next command that is run.
    build_file '[linux/amd64]' 'run: [/bin/true]'
    run_ok as_user mab build
    assert_equal "$(scratches)" ''
}
# What commands are writing to, or what is left of that.
scratches() { as_user find "$TEST_HOME/.cache/mab" -maxdepth 2 -name '.step*' 2>/dev/null || true; }

# shellcheck disable=SC2016
test_hard_cases() {
    sandbox_or_skip
    as_root_of_image() { build_file '[linux/amd64]' "run: [$1]"; run as_user mab build --progress plain; }
    # Everything is deleted: what is left of it is a layer of deletions.
    as_root_of_image '["/bin/sh", "-c", "exec 2>/dev/null; /bin/rm -rf --no-preserve-root /; true"]'
    assert_equal "$STATUS" 0
    assert_contains "$(listing linux/amd64 -1)" .wh.etc
    rm -r oci
    # Many files.
    as_root_of_image '"/bin/mkdir /many; cd /many; /usr/bin/seq 20000 | /usr/bin/split -l 1 -a 5 -"'
    assert_equal "$STATUS" 0
    assert_equal "$(layer linux/amd64 -1 | tar -tf - | wc -l)" 20001
    # What is left in the background ends with the command, as do as many processes as it can make.
    as_root_of_image '"/usr/bin/setsid /bin/sleep 4242 & (/bin/sleep 4242 &) ; echo x >/etc/x"'
    assert_equal "$STATUS" 0
    assert_equal "$(sandbox_processes)" ''
    as_root_of_image '{command: "exec 2>/dev/null; f() { f | f & }; f; /bin/sleep 1; echo bombed", user: "1000", timeout: 20s}'
    assert_equal "$(sandbox_processes)" ''
    # Modes under which nobody else could remove anything.
    as_root_of_image '"/bin/mkdir -p /a/b/c; echo x >/a/b/c/d; /bin/chmod 000 /a/b/c /a/b /a"'
    assert_equal "$STATUS" 0
    assert_equal "$(listing linux/amd64 -1 | cut -c1-10 | sort | uniq -c | tr -s ' ' | tr '\n' ,)" ' 1 -rw-r--r--, 3 d---------,'
    assert_equal "$(scratches)" ''
}
