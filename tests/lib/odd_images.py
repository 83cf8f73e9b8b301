"""Writes images of the less usual kinds into an OCI layout: odd_images.py DIRECTORY

Each under a tag of its own: attested (an index with an attestation), nested (an
index in an index), docker (Docker's schema 2 list), zstd, foreign (a layer that
is to be had from its `urls` alone), artifact (an `artifactType`, the empty
config). The documents have spaces and keys that no tool would write that way.
"""

import gzip
import hashlib
import io
import json
import os
import struct
import sys
import tarfile

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
root = sys.argv[1]
os.makedirs(f"{root}/blobs/sha256")


def blob(media_type, content, **more):
    digits = hashlib.sha256(content).hexdigest()
    with open(f"{root}/blobs/sha256/{digits}", "wb") as file:
        file.write(content)
    return {"mediaType": media_type, "digest": f"sha256:{digits}", "size": len(content), **more}


def document(media_type, content, **more):
    text = json.dumps({"schemaVersion": 2, "mediaType": media_type, **content, "x-unknown": [1, None]}, indent=3)
    return blob(media_type, text.encode() + b"\n", **more)


def tar(text):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("etc/odd")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def zstd(content):
    """One frame of one block, stored as it is (RFC 8878)."""
    assert len(content) < 1 << 17
    head = struct.pack("<IBI", 0xFD2FB528, 0b1010_0000, len(content))
    return head + struct.pack("<I", 1 | len(content) << 3)[:3] + content


def image(architecture, kinds=(OCI + "config.v1+json", OCI + "layer.v1.tar+gzip", OCI + "manifest.v1+json"),
          pack=lambda content: gzip.compress(content, mtime=0), **more):
    config_type, layer_type, manifest_type = kinds
    content = tar(architecture)
    diff_id = "sha256:" + hashlib.sha256(content).hexdigest()
    config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]},
              "config": {}}
    layer = blob(layer_type, pack(content), **more)
    made = document(manifest_type, {"config": blob(config_type, json.dumps(config).encode()), "layers": [layer]})
    return {**made, "platform": {"os": "linux", "architecture": architecture}}


def index(entries, media_type=OCI + "index.v1+json", **more):
    return document(media_type, {"manifests": entries, **more})


images = [image("amd64"), image("arm64")]
statement = blob("application/vnd.in-toto+json", b'{"_type":"https://in-toto.io/Statement/v0.1"}')
config = blob(OCI + "config.v1+json", json.dumps({
    "architecture": "unknown", "os": "unknown", "config": {},
    "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]}}).encode())
attestation = document(OCI + "manifest.v1+json", {"config": config, "layers": [statement]})
attestation |= {
    "platform": {"os": "unknown", "architecture": "unknown"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": images[0]["digest"]},
}
docker = (DOCKER + "container.image.v1+json", DOCKER + "image.rootfs.diff.tar.gzip",
          DOCKER + "distribution.manifest.v2+json")
foreign = image("amd64", (OCI + "config.v1+json", OCI + "layer.nondistributable.v1.tar+gzip", OCI + "manifest.v1+json"),
                lambda content: gzip.compress(content + b"elsewhere", mtime=0), urls=["http://127.0.0.1:1/never"])
empty = blob("application/vnd.oci.empty.v1+json", b"{}", data="e30=")
tags = {
    "attested": index([*images, attestation], annotations={"a": "b"}),
    "nested": index([index(images), image("s390x")]),
    "docker": index([image("amd64", docker), image("arm64", docker)],
                    DOCKER + "distribution.manifest.list.v2+json"),
    "zstd": index([image("amd64", (OCI + "config.v1+json", OCI + "layer.v1.tar+zstd", OCI + "manifest.v1+json"), zstd)]),
    "foreign": foreign,
    "artifact": document(OCI + "manifest.v1+json", {
        "artifactType": "application/x-odd", "config": empty, "layers": [blob("application/x-odd", b"odd")]}),
}
entries = [{key: value for key, value in entry.items() if key != "platform"}
           | {"annotations": {"org.opencontainers.image.ref.name": tag}} for tag, entry in tags.items()]
with open(f"{root}/index.json", "w") as file:
    json.dump({"schemaVersion": 2, "manifests": entries}, file)
with open(f"{root}/oci-layout", "w") as file:
    file.write('{"imageLayoutVersion":"1.0.0"}')
# What is to be had elsewhere alone is not here.
layer = json.load(open(f"{root}/blobs/{foreign['digest'].replace(':', '/')}"))["layers"][0]
os.remove(f"{root}/blobs/{layer['digest'].replace(':', '/')}")
