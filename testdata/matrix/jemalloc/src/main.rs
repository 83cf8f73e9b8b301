//! jemalloc in place of the C library's allocator; configured by autoconf.

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let kept: Vec<Vec<u8>> = (0..64).map(|n| vec![n; 4096]).collect();
    let sum: u64 = kept.iter().map(|bytes| u64::from(bytes[0])).sum();
    tikv_jemalloc_ctl::epoch::advance().unwrap();
    let allocated = tikv_jemalloc_ctl::stats::allocated::read().unwrap();
    println!("jemalloc {sum} {}", allocated >= 64 * 4096);
}
