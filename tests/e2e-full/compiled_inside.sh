# shellcheck shell=bash
# The slow way works too: a Rust program that a command compiles inside the emulated image, with the
# base's own compiler; its time beside that of the same program cross-compiled.
# needs: registry debian rust crane qemu

# seconds PATTERN: what the build says that a piece of work took.
seconds() { sed -n "s/^\[$1 done in \([0-9.]*\)s.*/\1/p" <<<"$ERR" | head -n 1; }

test_a_program_is_compiled_inside_an_arm64_image() {
    push_roots "$MAB_TEST_REGISTRY/base/debian-apt:1" "$(debian_dir)" apt >/dev/null
    user_copy "$MAB_ROOT/testdata/mixed" "$T/inside"
    cd inside
    debian_mirror apt
    cat >build.yaml <<YAML
version: 1
platforms: [linux/arm64]
base: $MAB_TEST_REGISTRY/base/debian-apt:1
steps:
  - run:
      - command: |
          set -e
          export APT_CONFIG=/mnt/apt/apt.conf
          apt-get update
          apt-get install --yes --no-install-recommends rustc
          rm -rf /var/lib/apt/lists/*
        env: {DEBIAN_FRONTEND: noninteractive}
        network: host
        mounts: [{bind: apt, to: /mnt/apt}, {cache: apt, to: /var/cache/apt}]
      - command: rustc -O -o /usr/bin/inside /mnt/main.rs
        mounts: [{bind: src/main.rs, to: /mnt/main.rs}]
  - binaries: [{rust: ., to: /usr/bin/outside}]
YAML
    run_ok as_user mab build --progress plain
    local inside outside program
    inside=$(seconds 'run\] linux\/arm64 rustc .*')
    outside=$(seconds 'compile\] .*')
    tell "compiled inside, emulated: $inside s, cross-compiled: $outside s; the compiler's installation: $(seconds 'run\] linux\/arm64 set -e.*') s"
    assert_matches "$inside $outside" '^[0-9.]+ [0-9.]+$'
    for program in inside outside; do
        run_ok as_user mab run oci:oci --entrypoint "/usr/bin/$program"
        assert_contains "$OUT" "mixed on aarch64"
    done
    run_ok as_user mab run oci:oci --entrypoint /usr/bin/rustc -- --version
}
