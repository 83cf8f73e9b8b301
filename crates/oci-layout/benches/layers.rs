//! Writer, reader, tree and store on 32 MB of made-up content: to see a change, not to compare with others.

#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use oci_layout::layer::{Content, Entry, EntryKind, LayerFacts, LayerOptions, Limits, Pool, Tree, write_layer};
use oci_layout::media_type::Compression;
use oci_layout::{BlobStore, ImagePath};

const SIZE: usize = 32 << 20;

/// Something like a program: words that repeat at various distances, with noise between them.
fn content() -> Arc<[u8]> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut bytes: Vec<u8> = (0..4096).map(|_| next() as u8).collect();
    while bytes.len() < SIZE {
        let back = 1 + next() as usize % bytes.len().min(30_000);
        let length = 3 + next() as usize % 12;
        let from = bytes.len() - back;
        bytes.extend_from_within(from..(from + length).min(bytes.len()));
        bytes.extend((0..next() % 4).map(|_| 7));
        bytes.push(next() as u8);
    }
    bytes.truncate(SIZE);
    Arc::from(bytes)
}

fn many(count: usize) -> Vec<Entry> {
    (0..count)
        .map(|number| {
            let path: ImagePath = format!("/d{}/f{number}", number / 100).parse().expect("a path");
            let kind = EntryKind::File(Content::Bytes(Arc::from(number.to_string().repeat(100).as_bytes())));
            Entry::new(path, kind, 0o644)
        })
        .collect()
}

fn layers(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = BlobStore::new(directory.path());
    let pool = Pool::new(2).expect("threads");
    let one = [Entry::new("/f".parse().expect("a path"), EntryKind::File(Content::Bytes(content())), 0o755)];

    let mut group = criterion.benchmark_group("write");
    group.sample_size(10).throughput(Throughput::Bytes(SIZE as u64));
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let options = LayerOptions { compression, ..LayerOptions::default() };
        group.bench_function(format!("{compression:?}"), |bencher| {
            bencher.iter(|| write_layer(&one, &options, &pool, &store).expect("a layer"));
        });
    }
    group.finish();

    let entries = many(10_000);
    let mut group = criterion.benchmark_group("entries");
    group.sample_size(10).throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("write", |bencher| {
        bencher.iter(|| write_layer(&entries, &LayerOptions::default(), &pool, &store).expect("a layer"));
    });
    let layer = write_layer(&entries, &LayerOptions::default(), &pool, &store).expect("a layer");
    let scan = || {
        let blob = store.open_verified(&layer.descriptor).expect("the blob");
        LayerFacts::scan(blob, Compression::Gzip, &Limits::default()).expect("facts").0
    };
    group.bench_function("scan", |bencher| bencher.iter(scan));
    let facts = scan();
    group.bench_function("tree", |bencher| bencher.iter(|| black_box(Tree::of([&facts, &facts]))));
    let tree = Tree::of([&facts]);
    let path: ImagePath = "/d50/f5000".parse().expect("a path");
    group.bench_function("resolve", |bencher| bencher.iter(|| tree.resolve(black_box(&path), true)));
    group.finish();

    criterion.bench_function("store/put 1 KB", |bencher| {
        bencher.iter(|| store.put_bytes(black_box(&[7; 1024])).expect("stored"));
    });
}

criterion_group!(benches, layers);
criterion_main!(benches);
