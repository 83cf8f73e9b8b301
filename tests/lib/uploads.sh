# shellcheck shell=bash
# What a push sent, told by the registry's own log. To be sourced.

# uploads LOG REPOSITORY: a line for each blob of the requests in LOG:
#   mounted DIGEST   by a POST that was answered 201
#   sent DIGEST      its bytes came by PUT, PATCH or POST, whatever the answer
#   sent unknown     bytes came, and were never closed with a digest
uploads() {
    awk -v repository="$2" '
        function parameter(name,   parts, n, i) {
            n = split(query, parts, "&")
            for (i = 1; i <= n; i++)
                if (index(parts[i], name "=") == 1) {
                    parts[i] = substr(parts[i], length(name) + 2)
                    sub(/%3[Aa]/, ":", parts[i])
                    return parts[i]
                }
            return ""
        }
        {
            split($0, quoted, "\"")
            split(quoted[2], request, " ")
            split(quoted[3], answer, " ")
            method = request[1]; path = request[2]; query = ""
            if (at = index(path, "?")) { query = substr(path, at + 1); path = substr(path, 1, at - 1) }
            prefix = "/v2/" repository "/blobs/uploads/"
            if (index(path, prefix) != 1) next
            session = substr(path, length(prefix) + 1)
        }
        method == "POST" && parameter("mount") != "" && answer[1] == 201 { print "mounted", parameter("mount"); next }
        method == "POST" && parameter("digest") != "" { print "sent", parameter("digest") }
        method == "PATCH" { open[session] = 1 }
        method == "PUT" { delete open[session]; print "sent", parameter("digest") }
        END { for (session in open) print "sent unknown" }
    ' "$1"
}

# assert_base_mounted LOG REPOSITORY BASE-LAYERS: each digest of the file
# BASE-LAYERS was mounted, once, and no byte of any was sent.
assert_base_mounted() {
    local digest
    uploads "$1" "$2" >"$MAB_RUN/uploads"
    [[ -s $3 ]] || fail "there are no base layers in $3"
    ! grep -qx 'sent unknown' "$MAB_RUN/uploads" || fail "bytes of an unknown blob were sent to $2"
    while read -r digest; do
        ! grep -qx "sent $digest" "$MAB_RUN/uploads" || fail "the base's layer $digest was sent to $2"
        assert_equal "$(grep -cx "mounted $digest" "$MAB_RUN/uploads")" 1 "mounts of the base's layer $digest"
    done < <(sort -u "$3")
}
