# shellcheck shell=bash
# Programs of images run as an ordinary user, on five platforms, and get out in no way
# that is known; nothing is left of them.
# minutes: 3
# needs: bases qemu compilers jq

TEST_USER=65531
BASE() { printf '%s/base/debian:%s' "$MAB_TEST_REGISTRY" "${1:-merged}"; }

mab_run() { as_user mab run "$@"; }
# run_in CODE IMAGE [OPTION]… -- COMMAND…
run_in() { local code=$1; shift; run_exit "$code" mab_run "$@"; }

# unregistered [NAME=VALUE]… COMMAND…: where nothing is registered with binfmt_misc, whatever
# the host has.
# shellcheck disable=SC2016
unregistered() {
    as_user unshare -Urm sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && exec env "$@"' sh "$@"
}

# shellcheck disable=SC2016  # for the shell inside
test_five_platforms() {
    sandbox_or_skip
    local name kind
    for kind in plain merged; do
        for name in $(bases_names); do
            run_in 0 "$(BASE $kind)" --platform "$(bases_platform "$name")" -- /bin/sh -c '
                echo "$(/bin/uname -m) $(/usr/bin/id -u):$(/usr/bin/id -g) $(/bin/pwd) $0 $1"
                echo written >/etc/mine && /bin/cat /etc/mine && /bin/rm /etc/passwd && test ! -e /etc/passwd
                (exit 3); echo "$? $$"' word 'two words'
            assert_equal "$OUT" "$(bases_machine "$name") 0:0 / word two words
written
3 2" "$name"
            assert_equal "$ERR" ""
        done
    done
    # On a host that has registered nothing.
    run_ok unregistered ls /proc/sys/fs/binfmt_misc
    assert_equal "$OUT" $'register\nstatus'
    for name in $(bases_names); do
        run_ok unregistered mab run "$(BASE)" --platform "$(bases_platform "$name")" -- /bin/uname -m
        assert_equal "$OUT" "$(bases_machine "$name")"
    done
    # Nothing of what was written is in the cache.
    run_in 0 "$(BASE)" -- /bin/sh -c 'test ! -e /etc/mine && test -s /etc/passwd'
}

test_exit_codes_are_dockers() {
    sandbox_or_skip
    local platform
    for platform in linux/amd64 linux/s390x; do
        run_in 7 "$(BASE)" --platform $platform -- /bin/sh -c 'exit 7'
        # shellcheck disable=SC2016
        run_in 143 "$(BASE)" --platform $platform -- /bin/sh -c 'kill -TERM $$'
        run_in 127 "$(BASE)" --platform $platform -- nothing-like-this
        assert_contains "$ERR" "error: nothing-like-this is not in the image"
        run_in 127 "$(BASE)" --platform $platform -- /nothing/like/this
        run_in 126 "$(BASE)" --platform $platform -- /etc/passwd
        assert_contains "$ERR" "error: cannot execute /etc/passwd"
        run_in 126 "$(BASE)" --platform $platform -- /etc
    done
    run_in 125 "$MAB_TEST_REGISTRY/base/debian:absent"
    run_in 125 "$(BASE)" --platform linux/riscv64
    assert_contains "$ERR" "has no image for linux/riscv64"
    run_in 125 "$(BASE)" --user nobody-like-this
    assert_contains "$ERR" "no user \`nobody-like-this\`"
    run_in 125 "$(BASE)" --unknown-option
    run_in 125 "oci:$T/absent"
    run_in 124 "$(BASE)" --timeout 0.5 -- /bin/sleep 60
    assert_contains "$ERR" "more than 0.5 s"
}

# shellcheck disable=SC2016
test_what_the_image_says_and_what_the_user_says() {
    sandbox_or_skip
    cat >build.yaml <<YAML
version: 1
platforms: [linux/s390x]
base: $(BASE)
directories: [{path: /srv/new}]
config:
  entrypoint:
    - /bin/sh
    - -c
    - '/usr/bin/env | /usr/bin/sort; /bin/pwd; /usr/bin/id -u; /usr/bin/id -g; echo "\$\$0 \$\$*"'
  cmd: [one, two]
  env: {GREETING: hello}
  workdir: /srv/new
  user: www-data
YAML
    run_ok as_user mab build --progress quiet
    run_in 0 oci:oci
    assert_equal "$OUT" 'GREETING=hello
HOME=/var/www
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PWD=/srv/new
/srv/new
33
33
one two'
    run as_user OWN=mine SECRET=canary mab run oci:oci --env GREETING=hi --env OWN --env UNSET \
        --user 1234:77 --workdir /made/new -- three
    assert_equal "$OUT" 'GREETING=hi
HOME=/
OWN=mine
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PWD=/made/new
/made/new
1234
77
three '
    run_in 0 oci:oci --entrypoint /bin/echo -- four
    assert_equal "$OUT" four
    # A user who is not root has no more rights than that.
    run_in 0 "$(BASE)" --user 1000 -- /bin/sh -c 'while read -r name value; do case $name in Cap*|NoNewPrivs:|Seccomp:) echo "$name $value";; esac; done </proc/self/status'
    assert_equal "$OUT" 'CapInh: 0000000000000000
CapPrm: 0000000000000000
CapEff: 0000000000000000
CapBnd: 0000000000000000
CapAmb: 0000000000000000
NoNewPrivs: 1
Seccomp: 2'
}

