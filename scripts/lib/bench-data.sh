# shellcheck shell=bash
# What benchmarks put into layers: real programs of the test bed. To be sourced
# after all.sh.

# One file of 1 GiB: executables and libraries of several languages and machines.
data_gigabyte_make() {
    local size=$((1 << 30))
    python3 - "$size" "$1/file" "$MAB_TESTBED/rust" "$MAB_TESTBED/bases" /usr/lib /usr/bin <<'PYTHON'
import os, sys
size, target, tops = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
with open(target, "wb") as out:
    for top in tops:
        for directory, below, names in os.walk(top):
            below.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                if out.tell() == size or os.path.islink(path) or not os.path.isfile(path):
                    continue
                with open(path, "rb") as file:
                    if file.read(4) == b"\x7fELF":
                        file.seek(0)
                        out.write(file.read(size - out.tell()))
PYTHON
    [[ $(stat -c %s "$1/file") -eq $size ]] || die "the test bed has no gigabyte of programs"
}
ensure_data_gigabyte() {
    ensure_rust
    part_make bench-gigabyte "$(part_hash data_gigabyte_make 1)" \
        "joining a gigabyte of programs in $MAB_TESTBED/bench-gigabyte" data_gigabyte_make
}
data_gigabyte() { part_find bench-gigabyte "$(part_hash data_gigabyte_make 1)"; }

# data_files DIRECTORY COUNT: files of 4 KB cut out of the gigabyte, 100 in a directory.
data_files() {
    python3 - "$(data_gigabyte)/file" "$1" "$2" <<'PYTHON'
import os, sys
source, top, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(source, "rb") as data:
    for number in range(count):
        directory = f"{top}/d{number // 100:05}"
        if number % 100 == 0:
            os.makedirs(directory)
        if number % 260000 == 0:
            data.seek(0)
        with open(f"{directory}/f{number % 100:02}", "wb") as file:
            file.write(data.read(4096))
PYTHON
}
