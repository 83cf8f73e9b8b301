//! Writes a layer of everything that is hard about tar: `torture LAYOUT [THREADS [SHUFFLE]]`.
//!
//! Prints the digest of its tar, gzip and zstd blob and puts the gzip one into the layout as an image. The
//! end-to-end tests compare these with each other (threads, machines, file systems), and what
//! other programs read out of the layer with what is listed on standard error.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_layout::document::{ImageConfig, ImageManifest};
use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, Xattrs, write_layer};
use oci_layout::media_type::{Compression, OCI_CONFIG, OCI_MANIFEST};
use oci_layout::{Digest, ImagePath, Layout, Platform, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = PathBuf::from(arguments.first().ok_or("usage: torture LAYOUT [THREADS [SHUFFLE]]")?);
    let threads = arguments.get(1).map_or(Ok(2), |text| text.parse())?;
    let shuffle: u64 = arguments.get(2).map_or(Ok(0), |text| text.parse())?;
    let layout = Layout::create_or_open(&root)?;
    let source = root.with_extension("source");
    std::fs::write(&source, noise(3_000_000, 7))?;
    let mut entries = tree(&source)?;
    if shuffle > 0 {
        let keys = noise(4 * entries.len(), shuffle);
        let mut keyed: Vec<_> = keys.chunks(4).map(<[u8]>::to_vec).zip(entries).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        entries = keyed.into_iter().map(|(_, entry)| entry).collect();
    }
    let pool = Pool::new(threads)?;
    for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
        let options = LayerOptions { compression, ..LayerOptions::default() };
        let layer = write_layer(&entries, &options, &pool, layout.store())?;
        println!("{compression:?} {} {}", layer.descriptor.size, layer.descriptor.digest);
        if compression == Compression::Gzip {
            let mut config = ImageConfig::new(&Platform::new("linux", "amd64", None));
            config.rootfs.diff_ids.push(layer.diff_id);
            let config = layout.store().put_document(OCI_CONFIG, &json::to_bytes(&config)?)?;
            let manifest = ImageManifest::new(config, vec![layer.descriptor], BTreeMap::new());
            let manifest = layout.store().put_document(OCI_MANIFEST, &json::to_bytes(&manifest)?)?;
            layout.tag(&manifest, Some("latest"))?;
        }
    }
    layout.remove_unreferenced()?;
    std::fs::remove_file(&source)?;
    list(&entries)
}

/// Bytes that look like nothing, the same everywhere.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (value, repeats) = (next() as u8, next() % 5);
        bytes.extend((0..=repeats).map(|_| value & 0x3f));
    }
    bytes.truncate(length);
    bytes
}