test_input_and_output_pass_through() {
    sandbox_or_skip
    local size
    head -c 3000000 /dev/urandom >data
    as_user sh -c "mab run $(BASE) -- /bin/cat <'$T/data' >'$T/copy'" && cmp data copy
    run as_user sh -c "mab run $(BASE) -- /bin/sh -c 'echo out; echo err >&2' 2>/dev/null"
    assert_equal "$OUT" out
    # Who reads no more ends the program.
    run as_user bash -c "mab run $(BASE) -- /usr/bin/yes | head -n 2; echo \${PIPESTATUS[0]}"
    assert_equal "$OUT" $'y\ny\n141'
    # In a terminal it gets one of its own, of the same size.
    size='stty rows 31 cols 97;'
    run as_user script -qec "$size mab run $(BASE) -- /bin/sh -c 'test -t 0 && test -t 1 && /bin/stty size && /usr/bin/tty'" /dev/null
    assert_contains "$OUT" '31 97'
    assert_contains "$OUT" /dev/pts/0
    run as_user sh -c "printf 'echo typed\nexit 5\n' | script -qec 'mab run $(BASE) -- /bin/sh' /dev/null"
    assert_contains "$OUT" typed
    assert_equal "$STATUS" 5
    # What is unpacked for it is seen there, the first time, and nowhere else.
    local seen="$size TERM=xterm MAB_CACHE_DIR=$T/seen mab run $(BASE) -- /bin/true"
    run as_user script -qec "$seen" /dev/null
    assert_contains "$OUT" 'unpack '
    run as_user script -qec "$seen" /dev/null
    assert_equal "$STATUS" 0
    assert_lacks "$OUT" 'unpack'
    run as_user env MAB_CACHE_DIR="$T/unseen" mab run "$(BASE)" -- /bin/true
    assert_equal "$STATUS $OUT$ERR" '0 '
}

test_the_network_is_there_only_if_asked_for() {
    sandbox_or_skip
    run_in 0 "$(BASE)" -- /usr/bin/cut -d: -f1 /proc/net/dev
    assert_equal "$(tail -n +3 <<<"$OUT" | tr -d ' ')" lo
    run_in 0 "$(BASE)" --network host -- /usr/bin/cut -d: -f1 /proc/net/dev
    assert_equal "$OUT" "$(cut -d: -f1 /proc/net/dev)"
    run_in 0 "$(BASE)" --network host -- /bin/cat /etc/resolv.conf /etc/hosts
    assert_equal "$OUT" "$(cat /etc/resolv.conf /etc/hosts)"
}

test_a_copy_does_what_an_overlay_does() {
    sandbox_or_skip
    # Layers that delete and replace what is below them.
    mkdir -p one/etc/dir two
    echo new >one/etc/dir/new
    : >one/etc/.wh.debian_version
    : >one/etc/dir/.wh..wh..opq
    : >two/.wh.srv
    tar -C one -cf one.tar . && tar -C two -cf two.tar .
    local image=$MAB_TEST_REGISTRY/run/layers:1 look
    crane append --insecure -b "$(BASE)@$(crane digest --platform linux/amd64 "$(BASE)")" -f one.tar -f two.tar -t "$image" >/dev/null 2>&1
    # shellcheck disable=SC2016
    look='cd /; for it in * etc/* etc/dir/* usr/bin/*; do test -L "$it" && kind=l || { test -d "$it" && kind=d || kind=f; }
        case $it in proc | dev) ;; *) echo "$kind $(/usr/bin/stat -c "%a %s %h" "$it") $it" ;; esac; done'
    run_in 0 "$image" -- /bin/sh -c "$look"
    local overlay=$OUT
    assert_contains "$overlay" etc/dir/new
    assert_lacks "$overlay" debian_version
    assert_lacks "$overlay" " srv"
    run_ok as_user MAB_SANDBOX_COPY=1 mab run "$image" -- /bin/sh -c "$look"
    # Sizes of directories, and how many are in them, are the file system's own.
    local own='s/^\(d [0-9]*\) [0-9]* [0-9]* /\1 /'
    assert_equal "$(sed "$own" <<<"$OUT")" "$(sed "$own" <<<"$overlay")"
    run_ok as_user MAB_SANDBOX_COPY=1 mab run "$image" --platform linux/amd64 -- /bin/sh -c 'echo x >/etc/passwd'
}

