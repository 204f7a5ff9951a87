//! The bytes of an event file: TensorFlow's record framing around protobuf messages.
//!
//! A record (tensorflow/core/lib/io/record_writer.h) is the payload's length (u64, little endian),
//! the length's masked CRC-32C, the payload, and the payload's masked CRC-32C. The payload is an
//! `Event` (tensorflow/core/util/event.proto), of which three fields are needed here, and the
//! scalars of a `Summary` (tensorflow/core/framework/summary.proto). That is two of protobuf's wire
//! types and no schema, so it is written by hand. A test below compares the bytes with those of Python's
//! `tensorboard` below.

/// Bytes of length and CRC before a payload, and of the CRC after it.
const BEFORE: usize = 12;
const AFTER: usize = 4;
/// Bytes of `Event.wall_time`, which is written first: key and double.
const TIME: usize = 9;

/// The record that an event file begins with.
pub fn version(time: f64) -> Vec<u8> {
    let mut event = wall_time(time);
    bytes(&mut event, 3, b"brain.Event:2"); // Event.file_version
    framed(&event)
}

/// The record of some numbers of one step.
pub fn scalars(time: f64, step: u64, scalars: &[(&str, f32)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in scalars {
        let mut value = Vec::new();
        bytes(&mut value, 1, tag.as_bytes()); // Summary.Value.tag
        key(&mut value, 2, 5); // Summary.Value.simple_value
        value.extend(number.to_le_bytes());
        bytes(&mut summary, 1, &value); // Summary.value
    }
    let mut event = wall_time(time);
    key(&mut event, 2, 0); // Event.step
    varint(&mut event, step);
    bytes(&mut event, 5, &summary); // Event.summary
    framed(&event)
}

/// Whether the records of `wanted` are those that `found` begins with, times left out.
pub fn begins_alike(found: &[u8], wanted: &[u8]) -> bool {
    let Some(mut found) = found.get(..wanted.len()) else {
        return false;
    };
    let mut wanted = wanted;
    while let Some(frame) = wanted.get(..BEFORE) {
        let length = u64::from_le_bytes(std::array::from_fn(|place| frame[place])) as usize;
        let end = BEFORE + length + AFTER;
        let alike = |range: std::ops::Range<usize>| {
            let both = (found.get(range.clone()), wanted.get(range));
            matches!(both, (Some(found), Some(wanted)) if found == wanted)
        };
        if !(alike(0..BEFORE + 1) && alike(BEFORE + TIME..BEFORE + length)) {
            return false;
        }
        let payload = &found[BEFORE..BEFORE + length];
        if found.get(BEFORE + length..end) != Some(&masked_crc(payload)[..]) {
            return false;
        }
        (found, wanted) = (&found[end..], &wanted[end..]);
    }
    true
}

fn wall_time(time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, 1); // Event.wall_time
    event.extend(time.to_le_bytes());
    event
}

/// A field's number and wire type.
fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, (field << 3) | wire_type);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A field of text, or a message within a message.
fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(out, field, 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked_crc(&length), payload, &masked_crc(payload)];
    parts.concat()
}

/// CRC-32C, rotated and shifted so that a CRC over data with CRCs in it stays a good one.
fn masked_crc(data: &[u8]) -> [u8; AFTER] {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use transformer_ls_datasets::printable::hex;

    use super::*;

    /// What `tensorboard` 2.21 writes with its `RecordWriter` for the same two events.
    const VERSION: &str = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a32\
        2a28646c";
    const SCALARS: &str = "31000000000000009d8383e9090000502a5bc1da411088272a230a0b0a046c6f7373159a\
        99993e0a140a0d6c6561726e696e675f726174651517b7d13858ef258f";

    #[test]
    fn records_are_those_of_tensorboard_itself() {
        assert_eq!(hex(&version(1.5)), VERSION);
        let figures = [("loss", 0.3), ("learning_rate", 1e-4)];
        assert_eq!(hex(&scalars(1_795_517_609.25, 5000, &figures)), SCALARS);
    }

    #[test]
    fn files_are_alike_when_nothing_but_times_differs() {
        let file = |time: f64, numbers: &[f32]| {
            let records = numbers.iter().zip(1..);
            let records = records.map(|(number, step)| scalars(time, step, &[("loss", *number)]));
            std::iter::once(version(time))
                .chain(records)
                .collect::<Vec<_>>()
                .concat()
        };
        let found = file(1.0, &[0.5, 0.25, 0.125]);
        assert!(begins_alike(&found, &file(2.0, &[0.5, 0.25])));
        assert!(begins_alike(
            &found[..found.len() - 3],
            &file(2.0, &[0.5, 0.25])
        ));
        assert!(begins_alike(&found, &file(2.0, &[])));
        assert!(!begins_alike(&found, &file(2.0, &[0.5, 0.75])));
        assert!(!begins_alike(
            &found[..found.len() - 1],
            &file(1.0, &[0.5, 0.25, 0.125])
        ));
        // A damaged time shows in the checksum.
        let mut damaged = found.clone();
        damaged[BEFORE + 3] ^= 1;
        assert!(!begins_alike(&damaged, &file(1.0, &[0.5])));
    }
}
