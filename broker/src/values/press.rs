//! Pieces as they are kept: deflated where that makes them smaller. The first byte says which.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// As it is.
const PLAIN: u8 = 0;
/// Deflated.
const DEFLATED: u8 = 1;
/// The usual level: beyond it time grows, and hardly anything shrinks.
const LEVEL: u8 = 6;
/// What is smaller gains nothing.
const LEAST: usize = 64;
/// The longest piece.
const MOST: usize = 64 << 10;

/// A piece as it is kept.
pub(crate) fn press(piece: &[u8]) -> Vec<u8> {
    if piece.len() >= LEAST {
        let deflated = compress_to_vec(piece, LEVEL);
        if deflated.len() < piece.len() {
            return [&[DEFLATED], &*deflated].concat();
        }
    }
    [&[PLAIN], piece].concat()
}

/// The piece itself; none when it is not one that was kept.
pub(crate) fn unpress(kept: &[u8]) -> Option<Vec<u8>> {
    match kept.split_first()? {
        (&PLAIN, piece) => Some(piece.to_vec()),
        (&DEFLATED, deflated) => decompress_to_vec_with_limit(deflated, MOST).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_whether_it_could_be_pressed_or_not() {
        let text = "the same again ".repeat(500);
        let noise: Vec<u8> = (0..4_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for piece in [text.as_bytes(), &noise, b"", b"x"] {
            assert_eq!(unpress(&press(piece)).unwrap(), piece);
        }
        assert!(press(text.as_bytes()).len() < text.len() / 10);
        assert!(press(&noise).len() <= noise.len() + 1);
        for bad in [&b""[..], &[9, 1, 2], &[DEFLATED, 255, 255]] {
            assert_eq!(unpress(bad), None);
        }
    }
}