# An image of one static program that tries everything, and links that lead out.
attacker() {
    gcc -static -O1 -Wall -Werror -o escape "$MAB_ROOT/tests/lib/escape.c"
    chmod 755 escape
    echo secret >secret
    chmod 644 secret
    cat >build.yaml <<YAML
version: 1
platforms: [$(host_platform)]
base: scratch
binaries:
  - file: escape
    to: /escape
links:
  - {path: /out, to: $T/secret}
  - {path: /up, to: ../../../../../..$T/secret}
YAML
    run_ok as_user mab build --progress quiet
    PORT=$(free_port)
    coproc SERVER { as_user ./escape serve "$T/canary" "$PORT"; }
    # shellcheck disable=SC2154  # of coproc
    read -r SERVER_NUMBER <&"${SERVER[0]}"
}

# shellcheck disable=SC2016
test_nothing_gets_out() {
    sandbox_or_skip
    attacker
    local tries=(try "$T/secret" "$SERVER_NUMBER" "$T/canary" "$PORT") who count
    count=$(grep -c '^    {"' "$MAB_ROOT/tests/lib/escape.c")
    [[ $count -ge 20 ]] || fail "only $count ways"
    # What it looks for is there, and an ordinary process gets at it.
    run as_user CANARY=1 ./escape "${tries[@]}"
    for who in "a file of the host" "a process of the host" "an abstract socket of the host" "a port of the host" \
        "the environment" "the session's keyring"; do
        assert_contains "$OUT" "OUT: $who: it worked"
    done
    for who in 0 1234; do
        # With descriptors that mab has inherited: the host's root, and a directory as standard input.
        run as_user CANARY=1 MAB_CACHE_DIR="$TEST_HOME/cache" bash -c 'exec 7</ 9<. </; exec "$@"' sh mab run oci:oci --user $who -- "${tries[@]}"
        assert_lacks "$OUT" "OUT:"
        assert_equal "$(grep -c '^held: ' <<<"$OUT")" "$count" "ways that were tried"
        assert_equal "$STATUS" 0
        # The same in a terminal.
        run as_user script -qec "mab run oci:oci --user $who -- ${tries[*]}" /dev/null
        assert_lacks "$OUT" "OUT:"
        assert_equal "$STATUS" 0
    done
    tell "$count ways were tried, as root and as another user, in pipes and in a terminal"
    kill "$SERVER_NUMBER" || true
}

# A command of a build is told that it may be another user and make devices, and is neither.
PRETENDED='^OUT: (another user|other groups|a disk.s device node|the memory.s device node): it worked$'

# shellcheck disable=SC2016
test_nothing_gets_out_of_a_build() {
    sandbox_or_skip
    attacker
    mv oci image
    local who count mode
    count=$(grep -c '^    {"' "$MAB_ROOT/tests/lib/escape.c")
    for who in 0 1234; do
        for mode in '' MAB_SANDBOX_COPY=1; do
            cat >build.yaml <<YAML
version: 1
platforms: [$(host_platform)]
base: oci:image
run:
  - command: [/escape, try, "$T/secret", "$SERVER_NUMBER", "$T/canary", "$PORT"]
    user: "$who"
    mounts: [{tmpfs: true, to: /tmp}, {bind: secret, to: /mnt/bound}]
YAML
            run as_user CANARY=1 $mode bash -c 'exec 7</ 9<. </; exec "$@"' sh mab build --no-cache --progress plain
            ERR=$(sed -n "s#^$(host_platform) | ##p" <<<"$ERR")
            assert_equal "$(grep '^OUT: ' <<<"$ERR" | grep -Ev "$PRETENDED" || true)" "" "ways out as $who"
            assert_equal "$(grep -cE '^(held|OUT): ' <<<"$ERR")" "$count" "ways that were tried"
        done
    done
    assert_equal "$(<secret)" secret
    kill "$SERVER_NUMBER" || true
}

