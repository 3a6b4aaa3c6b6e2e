//! The one place that calls bincode.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{BorrowDecode, Encode, borrow_decode_from_slice, encode_into_slice, encode_into_std_write};

use super::frame::{MAGIC, VERSION};
use super::{Codec, Frame, HEAD, Head, Kind, Letter, MAX_FRAME, MAX_HOPS, MAX_RECORDS, Malformed, RECORD, Record, Top};

type Layout = Configuration<LittleEndian, Fixint, Limit<MAX_FRAME>>;

const LAYOUT: Layout = bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_FRAME>();

/// The codec of lanes, version 1: bincode with integers of fixed width, little-endian.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bincode;

/// A record without its payload, as its 53 bytes.
#[derive(Encode)]
struct Written {
    kind: u8,
    hops: u8,
    code: u16,
    agent: u32,
    correlation: u64,
    left: u32,
    trace: [u8; 25],
    length: u64,
}

/// A record as it is read; the same bytes, with the payload behind its length.
#[derive(BorrowDecode)]
struct Read<'a> {
    kind: u8,
    hops: u8,
    code: u16,
    /// 0: the name is in the letter. Nothing else is defined yet.
    agent: u32,
    correlation: u64,
    left: u32,
    trace: [u8; 25],
    payload: &'a [u8],
}

fn put(value: &impl Encode, out: &mut Vec<u8>) {
    // Writing to a vector does not fail, and no limit applies to writing.
    let _ = encode_into_std_write(value, out, LAYOUT);
}

fn get<'a, T: BorrowDecode<'a, ()>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Malformed> {
    let (value, length) = borrow_decode_from_slice(bytes, LAYOUT).map_err(|_| Malformed::Short)?;
    Ok((value, bytes.get(length..).unwrap_or_default()))
}

impl Codec for Bincode {
    fn put_head(&self, head: &Head, out: &mut Vec<u8>) {
        put(head, out);
    }

    fn put_record(&self, top: Top, payload: &[&[u8]], out: &mut Vec<u8>) {
        let Top { kind, chunked, hops, code, correlation, left, trace } = top;
        let kind = kind as u8 | if chunked { Kind::CHUNKED } else { 0 };
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let written = Written { kind, hops, code, agent: 0, correlation, left, trace, length: length as u64 };
        // By way of the stack, so that the vector grows once and not field by field. It fits: the layout is fixed.
        let mut bytes = [0; RECORD];
        let _ = encode_into_slice(&written, &mut bytes, LAYOUT);
        out.reserve(RECORD + length);
        out.extend_from_slice(&bytes);
        payload.iter().for_each(|part| out.extend_from_slice(part));
    }

    fn put_letter(&self, letter: &Letter<'_>, out: &mut Vec<u8>) {
        put(letter, out);
    }

    fn fit_letter(&self, letter: &Letter<'_>, room: &mut [u8]) -> Option<usize> {
        encode_into_slice(letter, room, LAYOUT).ok()
    }

    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Malformed> {
        if bytes.len() > MAX_FRAME {
            return Err(Malformed::TooLong(bytes.len()));
        }
        if bytes.len() < HEAD {
            return Err(Malformed::Short);
        }
        let (head, mut rest) = get::<Head>(bytes)?;
        if (head.magic, head.version) != (MAGIC, VERSION) {
            return Err(Malformed::Foreign);
        }
        if usize::from(head.records) > MAX_RECORDS {
            return Err(Malformed::TooMany(head.records));
        }
        let mut records = Vec::with_capacity(usize::from(head.records));
        for _ in 0..head.records {
            let (read, behind) = get::<Read<'a>>(rest)?;
            rest = behind;
            records.push(read.record()?);
        }
        if !rest.is_empty() {
            return Err(Malformed::Trailing(rest.len()));
        }
        Ok(Frame { head, records })
    }

    fn letter<'a>(&self, payload: &'a [u8]) -> Result<(Letter<'a>, &'a [u8]), Malformed> {
        let (letter, body) = get::<Letter<'a>>(payload).map_err(|_| Malformed::Letter)?;
        if letter.hops.len() > MAX_HOPS { Err(Malformed::Letter) } else { Ok((letter, body)) }
    }
}

impl<'a> Read<'a> {
    fn record(self) -> Result<Record<'a>, Malformed> {
        let Self { kind: byte, hops, code, agent, correlation, left, trace, payload } = self;
        let kind = Kind::of(byte)?;
        if agent != 0 {
            return Err(Malformed::Letter);
        }
        let chunked = byte & Kind::CHUNKED != 0;
        Ok(Record { top: Top { kind, chunked, hops, code, correlation, left, trace }, payload })
    }
}
