//! The layer writer's encoder and zlib-rs over the same file, in CPU time and size:
//! `compressors FILE [MEGABYTES [ROUNDS]]`.
//!
//! Both do a layer's whole work: blocks of 992 KiB that know the 32 KiB before them, the digests of
//! tar and blob, CRC. What the decision in docs/performance.md is made of.

use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;

use flate2::{Compress, Compression as Level, Crc, FlushCompress, Status};
use oci_layout::digest::{Algorithm, Hasher};
use oci_layout::layer::{Content, Entry, EntryKind, LayerOptions, Pool, write_layer};
use oci_layout::{BlobStore, media_type::Compression};

const BLOCK: usize = 992 << 10;
const WINDOW: usize = 32 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: compressors FILE [MEGABYTES [ROUNDS]]")?;
    let megabytes: u64 = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let mut data = Vec::new();
    std::fs::File::open(file)?.take(megabytes << 20).read_to_end(&mut data)?;
    let data: Arc<[u8]> = data.into();
    let directory = tempfile::tempdir()?;
    let store = BlobStore::new(directory.path());
    let pool = Pool::new(1)?;
    let entries = [Entry::new("/file".parse()?, EntryKind::File(Content::Bytes(Arc::clone(&data))), 0o644)];

    let designs: Vec<Option<u32>> = std::iter::once(None).chain([1, 2, 3, 4, 5, 6].map(Some)).collect();
    let mut best = vec![(u64::MAX, 0); designs.len()];
    // In turns, so that what else the machine does falls on all of them.
    for _ in 0..rounds {
        for (design, best) in designs.iter().zip(&mut best) {
            let before = cpu()?;
            let size = match design {
                None => {
                    let options = LayerOptions { compression: Compression::Gzip, ..LayerOptions::default() };
                    write_layer(&entries, &options, &pool, &store)?.descriptor.size
                }
                Some(level) => zlib(&data, *level)?,
            };
            *best = (best.0.min(cpu()? - before), size);
        }
    }
    println!("{} MiB, best of {rounds} rounds", data.len() >> 20);
    for (design, (time, size)) in designs.iter().zip(best) {
        let name = design.map_or("own".to_owned(), |level| format!("zlib-rs -{level} with dictionary"));
        let (rate, ratio) = (data.len() as f64 * 1e3 / time as f64, size as f64 / data.len() as f64);
        println!("{name:<28} {rate:6.0} MB/s  {ratio:.4}");
    }
    Ok(())
}

/// Nanoseconds of CPU time of all threads.
fn cpu() -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}

fn zlib(data: &[u8], level: u32) -> Result<u64, Box<dyn Error>> {
    let mut compress = Compress::new(Level::new(level), false);
    let (mut tar, mut blob, mut crc) = (Hasher::new(Algorithm::Sha256), Hasher::new(Algorithm::Sha256), Crc::new());
    let mut output = Vec::with_capacity(2 * BLOCK);
    let mut size = 20;
    for start in (0..data.len()).step_by(BLOCK) {
        let block = &data[start..data.len().min(start + BLOCK)];
        tar.update(block);
        crc.update(block);
        compress.reset();
        if start > 0 {
            compress.set_dictionary(&data[start - WINDOW..start])?;
        }
        output.clear();
        match compress.compress_vec(block, &mut output, FlushCompress::Sync)? {
            Status::Ok if compress.total_in() == block.len() as u64 => {}
            status => return Err(format!("the block did not go in: {status:?}").into()),
        }
        blob.update(&output);
        size += output.len() as u64;
    }
    std::hint::black_box((tar.finish(), blob.finish(), crc.sum()));
    Ok(size)
}