# shellcheck disable=SC2016
test_a_malicious_image_reaches_nothing_either() {
    sandbox_or_skip
    mkdir -p root/bin
    echo untouched >victim
    chmod 666 victim
    gcc -static -O1 -o root/bin/touch -x c - <<'C'
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <errno.h>
int main(int count, char **words) {
    for (int number = 1; number < count; number++) {
        int file = open(words[number], O_RDWR | O_CREAT, 0666);
        printf("%s: %d\n", words[number], file < 0 ? errno : 0);
        if (file >= 0 && write(file, "changed\n", 8) < 0) perror(words[number]);
    }
}
C
    # In the places of what a sandbox mounts and writes, links to the host.
    ln -s "$T" root/proc
    ln -s "$T" root/dev
    ln -s "$T" root/etc
    ln -s "$T" root/way
    mkfifo root/pipe
    local up=../../../../../../..$T
    ln -s "$up/victim" root/link
    tar -C root -cf layer.tar .
    tar -C root --transform "s|^./pipe$|$T/passwd|" -cf pipe.tar ./pipe
    crane append --insecure --oci-empty-base -f layer.tar -f pipe.tar -t "$MAB_TEST_REGISTRY/run/malicious:1" >/dev/null 2>&1
    crane mutate --insecure "$MAB_TEST_REGISTRY/run/malicious:1" -t "$MAB_TEST_REGISTRY/run/malicious:1" \
        --set-platform "$(host_platform)" --entrypoint /bin/touch >/dev/null 2>&1
    local mode
    for mode in '' MAB_SANDBOX_COPY=1; do
        run as_user $mode mab run "$MAB_TEST_REGISTRY/run/malicious:1" --network host --workdir /way/deep -- \
            /link "$T/victim" /etc/victim /dev/null /proc/self/comm
        assert_equal "$STATUS" 0
        assert_equal "$(<victim)" untouched
        assert_no_path "$T/deep"
        assert_no_path "$T/resolv.conf"
        assert_no_path "$T/null"
    done
    # A layer that writes through a link of its own is not unpacked at all, or inside.
    mkdir -p layers/inside
    ln -s "$T" layers/out
    echo evil >layers/inside/file
    tar -C layers -cf evil.tar ./out
    tar -C layers --transform 's|^./inside/file|out/evil|' -rf evil.tar ./inside/file
    crane append --insecure --oci-empty-base -f layer.tar -f evil.tar -t "$MAB_TEST_REGISTRY/run/evil:1" >/dev/null 2>&1
    crane mutate --insecure "$MAB_TEST_REGISTRY/run/evil:1" -t "$MAB_TEST_REGISTRY/run/evil:1" \
        --set-platform "$(host_platform)" --entrypoint /bin/touch >/dev/null 2>&1
    run mab_run "$MAB_TEST_REGISTRY/run/evil:1" -- /x
    assert_no_path "$T/evil"
}

# shellcheck disable=SC2016
test_nothing_is_left_after_signals() {
    sandbox_or_skip
    run_in 0 "$(BASE)" -- /bin/true
    local signal delay pid moments=0 before
    before=$(as_user find "$TEST_HOME/.cache/mab" | wc -l)
    for signal in INT TERM KILL; do
        for delay in 0.005 0.01 0.02 0.03 0.05 0.08 0.1 0.2 0.4 0.8; do
            killed_after "$signal" "$delay" mab run "$(BASE)" -- /bin/sh -c '/bin/sleep 4242 & /bin/sleep 4242'
            moments=$((moments + 1))
        done
    done
    assert_equal "$moments" 30
    assert_lacks "$(cat /proc/mounts)" "$TEST_HOME"
    assert_equal "$(as_user find "$TEST_HOME/.cache/mab" | wc -l)" "$before" "files in the cache"
    # In the middle of unpacking: what is left goes with the next run.
    rm -rf "$TEST_HOME/.cache/mab"
    as_user sh -c 'echo $$ >pid; exec "$@"' sh mab run "$(BASE)" -- /bin/true &
    pid=$!
    for _ in $(seq 500); do
        compgen -G "$TEST_HOME/.cache/mab/unpacked-2/.unpacking-*" >/dev/null && break
        sleep 0.005
    done
    kill -KILL "$(<"$T/pid")" 2>/dev/null || true
    wait "$pid" || true
    sandboxes_are_gone
    run_in 0 "$(BASE)" -- /bin/true
    [[ -z $(compgen -G "$TEST_HOME/.cache/mab/unpacked-2/.unpacking-*") ]] || fail "leftovers in the cache"
}

test_what_a_program_leaves_running_ends_with_it() {
    sandbox_or_skip
    # shellcheck disable=SC2016
    run_in 0 "$(BASE)" -- /bin/sh -c '/usr/bin/setsid /bin/sleep 4242 & (/bin/sleep 4242 &) ; echo done'
    assert_equal "$OUT" "done"
    sandboxes_are_gone
}

