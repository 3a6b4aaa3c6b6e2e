use proptest::prelude::*;

use super::*;

const CODEC: Bincode = Bincode;

fn top() -> Top {
    Top {
        kind: Kind::Ask,
        chunked: false,
        hops: 2,
        code: 0x0304,
        correlation: 0x05,
        left: 30_000,
        trace: std::array::from_fn(|n| n as u8),
    }
}

fn letter() -> Letter<'static> {
    Letter { by_name: true, to: "ann", capability: "x.y", from: "bob", run: "r", hops: vec!["cleo"] }
}

fn frame() -> Vec<u8> {
    let mut out = Vec::new();
    CODEC.put_head(&Head::new(2, 0xA1A2_A3A4, 7, (6, 0xB1B2_B3B4), Flags::RECEIPT), &mut out);
    CODEC.put_record(top(), &[b"ab", b"c"], &mut out);
    CODEC.put_record(Top { chunked: true, ..Top::new(Kind::Reply, 9) }, &[], &mut out);
    out
}

/// Two programs of different ages read each other's frames: these bytes may never change.
#[test]
fn golden_frame() {
    let bytes = frame();
    assert_eq!(bytes.len(), HEAD + 2 * RECORD + 3);
    let head = "cb010200a4a3a2a107000000000000000600000000000000b4b3b2b108000000";
    let first = "0102040300000000050000000000000030750000000102030405060708090a0b0c0d0e0f10111213141516171803000000000000006\
                 16263";
    let second = format!("83000000000000000900000000000000{}", "00".repeat(37));
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, format!("{head}{first}{second}"));
}

#[test]
fn golden_letter() {
    let mut bytes = Vec::new();
    CODEC.put_letter(&letter(), &mut bytes);
    let text = |s: &str| [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat();
    let expected =
        [vec![1], text("ann"), text("x.y"), text("bob"), text("r"), 1u64.to_le_bytes().to_vec(), text("cleo")];
    assert_eq!(bytes, expected.concat());
    bytes.extend_from_slice(b"body");
    assert_eq!(CODEC.letter(&bytes), Ok((letter(), &b"body"[..])));
}

#[test]
fn a_frame_is_read_as_it_was_written() {
    let bytes = frame();
    let read = CODEC.frame(&bytes).unwrap();
    assert_eq!((read.head.boot, read.head.seq, read.head.ack), (0xA1A2_A3A4, 7, 6));
    assert!(read.head.flags.has(Flags::RECEIPT) && !read.head.flags.has(Flags::PING));
    assert_eq!(read.records[0], Record { top: top(), payload: b"abc" });
    assert_eq!((read.records[1].top.kind, read.records[1].top.chunked), (Kind::Reply, true));
}

#[test]
fn what_is_no_frame_is_refused_as_a_whole() {
    let bytes = frame();
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        CODEC.frame(&changed).unwrap_err()
    };
    assert_eq!(with(0, 0xCC), Malformed::Foreign);
    assert_eq!(with(1, 2), Malformed::Foreign);
    assert_eq!(with(2, 65), Malformed::TooMany(65));
    assert_eq!(with(2, 3), Malformed::Short);
    assert_eq!(with(2, 1), Malformed::Trailing(RECORD));
    assert_eq!(with(HEAD, 0), Malformed::Kind(0));
    assert_eq!(with(HEAD, 0x7F), Malformed::Kind(0x7F));
    assert_eq!(with(HEAD + 4, 1), Malformed::Letter);
    // The length of a payload: beyond the end, beyond the limit, beyond all memory.
    for byte in 45..53 {
        assert_eq!(with(HEAD + byte, 0xFF), Malformed::Short);
    }
    for end in 0..bytes.len() {
        assert!(CODEC.frame(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(CODEC.frame(&[bytes, vec![0]].concat()), Err(Malformed::Trailing(1)));
    assert_eq!(CODEC.frame(&vec![0xCB; MAX_FRAME + 1]), Err(Malformed::TooLong(MAX_FRAME + 1)));
}

#[test]
fn a_list_of_names_cannot_be_a_bomb() {
    let mut bytes = Vec::new();
    CODEC.put_letter(&Letter { hops: vec![""; MAX_HOPS + 1], ..letter() }, &mut bytes);
    assert_eq!(CODEC.letter(&bytes), Err(Malformed::Letter));
    bytes.clear();
    CODEC.put_letter(&Letter { hops: Vec::new(), ..letter() }, &mut bytes);
    let at = bytes.len() - 8;
    for count in [u64::MAX, 2_000_000_000, 1 << 40] {
        bytes[at..].copy_from_slice(&count.to_le_bytes());
        assert_eq!(CODEC.letter(&bytes), Err(Malformed::Letter));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4_096)) {
        let _ = CODEC.frame(&bytes);
        let _ = CODEC.letter(&bytes);
    }

    /// The same with a head that is right, so that records are reached; what is read is within the bytes.
    #[test]
    fn any_records_are_read_or_refused(
        records in 0..70_u16,
        tail in prop::collection::vec(prop_oneof![4 => Just(0_u8), 1 => 1..10_u8, 1 => any::<u8>()], 0..2_048),
    ) {
        let mut bytes = Vec::new();
        CODEC.put_head(&Head::new(records, 1, 1, (0, 1), Flags::NONE), &mut bytes);
        bytes.extend_from_slice(&tail);
        if let Ok(frame) = CODEC.frame(&bytes) {
            prop_assert_eq!(frame.records.len(), usize::from(records));
            let read: usize = frame.records.iter().map(|record| RECORD + record.payload.len()).sum();
            prop_assert_eq!(read, tail.len());
        }
    }

    /// A frame of ours with a byte or two changed: never a panic, never more than there is.
    #[test]
    fn a_damaged_frame_is_read_or_refused(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3)) {
        let mut bytes = frame();
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(frame) = CODEC.frame(&bytes) {
            prop_assert!(frame.records.iter().map(|record| record.payload.len()).sum::<usize>() <= bytes.len());
        }
    }
}
