//! Random numbers from the standard library's own seed: UUIDs for prompts and clients, seeds.

use std::hash::{BuildHasher, Hasher, RandomState};

/// 64 random bits. Not for secrets.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A canonical lowercase UUID of version 4: the form that new servers demand of a `prompt_id`.
pub fn uuid() -> String {
    let high = (random() & !0xf000) | 0x4000;
    let low = (random() & !(0xc0 << 56)) | (0x80 << 56);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_canonical_and_new() {
        let one = uuid();
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert!(one.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_ne!(one, uuid());
    }
}
