//! Zstandard, compiled into the program.

fn main() -> std::io::Result<()> {
    let text = "zstd ".repeat(1000);
    let packed = zstd::bulk::compress(text.as_bytes(), 3)?;
    let unpacked = zstd::bulk::decompress(&packed, text.len())?;
    println!("zstd {} {}", packed.len() < 100, unpacked == text.as_bytes());
    Ok(())
}
