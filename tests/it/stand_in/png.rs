//! The smallest honest PNG: one colour, stored without compression.

/// A picture of one colour (`0xRRGGBB`), at most 64 pixels a side.
pub fn solid(width: u64, height: u64, color: u64) -> Vec<u8> {
    let [width, height] = [width, height].map(|side| u8::try_from(side.clamp(1, 64)).unwrap_or(64));
    let [.., red, green, blue] = color.to_be_bytes();
    let mut row = vec![0]; // no filter
    row.extend([red, green, blue].repeat(usize::from(width)));
    let pixels = row.repeat(usize::from(height));

    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut image, *b"IHDR", &[0, 0, 0, width, 0, 0, 0, height, 8, 2, 0, 0, 0]);
    chunk(&mut image, *b"IDAT", &stored(&pixels));
    chunk(&mut image, *b"IEND", &[]);
    image
}

/// A zlib stream of one stored block: 64 rows of 64 pixels fit.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("one block holds 65535 bytes");
    let mut stream = vec![0x78, 0x01, 1];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(data);
    let (low, high) = data.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65521;
        (low, (high + low) % 65521)
    });
    stream.extend((high << 16 | low).to_be_bytes());
    stream
}

fn chunk(image: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).expect("a small picture");
    image.extend(length.to_be_bytes());
    let start = image.len();
    image.extend(name);
    image.extend(data);
    let sum = crc(&image[start..]);
    image.extend(sum.to_be_bytes());
}

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 * (sum & 1)))
    })
}