fn tree(source: &Path) -> Result<Vec<Entry>, Box<dyn Error>> {
    let mut entries: BTreeMap<ImagePath, Entry> = BTreeMap::new();
    let mut put = |path: &str, kind: EntryKind, mode: u32, owner: (u32, u32)| -> Result<(), Box<dyn Error>> {
        let path: ImagePath = path.parse()?;
        for parent in path.ancestors().into_iter().filter(|parent| !parent.is_root()) {
            entries.entry(parent.clone()).or_insert_with(|| Entry::new(parent, EntryKind::Directory, 0o755));
        }
        let mut entry = Entry::new(path.clone(), kind, mode).owned_by(owner.0, owner.1);
        if path.relative().starts_with("capable") {
            // cap_net_bind_service, permitted and effective: linux/capability.h, vfs_cap_data.
            let value = vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            entry.xattrs = Xattrs::from_iter([("security.capability".to_owned(), value)]);
        }
        entries.insert(path, entry);
        Ok(())
    };
    let text = |text: &str| EntryKind::File(Content::Bytes(Arc::from(text.as_bytes())));
    let link = |target: &str| EntryKind::Symlink { target: target.to_owned() };
    let long = |total: usize, part: usize| -> String {
        let mut path = String::new();
        while path.len() + part + 1 < total {
            path.push('/');
            path.push_str(&"c".repeat(part));
        }
        let rest = total - path.len() - 1;
        format!("{path}/{}", "e".repeat(rest))
    };
    put("/plain", text("plain\n"), 0o644, (0, 0))?;
    put("/empty", text(""), 0o600, (1, 1))?;
    put(
        "/large",
        EntryKind::File(Content::File { path: Path::new(source).into(), size: 3_000_000 }),
        0o755,
        (1000, 1000),
    )?;
    put("/block", text(&"b".repeat(512)), 0o644, (0, 0))?;
    for total in [99, 100, 101, 255, 256, 257, 1000, 3800] {
        // Relative to the root, as tar has it: one byte less for the slash in front.
        put(&long(total + 1, 90), text("long\n"), 0o644, (0, 0))?;
    }
    put(&format!("/{}/{}", "d".repeat(255), "f".repeat(255)), text("components of 255\n"), 0o644, (0, 0))?;
    put("/größe/日本語/файл", text("names\n"), 0o644, (0, 0))?;
    put("/space and 'quote\" and\ttab and\\backslash", text("odd\n"), 0o644, (0, 0))?;
    put("/hard/a", EntryKind::HardLink { to: "/plain".parse()? }, 0o644, (0, 0))?;
    put("/hard/deep/b", EntryKind::HardLink { to: "/plain".parse()? }, 0o644, (0, 0))?;
    put("/links/absolute", link("/plain"), 0o777, (0, 0))?;
    put("/links/dangling", link("/nowhere/at/all"), 0o777, (5, 6))?;
    put("/links/up", link("../plain"), 0o777, (0, 0))?;
    put("/links/long", link(&"t/".repeat(300)), 0o777, (0, 0))?;
    put("/links/names", link("größe"), 0o777, (0, 0))?;
    put("/empty-directory", EntryKind::Directory, 0o1777, (0, 0))?;
    put("/closed-directory", EntryKind::Directory, 0o700, (65_532, 65_532))?;
    put("/setgid-directory", EntryKind::Directory, 0o2755, (0, 50))?;
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("both", 0o6755), ("unreadable", 0), ("all", 0o777)] {
        put(&format!("/modes/{name}"), text(name), mode, (0, 0))?;
    }
    put("/capable", text("capable\n"), 0o755, (0, 0))?;
    put("/owner/beyond-octal", text("owner\n"), 0o644, (3_000_000, 2_097_152))?;
    put("/owner/edge", text("edge\n"), 0o644, (2_097_151, 2_097_151))?;
    put("/owner/largest", text("largest\n"), 0o644, (4_294_967_294, 4_294_967_294))?;
    Ok(entries.into_values().collect())
}

/// A line for each entry, as the readers make it: path, type, link, mode, owner, size, digest, capability.
fn list(entries: &[Entry]) -> Result<(), Box<dyn Error>> {
    let find = |path: &ImagePath| entries.iter().find(|entry| entry.path == *path);
    let mut lines = Vec::new();
    for entry in entries {
        let real = match &entry.kind {
            EntryKind::HardLink { to } => find(to).ok_or("a hard link to nothing")?,
            _ => entry,
        };
        let (kind, link, mode, size, digest) = match &real.kind {
            EntryKind::File(content) => {
                let bytes = match content {
                    Content::Bytes(bytes) => bytes.to_vec(),
                    Content::File { .. } => noise(3_000_000, 7),
                };
                ("file", "", real.mode, bytes.len(), Digest::of(&bytes).hex())
            }
            EntryKind::Directory => ("directory", "", real.mode, 0, String::new()),
            EntryKind::Symlink { target } => ("symlink", target.as_str(), 0o777, 0, String::new()),
            EntryKind::HardLink { .. } => return Err("a hard link to a hard link".into()),
            _ => return Err("nothing that other readers list".into()),
        };
        let capability: String =
            real.xattrs.iter().flat_map(|(_, value)| value).map(|byte| format!("{byte:02x}")).collect();
        let path = entry.path.relative();
        lines.push(format!("{path:?} {kind} {link:?} {mode:o} {}:{} {size} {digest} {capability}", real.uid, real.gid));
    }
    lines.sort();
    for line in lines {
        eprintln!("{}", line.trim_end());
    }
    Ok(())
}
