//! Pieces that are stored together: one message for all that a document adds, pressed as one.
//!
//! What is pressed: how many there are in one byte, the length of each in two (little endian), and then the pieces.

use super::press::{press, unpress};

/// Pieces in a bundle at most. The number of a piece is that of its bundle times this, and its place in it.
pub(crate) const IN_ONE: usize = 64;
/// Bytes of pieces in a bundle at most, which leaves room for the longest piece and all lengths.
const MOST: usize = 48 << 10;

/// Pieces in bundles, in order. None is longer than `u16` counts, for so they were cut.
pub(crate) fn bundles<'p>(pieces: &[&'p [u8]]) -> Vec<Vec<&'p [u8]>> {
    let (mut bundles, mut bytes) = (Vec::<Vec<&[u8]>>::new(), 0);
    for piece in pieces {
        bytes += piece.len();
        match bundles.last_mut().filter(|bundle| bundle.len() < IN_ONE && bytes <= MOST) {
            Some(bundle) => bundle.push(piece),
            None => {
                bundles.push(vec![piece]);
                bytes = piece.len();
            }
        }
    }
    bundles
}

/// A bundle as it is kept.
pub(crate) fn tie(bundle: &[&[u8]]) -> Vec<u8> {
    let lengths = bundle.iter().flat_map(|piece| (piece.len() as u16).to_le_bytes());
    let head: Vec<u8> = std::iter::once(bundle.len() as u8).chain(lengths).collect();
    press(&[&head, &*bundle.concat()].concat())
}

/// The pieces of a bundle; none when it is not one that was kept.
pub(crate) fn untie(kept: &[u8]) -> Option<Vec<Vec<u8>>> {
    let plain = unpress(kept)?;
    let (count, rest) = plain.split_first()?;
    let (lengths, mut rest) = rest.split_at_checked(2 * usize::from(*count))?;
    let mut pieces = Vec::new();
    for length in lengths.chunks_exact(2) {
        let (piece, after) = rest.split_at_checked(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        pieces.push(piece.to_vec());
        rest = after;
    }
    rest.is_empty().then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_whole_and_in_order_and_no_bundle_is_too_large() {
        let long = vec![b'x'; 32 << 10];
        let pieces: Vec<&[u8]> = [&long[..], b"a", b"", &long, &long[..20_000]].into_iter().cycle().take(300).collect();
        let all = bundles(&pieces);
        assert_eq!(all.concat(), pieces);
        for bundle in &all {
            let bytes: usize = bundle.iter().map(|piece| piece.len()).sum();
            assert!(bundle.len() <= IN_ONE && bytes <= MOST);
            assert_eq!(untie(&tie(bundle)).unwrap(), *bundle);
        }
        assert_eq!(bundles(&vec![&b"a"[..]; 200]).len(), 4);
    }

    #[test]
    fn what_is_no_bundle_is_none() {
        let kept = tie(&[b"one", b"two"]);
        for bad in [&kept[..kept.len() - 1], &[], &[0], &[0, 2, 1], &[0, 1, 1, 0], &[0, 1, 1, 0, 7, 7], &[9, 0]] {
            assert_eq!(untie(bad), None, "{bad:?}");
        }
    }
}
