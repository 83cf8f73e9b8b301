//! zlib, compiled into the program.

fn main() {
    let text = b"zlib zlib zlib zlib zlib zlib zlib zlib";
    let (mut packed, mut unpacked) = ([0u8; 128], [0u8; 128]);
    let mut packed_length = packed.len() as libz_sys::uLongf;
    let mut unpacked_length = unpacked.len() as libz_sys::uLongf;
    // The lengths are those of the buffers.
    let sum = unsafe {
        assert_eq!(libz_sys::compress(packed.as_mut_ptr(), &mut packed_length, text.as_ptr(), text.len() as _), 0);
        assert_eq!(libz_sys::uncompress(unpacked.as_mut_ptr(), &mut unpacked_length, packed.as_ptr(), packed_length), 0);
        libz_sys::crc32(0, text.as_ptr(), text.len() as _)
    };
    assert_eq!(&unpacked[..unpacked_length as usize], text);
    println!("zlib {sum:08x} {}", packed_length < text.len() as libz_sys::uLongf);
}
