# shellcheck shell=bash
# The test bed: compilers, base images and other people's tools, each a "part"
# that is made once and found again. To be sourced.
#
# A part lives in a directory of its own, MAB_TESTBED/NAME. It is made in a
# temporary directory beside it and renamed when it is whole; its stamp holds a
# hash of what defines it (its inputs and the function that makes it), so a part
# is made again exactly when its definition changed or its making was cut short.
#
# Root's test bed is /var/cache/mab-testbed, and everyone may read it. Another
# user writes to a cache directory of their own, and uses root's parts where
# they are those of this checkout. MAB_TESTBED, when set, is the only place.

set -euo pipefail

MAB_ROOT=${MAB_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
MAB_SYSTEM_TESTBED=/var/cache/mab-testbed

# Seconds that one download may take, and one build of a foreign tool.
MAB_DOWNLOAD_TIMEOUT=${MAB_DOWNLOAD_TIMEOUT:-300}
MAB_TOOL_BUILD_TIMEOUT=${MAB_TOOL_BUILD_TIMEOUT:-900}

is_root() { [[ $EUID -eq 0 ]]; }

if [[ -n ${MAB_TESTBED:-} ]]; then
    MAB_TESTBED_SEARCH=("$MAB_TESTBED")
elif is_root; then
    MAB_TESTBED=$MAB_SYSTEM_TESTBED
    MAB_TESTBED_SEARCH=("$MAB_TESTBED")
else
    MAB_TESTBED=${XDG_CACHE_HOME:-${HOME:?HOME or MAB_TESTBED must be set}/.cache}/mab-testbed
    MAB_TESTBED_SEARCH=("$MAB_TESTBED" "$MAB_SYSTEM_TESTBED")
fi
# Not exported: a child may be another user, who must search by themselves.

say() { printf '%s\n' "testbed: $*" >&2; }
die() {
    printf '%s\n' "error: $1" >&2
    shift
    local hint
    for hint in "$@"; do printf '%s\n' "  $hint" >&2; done
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least HAVE WANTED
version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# part_hash MAKER DEFINITION…
part_hash() {
    local maker=$1
    shift
    { declare -f "$maker"; printf '%s\n' "$@"; } | sha256sum | cut -c 1-32
}

# part_find NAME HASH: prints the directory of the finished part, or fails.
part_find() {
    local dir stamp
    for dir in "${MAB_TESTBED_SEARCH[@]}"; do
        if [[ -r $dir/.stamps/$1 && -d $dir/$1 ]] && read -r stamp <"$dir/.stamps/$1" \
            && [[ $stamp == "$2" ]]; then
            printf '%s\n' "$dir/$1"
            return 0
        fi
    done
    return 1
}

# part_make NAME HASH ANNOUNCEMENT MAKER [ARGUMENT…]
# Runs `MAKER DIRECTORY ARGUMENT…` in a temporary directory and renames it.
# Two runs at the same time: the second waits and finds the part.
part_make() {
    local name=$1 hash=$2 announcement=$3 maker=$4
    shift 4
    part_find "$name" "$hash" >/dev/null && return 0

    # World-readable: end-to-end tests use it as a user without privileges.
    (umask 022 && mkdir -p "$MAB_TESTBED/.stamps")
    (
        umask 022
        flock 9
        part_find "$name" "$hash" >/dev/null && exit 0
        say "$announcement"
        local temporary started=$SECONDS
        rm -rf "$MAB_TESTBED/.making-$name".*
        temporary=$(mktemp -d "$MAB_TESTBED/.making-$name.XXXXXX")
        chmod 755 "$temporary"
        # Where it will be.
        # shellcheck disable=SC2034
        local MAB_PART_PREFIX=$MAB_TESTBED/$name
        # In a shell of its own: whatever calls this in a condition would switch
        # `set -e` off in every function and subshell below. What whoever calls this has set for
        # their own builds is not for the part's.
        local status=0
        env -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET -u CARGO_BUILD_TARGET_DIR -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS \
            -u GOFLAGS -u GOARCH -u GOOS bash -euo pipefail <(
            declare -p "${!MAB_@}"
            declare -f
            printf '%q ' "$maker" "$temporary" "$@"
        ) </dev/null 9>&- || status=$?
        if [[ $status -ne 0 ]]; then
            rm -rf "$temporary"
            die "the test bed's part $name could not be made"
        fi
        rm -f "$MAB_TESTBED/.stamps/$name"
        rm -rf "${MAB_TESTBED:?}/$name"
        mv "$temporary" "$MAB_TESTBED/$name"
        printf '%s\n' "$hash" >"$MAB_TESTBED/.stamps/.$name.new"
        mv "$MAB_TESTBED/.stamps/.$name.new" "$MAB_TESTBED/.stamps/$name"
        say "$name: done in $((SECONDS - started)) s"
    ) 9>"$MAB_TESTBED/.lock-$name"
}
