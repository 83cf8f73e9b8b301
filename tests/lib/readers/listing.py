#!/usr/bin/env python3
"""Lists a tree, or a tar as Python's tarfile reads it, in the form of examples/torture.rs.

listing.py DIRECTORY | listing.py --tar FILE

Each line: path, type, link, mode, owner, size, SHA-256, capability; quoted as Rust's {:?} does.
"""
import hashlib
import os
import stat
import sys
import tarfile


def quoted(text):
    out = []
    for c in text:
        out.append({'"': '\\"', "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(c, c))
    return '"' + "".join(out) + '"'


def line(path, kind, link, mode, uid, gid, size, digest, capability):
    return f"{quoted(path)} {kind} {quoted(link)} {mode:o} {uid}:{gid} {size} {digest} {capability}".rstrip()


def tree(top):
    lines = []
    for directory, below, names in os.walk(top):
        for name in below + names:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            mode = stat.S_IMODE(info.st_mode)
            relative = os.path.relpath(path, top)
            if stat.S_ISLNK(info.st_mode):
                lines.append(line(relative, "symlink", os.readlink(path), 0o777, info.st_uid, info.st_gid, 0, "", ""))
            elif stat.S_ISDIR(info.st_mode):
                lines.append(line(relative, "directory", "", mode, info.st_uid, info.st_gid, 0, "", ""))
            elif stat.S_ISREG(info.st_mode):
                try:
                    capability = os.getxattr(path, "security.capability").hex()
                except OSError:
                    capability = ""
                with open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
                lines.append(line(relative, "file", "", mode, info.st_uid, info.st_gid, info.st_size, digest, capability))
            else:
                lines.append(f"{quoted(relative)} is something else")
    return lines


def tar(path):
    lines = []
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name
            capability = member.pax_headers.get("SCHILY.xattr.security.capability", "")
            # tarfile decodes values as UTF-8 with surrogates for what is none.
            capability = capability.encode("utf-8", "surrogateescape").hex()
            real = archive.getmember(member.linkname) if member.islnk() else member
            if real.issym():
                lines.append(line(name, "symlink", real.linkname, 0o777, real.uid, real.gid, 0, "", ""))
            elif real.isdir():
                lines.append(line(name, "directory", "", real.mode, real.uid, real.gid, 0, "", ""))
            else:
                digest = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
                lines.append(line(name, "file", "", real.mode, real.uid, real.gid, real.size, digest, capability))
    return lines


result = tar(sys.argv[2]) if sys.argv[1] == "--tar" else tree(sys.argv[1])
sys.stdout.reconfigure(errors="surrogateescape")
# As Rust sorts: by bytes.
for text in sorted(result, key=lambda text: text.encode("utf-8", "surrogateescape")):
    print(text)
