# shellcheck shell=bash
# Packages, users and owners by the base's own programs, for five platforms and as an
# ordinary user on a host that has registered nothing, mixed with a cross-compiled program;
# run by Docker, and compared with what BuildKit makes of a Dockerfile that says the same.
# needs: docker registry debian rust crane jq qemu buildkit

REFERENCE=localhost:5000/mixed/app:latest

# What both builds want: the base, and how packages are fetched here.
mixed_begin() {
    [[ $MAB_TEST_REGISTRY == localhost:5000 ]] || fail "testdata/mixed names localhost:5000"
    push_roots "$MAB_TEST_REGISTRY/base/debian-apt:1" "$(debian_dir)" apt >/dev/null
    user_copy "$MAB_ROOT/testdata/mixed" "$T/mixed"
    debian_mirror mixed/apt
}

# build_mixed [OPTION]…: on a host with an empty binfmt_misc.
build_mixed() {
    # shellcheck disable=SC2016
    (cd mixed && as_user unshare -Urm sh -c 'mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && exec "$@"' sh mab build --push "$@")
}

test_packages_users_and_owners_on_every_platform() {
    mixed_begin
    local started=$SECONDS name platform
    run_ok build_mixed --metadata-file "$TEST_HOME/result.json" --progress plain --smoke require
    tell "mab: $((SECONDS - started)) s for five platforms, nothing cached"
    assert_equal "$(jq -r '[.mab.manifests[] | .steps[0].reproducible, .steps[1].reproducible, .smoke[0].outcome] | unique | map(tostring) | join(" ")' "$TEST_HOME/result.json")" 'false true passed'
    for name in $(bases_names); do
        platform=$(bases_platform "$name")
        docker pull -q --platform "$platform" "$REFERENCE" >/dev/null
        in_image() { docker run --rm --network none --platform "$platform" --entrypoint /bin/sh "$REFERENCE" -c "$1"; }
        assert_equal "$(in_image id)" 'uid=2000(app) gid=2000(app) groups=2000(app)'
        assert_equal "$(in_image 'cd /var/lib/app && stat -c "%a %U:%G %n" . state link && stat -L -c "%a %U:%G" link && cat link')" \
"2750 app:www-data .
2750 app:app state
777 app:www-data link
600 app:app
made for $platform"
        assert_equal "$(in_image 'stat -c "%a %U:%G" /home/app /home/app/.profile && test ! -e /etc/debian_version')" \
            $'755 app:app\n644 app:app'
        assert_matches "$(in_image 'openssl version')" '^OpenSSL 3\.'
        assert_matches "$(in_image 'wc -l </etc/ssl/certs/ca-certificates.crt')" '^[0-9]{4}$'
        assert_matches "$(docker run --rm --network none --platform "$platform" "$REFERENCE")" '^mixed on [a-z0-9_]+, OpenSSL 3\.'
        docker image rm -f "$REFERENCE" >/dev/null 2>&1 || true
    done
    # Once more: nothing is run.
    run_ok build_mixed --progress plain
    assert_equal "$(grep -c '^\[run\] .* cached' <<<"$ERR")" 20
}

# buildkit_build REFERENCE [OPTION]…: the Dockerfile, pushed for all platforms.
buildkit_build() {
    local reference=$1
    shift
    buildctl build --frontend dockerfile.v0 --progress plain --local context=mixed --local dockerfile=mixed \
        --opt platform=linux/amd64,linux/arm64,linux/arm/v7,linux/s390x,linux/ppc64le --opt attest:provenance=disabled \
        --output "type=image,name=$reference,push=true,registry.insecure=true" "$@" \
        >buildkit.log 2>&1 || { tail -n 40 buildkit.log; fail "BuildKit: $reference"; }
}

