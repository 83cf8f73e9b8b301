# shellcheck shell=bash
# Packages of other architectures, downloaded and unpacked into a directory
# without root and without touching the system's own package state. To be
# sourced after testbed.sh.
#
# apt runs with a configuration of its own; mirror and signing keys are those of
# the machine's own configuration, read from it each time and never written down
# in this repository. `dpkg --add-architecture` would change the system, and the
# security suite's lists do not match for every architecture.

# apt_stanza SUITE: prints a deb822 stanza for the machine's first source that
# has SUITE's component main. Reads .sources files and one-line files.
apt_stanza() {
    local etc files=()
    etc=${MAB_APT_ETC:-/etc/apt}
    local file
    for file in "$etc"/sources.list "$etc"/sources.list.d/*.list "$etc"/sources.list.d/*.sources; do
        [[ -r $file ]] && files+=("$file")
    done
    [[ ${#files[@]} -gt 0 ]] || return 1
    awk -v suite="$1" '
        function emit(uri, signed, trusted) {
            if (done) return
            print "Types: deb\nURIs: " uri "\nSuites: " suite "\nComponents: main"
            if (signed != "") print "Signed-By:" signed
            if (trusted != "") print "Trusted: " trusted
            done = 1
        }
        function has(list, word,   parts, n, i) {
            n = split(list, parts, /[ \t\n]+/)
            for (i = 1; i <= n; i++) if (parts[i] == word) return 1
            return 0
        }
        function stanza_end(   uris) {
            if (has(field["types"], "deb") && has(field["suites"], suite) &&
                has(field["components"], "main") && field["enabled"] !~ /no|false/) {
                split(field["uris"], uris, /[ \t\n]+/)
                emit(uris[1] == "" ? uris[2] : uris[1], field["signed-by"], field["trusted"])
            }
            delete field
            key = ""
        }
        FNR == 1 { if (style == "deb822") stanza_end(); style = FILENAME ~ /\.sources$/ ? "deb822" : "line" }
        style == "line" {
            sub(/#.*/, "")
            if ($1 != "deb") next
            line = $0; signed = ""; trusted = ""
            if (match(line, /\[[^]]*\]/)) {
                n = split(substr(line, RSTART + 1, RLENGTH - 2), options, /[ \t]+/)
                for (i = 1; i <= n; i++) {
                    if (options[i] ~ /^signed-by=/) { signed = " " substr(options[i], 11); gsub(/,/, " ", signed) }
                    if (options[i] ~ /^trusted=/) trusted = substr(options[i], 9)
                }
                line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
            }
            n = split(line, words, /[ \t]+/)
            if (words[3] != suite) next
            for (i = 4; i <= n; i++) if (words[i] == "main") emit(words[2], signed, trusted)
            next
        }
        /^#/ { next }
        /^[ \t]*$/ { stanza_end(); next }
        /^[ \t]/ { field[key] = field[key] "\n" $0; next }
        {
            colon = index($0, ":")
            key = tolower(substr($0, 1, colon - 1))
            field[key] = substr($0, colon + 1)
        }
        END { if (style == "deb822") stanza_end(); exit !done }
    ' "${files[@]}"
}

# apt_own DIRECTORY "SUITE…" ARCHITECTURE…: writes a configuration and fetches its
# lists. The host's architecture comes first. Then: apt_own_run DIRECTORY COMMAND…
apt_own() {
    local dir=$1 suites=$2 suite stanza
    shift 2
    mkdir -p "$dir"/{parts,lists/partial,cache/archives/partial,debs,empty}
    for suite in $suites; do
        stanza=$(apt_stanza "$suite") \
            || die "no apt source of this machine has the suite $suite, component main" \
                "looked in /etc/apt/sources.list and /etc/apt/sources.list.d"
        printf '%s\n\n' "$stanza" >>"$dir/parts/mab.sources"
    done
    {
        # Of the machine's settings: how to reach the archive (proxies, checks). Not
        # its hooks, which would clean the system's caches.
        apt-config dump | grep '^Acquire' || true
        printf 'Dir::Etc::parts "%s";\nDir::Etc::main "/dev/null";\n' "$dir/empty"
        printf 'Dir::Etc::sourcelist "/dev/null";\n'
        printf 'Dir::Etc::sourceparts "%s";\n' "$dir/parts"
        printf 'Dir::Etc::preferencesparts "%s";\n' "$dir/empty"
        printf 'Dir::State::lists "%s";\n' "$dir/lists"
        printf 'Dir::Cache "%s";\n' "$dir/cache"
        printf 'APT::Architecture "%s";\n' "$1"
        printf 'APT::Architectures { %s};\n' "$(printf '"%s"; ' "$@")"
        # The directory is the caller's own, which the sandbox user may not enter.
        printf 'APT::Sandbox::User "root";\n'
        printf 'Acquire::Languages "none";\nAcquire::Retries "2";\n'
        printf 'Acquire::http::Timeout "30";\nAcquire::https::Timeout "30";\n'
    } >"$dir/apt.conf"
    apt_own_run "$dir" timeout "$MAB_DOWNLOAD_TIMEOUT" apt-get update -qq \
        || die "the package lists of $suites could not be fetched"
}

apt_own_run() {
    local dir=$1
    shift
    APT_CONFIG=$dir/apt.conf "$@"
}

# apt_own_newest DIRECTORY PACKAGE PREFIX: the newest version of PACKAGE that
# starts with PREFIX, or nothing.
apt_own_newest() {
    apt_own_run "$1" apt-cache madison "$2" | awk -F ' *\\| *' '{ sub(/^ +/, "", $2); print $2 }' \
        | { grep "^${3//./\\.}" || true; } | sort -V | tail -n 1
}

# apt_own_download DIRECTORY PACKAGE[:ARCHITECTURE][=VERSION]…: into DIRECTORY/debs.
apt_own_download() {
    local dir=$1
    shift
    (cd "$dir/debs" && apt_own_run "$dir" timeout "$MAB_DOWNLOAD_TIMEOUT" apt-get download -qq "$@") \
        || die "these packages could not be downloaded: $*"
}
