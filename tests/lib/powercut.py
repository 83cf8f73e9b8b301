#!/usr/bin/env python3
"""What is on the disk after a power cut at any moment: powercut.py TRACE LAYOUT

TRACE is of `strace -f -y -e trace=openat,write,pwrite64,rename,renameat,renameat2,fsync,fdatasync,
unlink,copy_file_range,ftruncate`, of a build that wrote the OCI layout LAYOUT. The model is the
worst that POSIX allows: bytes last once their file is flushed after they were written, names last
once their directory is flushed, but any name may also last by itself. So at every moment from the
one on in which index.json got its new name, all that it names has to be flushed, and its name.
"""
import json
import os
import re
import sys

trace, layout = sys.argv[1], os.path.realpath(sys.argv[2])
dirty = set()        # files with bytes that are not flushed, by their present path
unnamed = set()      # paths whose directory was not flushed since they got their name
named = set()        # blobs that got their name in this build
flushes = writes = renames = 0
committed = False

pending = {}
events = []
for line in open(trace, errors="replace"):
    match = re.match(r"(\d+)\s+(?:[\d.]+\s+)?(.*)", line)
    pid, text = match.groups()
    if text.endswith("<unfinished ...>\n") or text.endswith("<unfinished ...>"):
        pending[pid] = text.rsplit("<unfinished", 1)[0].rstrip()
        continue
    resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
    if resumed:
        text = pending.pop(pid, "") + resumed.group(1)
    events.append(text)


def needed():
    index = json.load(open(f"{layout}/index.json"))
    waiting, found = list(index["manifests"]), set()
    while waiting:
        entry = waiting.pop()
        path = f"{layout}/blobs/{entry['digest'].replace(':', '/')}"
        if path in found:
            continue
        found.add(path)
        if "manifest" in entry["mediaType"] or "index" in entry["mediaType"]:
            document = json.load(open(path))
            waiting += document.get("manifests", []) + document.get("layers", [])
            waiting += [document["config"]] if "config" in document else []
    return found


wanted = needed()
index = f"{layout}/index.json"


def check(when):
    for path in wanted:
        if path in dirty:
            sys.exit(f"{when}: {path} is named, but its bytes are not flushed")
        if path in unnamed:
            sys.exit(f"{when}: {path} is named, but its own name is not flushed")


for text in events:
    failed = re.search(r"\)\s*=\s*-1 ", text)
    if failed:
        continue
    call = text.split("(", 1)[0]
    if call in ("write", "pwrite64", "copy_file_range", "ftruncate"):
        paths = re.findall(r"\d+<([^>]*)>", text)
        path = paths[-1] if call == "copy_file_range" else (paths or [""])[0]
        if path.startswith(layout):
            writes += 1
            dirty.add(path)
    elif call in ("fsync", "fdatasync"):
        path = re.search(r"\d+<([^>]*)>", text).group(1)
        if path.startswith(layout):
            flushes += 1
            dirty.discard(path)
            unnamed = {other for other in unnamed if os.path.dirname(other) != path}
    elif call.startswith("rename"):
        names = re.findall(r'"([^"]*)"', text)
        old, new = (os.path.join(os.path.dirname(layout), name) if not name.startswith("/") else name for name in names[:2])
        old, new = os.path.normpath(old), os.path.normpath(new)
        if new.startswith(layout):
            renames += 1
            if old in dirty:
                dirty.discard(old)
                dirty.add(new)
            else:
                dirty.discard(new)
            unnamed.add(new)
            named.add(new)
            if new == index:
                committed = True
                if new in dirty:
                    sys.exit("index.json got its name before its bytes were flushed")
                check("when index.json got its name")
    if committed:
        check(f"after {text[:80]}")

if not committed:
    sys.exit("index.json was never replaced: the trace is not of a build")
if index in unnamed:
    sys.exit("at the end: the name of index.json is not flushed")
new = len(wanted & named)
if new < 4 or writes < new or flushes < new:
    sys.exit(f"only {writes} writes and {flushes} flushes for {new} new blobs: the trace is not whole")
print(f"{len(events)} calls, {writes} writes, {renames} renames, {flushes} flushes, {new} new blobs: a cut at any moment loses nothing")
