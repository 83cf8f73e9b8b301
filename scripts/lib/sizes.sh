# shellcheck shell=bash
# Layers of many sizes: do time and memory grow as they should? To be sourced
# after bench.sh.

# sizes_build NAME: builds the directory `data` into a layer; prints seconds and peak KiB.
sizes_build() {
    BENCH_RESULT=$WORK/.result
    rm -rf oci cache
    MAB_CACHE_DIR=$WORK/cache bench_time "$MAB" build -o oci:oci --progress quiet >&2 || { tail -5 bench.log >&2; return 1; }
    cat "$BENCH_RESULT"
}

sizes_sizes() {
    local count size
    printf 'version: 1\nbase: scratch\nplatforms: [linux/amd64]\nfiles: [{from: data, to: /data}]\n' >build.yaml
    ensure_data_gigabyte
    : >times
    for count in 1000 10000 100000 1000000; do
        rm -rf data
        data_files data "$count"
        printf 'entries %s %s\n' "$count" "$(sizes_build)" | tee -a times
    done
    for size in 1 16 256 1024 8192; do
        rm -rf data
        mkdir data
        while [[ $(stat -c %s data/file 2>/dev/null || echo 0) -lt $((size << 20)) ]]; do
            head -c "$(((size > 1024 ? 1024 : size) << 20))" "$(data_gigabyte)/file" >>data/file
        done
        printf 'megabytes %s %s\n' "$size" "$(sizes_build)" | tee -a times
    done
    python3 - times <<'PYTHON'
import sys
rows = [line.split() for line in open(sys.argv[1])]
failed = False
for kind in ("entries", "megabytes"):
    mine = [(int(n), float(s), int(k)) for what, n, s, k in rows if what == kind]
    # Starting takes what the smallest case takes at least; the slope is what counts.
    per = [(seconds - 0.02) / number for number, seconds, _ in mine]
    print(f"{kind}: " + ", ".join(f"{n}: {1e6 * p:.2f} us each" for (n, _, _), p in zip(mine, per)))
    if max(per[1:]) > 1.3 * per[0]:
        print(f"MISS: {max(per) / per[0]:.2f} times the smallest case, goal at most 1.3")
        failed = True
    for number, _, peak in mine:
        limit = 64 * 1024 + (max(0, number - 100_000) * 300 / 1024 if kind == "entries" else 0)
        if peak > limit:
            print(f"MISS: peak {peak / 1024:.0f} MiB at {number} {kind}, goal at most {limit / 1024:.0f} MiB")
            failed = True
sys.exit(1 if failed else 0)
PYTHON
}

# A file of 8 GiB and a little: its size needs a PAX record.
sizes_huge() {
    local layer digest
    printf 'version: 1\nbase: scratch\nplatforms: [linux/amd64]\nfiles: [{from: data, to: /data}]\nlayers: {compression: none}\n' >build.yaml
    mkdir data
    truncate -s 8590000001 data/file
    printf end >>data/file
    digest=$(sha256sum <data/file)
    sizes_build
    layer=$(find oci/blobs -size +1G)
    [[ $(tar -xOf "$layer" data/file | sha256sum) == "$digest" ]]
    [[ $(bsdtar -xOf "$layer" data/file | sha256sum) == "$digest" ]]
    python3 -c 'import sys, tarfile; print(tarfile.open(sys.argv[1]).getmember("data/file").size)' "$layer" | grep -qx 8590000004
    "$MAB" verify oci:oci
    printf 'a file of 8,590,000,004 bytes: GNU tar, bsdtar and Python agree\n'
}