# tree REFERENCE PLATFORM: a line for each path of the merged files.
tree() {
    crane export --insecure --platform "$2" "$1" - | python3 -c '
import hashlib, sys, tarfile
lines = {}
archive = tarfile.open(fileobj=sys.stdin.buffer, mode="r|")
for entry in archive:
    path = "/" + entry.name.strip("/").removeprefix("./")
    kind = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l"}.get(entry.type, "f")
    what = entry.linkname if kind == "l" else ""
    if entry.isfile():
        what = hashlib.sha256(archive.extractfile(entry).read()).hexdigest()
    elif entry.islnk():
        what = lines["/" + entry.linkname.strip("/").removeprefix("./")].split(" ")[-1]
    lines[path] = f"{kind} {entry.mode & 0o7777:o} {entry.uid}:{entry.gid} {path} {what}"
print("\n".join(lines[path] for path in sorted(lines)))'
}

# What differs, and why:
#   logs and caches of dpkg, apt, ldconfig and debconf hold times;
#   shadow holds the day of the change, and its copies; hashes of directories hold it too;
#   engines put empty mount points for themselves; mab leaves none.
EXPECTED='^. [0-7]+ [0-9:]+ (/var/log(/.*)?|/var/cache/(apt|debconf|ldconfig)(/.*)?|/var/lib/(apt|dpkg)(/.*)?|/etc/(shadow-?|gshadow-?|passwd-|group-|ld.so.cache|resolv.conf|hosts|hostname)|/(proc|sys|dev|run|mnt)(/.*)?)( |$)'

test_buildkit_makes_the_same_files() {
    mixed_begin
    register_binfmt
    start_buildkit
    local platform arch started=$SECONDS
    # The program is mab's own: it is the commands that are compared.
    run_ok build_mixed --progress plain
    tell "mab: $((SECONDS - started)) s"
    for platform in amd64 arm64 arm/v7 s390x ppc64le; do
        arch=${platform//\//}
        mkdir -p "mixed/prebuilt/$arch"
        crane export --insecure --platform "linux/$platform" "$REFERENCE" - | tar -xOf - usr/bin/mixed >"mixed/prebuilt/$arch/mixed"
        chmod 755 "mixed/prebuilt/$arch/mixed"
    done
    started=$SECONDS
    buildkit_build localhost:5000/mixed/buildkit:latest
    tell "BuildKit: $((SECONDS - started)) s"
    for platform in amd64 arm64 arm/v7 s390x ppc64le; do
        tree "$REFERENCE" "linux/$platform" | grep -Ev "$EXPECTED" >own
        tree localhost:5000/mixed/buildkit:latest "linux/$platform" | grep -Ev "$EXPECTED" >theirs
        [[ $(wc -l <own) -gt 1000 ]] || fail "only $(wc -l <own) paths"
        diff theirs own || fail "the files of linux/$platform differ"
    done
}

# The whole example as BuildKit and QEMU make it, with the program compiled inside each image, by a compiler
# from an image that is there already, whose own time is told apart. mab's time is the first test's.
test_buildkit_compiles_inside_too() {
    mixed_begin
    register_binfmt
    start_buildkit
    local image=localhost:5000/mixed/compiled:latest compiler=localhost:5000/mixed/rustc:1
    local name platform seconds started=$SECONDS
    buildkit_build "$compiler" --opt target=rustc
    seconds=$((SECONDS - started))
    buildctl prune --all >/dev/null
    started=$SECONDS
    buildkit_build "$image" --opt build-arg:PROGRAM=compiled --opt "build-arg:COMPILER=$compiler"
    tell "BuildKit, which compiles inside each image: $((SECONDS - started)) s; and $seconds s for the compiler's image"
    for name in $(bases_names); do
        platform=$(bases_platform "$name")
        run_ok docker_run "$image" "$platform"
        assert_matches "$OUT" '^mixed on [a-z0-9_]+, OpenSSL 3\.'
        docker image rm -f "$image" >/dev/null 2>&1 || true
    done
}
