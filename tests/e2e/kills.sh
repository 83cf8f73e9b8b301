# shellcheck shell=bash
# Killed between the first upload and the tag, a push leaves the old image as it
# was, and running it again succeeds.
# alone: kills at requests in the order that an idle machine sends them
# needs: registry crane

content() {
    local name
    for name in amd64 arm64 arm; do
        head -c 3000 /dev/urandom | base64 >"data-$name"
        chmod 644 "data-$name"
    done
}

# push: with the process's number in the file pid.
# shellcheck disable=SC2016  # for the shell inside
push() { as_user sh -c 'echo $$ >pid; exec "$@"' sh mab build --push --progress quiet; }

requests() { tail -n 1 proxy/log | cut -d' ' -f1; }

test_ten_kills_between_the_first_upload_and_the_tag() {
    local port tag=$MAB_TEST_REGISTRY/kills/app:latest
    port=$(free_port)
    mkdir proxy
    service_start proxy perl "$MAB_ROOT/tests/lib/killing-proxy" "$port" "${MAB_TEST_REGISTRY##*:}" "$T/proxy"
    service_wait proxy 10 http_answers localhost "$port"
    cat >build.yaml <<YAML
version: 1
image: localhost:$port/kills/app
platforms: [linux/amd64, linux/arm64, linux/arm/v7]
base: scratch
files:
  - {from: "data-\${platform.arch}", to: /data}
YAML
    content
    run_ok push
    # Another one, to count.
    content
    echo 0 counting >proxy/plan
    run_ok push
    local total n at when seen old new
    total=$(requests)
    assert_contains "$(tail -n 1 proxy/log)" "PUT /v2/kills/app/manifests/latest"
    [[ $total -ge 10 ]] || fail "only $total requests"
    for n in 1 2 3 4 5 6 7 8 9 10; do
        # The number of requests differs from push to push: the last kill goes by the path.
        at=$((1 + (total - 3) * (n - 1) / 8))
        [[ $n -lt 10 ]] || at=/manifests/latest
        # Before the registry sees the tag, of course.
        when=before
        [[ $((n % 2)) -eq 0 ]] || when=after
        while :; do
            old=$(crane digest "$tag")
            content
            echo "$at $when $T/pid $n.$at" >proxy/plan
            run push
            # With fewer requests than this one would have been, or as many: an earlier one, then.
            [[ $at != /* && $at -gt 3 ]] || break
            [[ $STATUS -eq 0 ]] || grep -q "^$at PUT .*/manifests/latest\$" proxy/log || break
            at=$((at - 2))
        done
        assert_equal "$STATUS" 137 "exit code when killed"
        seen="^$at "
        [[ $n -lt 10 ]] || seen="PUT .*$at\$"
        printf 'kill %d of 10: %s request %s of %d: %s\n' "$n" "$when" "$at" "$total" "$(grep -m 1 "$seen" proxy/log)"
        assert_equal "$(crane digest "$tag")" "$old" "what the tag names"
        crane validate --remote "$tag"
        echo "0 again $n" >proxy/plan
        run_ok push
        new=$(crane digest "$tag")
        assert_differ "$new" "$old"
        assert_equal "$OUT" "localhost:$port/kills/app@$new"
        crane validate --remote "$tag"
    done
    service_stop proxy
}