test_hard_cases_have_their_messages() {
    sandbox_or_skip
    # Deletes everything, and only its own. (An emulated program reads its files through QEMU.)
    # shellcheck disable=SC2016
    run mab_run "$(BASE)" -- /bin/sh -c 'exec 2>/dev/null; /bin/rm -rf --no-preserve-root /; echo gone; echo *'
    assert_contains "$OUT" gone
    run_in 0 "$(BASE)" -- /bin/true
    # A script whose interpreter is missing, and a file that is no program.
    printf '#!/no/such/shell\n' >script
    echo abc >text
    cat >build.yaml <<YAML
version: 1
platforms: [$(host_platform)]
base: $(BASE)
files:
  - {from: script, to: /script, mode: "0755"}
  - {from: text, to: /text, mode: "0755"}
YAML
    run_ok as_user mab build --progress quiet
    run_in 127 oci:oci --entrypoint /script
    assert_contains "$ERR" "the interpreter that it names is not"
    run_in 126 oci:oci --entrypoint /text
    assert_contains "$ERR" "Exec format error"
    # As many processes as a sandbox may have, and no more.
    # shellcheck disable=SC2016
    run_in 0 "$(BASE)" --user 1000 --timeout 60 -- \
        /bin/sh -c 'while read -r max what count _; do test "$max $what" != "Max processes" || echo "$count"; done </proc/self/limits'
    assert_equal "$OUT" 4096
}

test_qemu_is_told_about_when_it_is_missing() {
    sandbox_or_skip
    mkdir tools
    ln -s /usr/bin/apt-get tools/apt-get
    run unregistered PATH="$MAB_RUN/bin:$T/tools" mab run "$(BASE)" --platform linux/s390x -- /bin/true
    assert_equal "$STATUS" 125
    assert_contains "$ERR" "need QEMU on this machine: qemu-s390x-static is not on PATH"
    assert_matches "$ERR" "hint: (sudo )?apt-get install qemu-user-static"
    # One with its libraries elsewhere is no use.
    cp /bin/true tools/qemu-s390x
    run unregistered PATH="$MAB_RUN/bin:$T/tools" mab run "$(BASE)" --platform linux/s390x -- /bin/true
    assert_equal "$STATUS" 125
    assert_contains "$ERR" "is linked dynamically"
}

test_what_this_system_can_do_is_told() {
    sandbox_or_skip
    run_ok as_user mab check --sandbox
    assert_matches "$OUT" "namespaces +yes"
    assert_matches "$OUT" "linux/s390x +by /usr/bin/qemu-s390x-static"
    run_ok as_user mab check --sandbox --json
    assert_equal "$(jq -r '.works, .abilities.overlay.works, .platforms["linux/arm64"].works' <<<"$OUT" | tr '\n' ' ')" "true true true "
    # A system that forbids it: as many user namespaces as none.
    # shellcheck disable=SC2016
    local forbidden='echo 0 >/proc/sys/user/max_user_namespaces && "$@"'
    run as_user unshare -Ur sh -c "$forbidden" sh mab check --sandbox
    assert_equal "$STATUS" 4
    assert_contains "$OUT" "sudo sysctl user.max_user_namespaces="
    run as_user unshare -Ur sh -c "$forbidden" sh mab run "$(BASE)" -- /bin/true
    assert_equal "$STATUS" 125
    assert_contains "$ERR" "this system does not let this user make a sandbox: it refuses a user namespace"
    assert_contains "$ERR" "sudo sysctl user.max_user_namespaces="
    # Where somebody listens to mab's own system calls already, commands of builds cannot be listened to.
    gcc -O1 -Wall -Werror -o listened "$MAB_ROOT/tests/lib/listened.c"
    chmod 755 listened
    run_ok as_user mab check --sandbox
    assert_matches "$OUT" "owners recorded +yes"
    run_ok as_user ./listened mab check --sandbox
    assert_matches "$OUT" "owners recorded +no"
    assert_contains "$OUT" "Device or resource busy (os error 16) (commands of build files do not run)"
    assert_contains "$OUT" "something listens to mab's own system calls already"
    run_ok as_user ./listened mab run "$(BASE)" -- /bin/true
    printf 'version: 1\nplatforms: [linux/amd64]\nbase: %s\nrun: [/bin/true]\n' "$(BASE)" >build.yaml
    run_exit 3 as_user ./listened mab build
    assert_contains "$ERR" "cannot listen to the program's system calls: Device or resource busy"
    assert_contains "$ERR" "hint: something listens to mab's own system calls already"
    assert_no_path oci/index.json
}
