//! Event files for TensorBoard, read by a parser of their own: framing, checksums, and what they
//! say next to `metrics.jsonl`.

mod common;

use std::path::Path;

use common::{Workplace, stderr};
use transformer_ls_infer::run::MetricLine;

/// Bit by bit, from the polynomial (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_first_chunk().expect("enough bytes");
    *bytes = rest;
    *taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in 0.. {
        let [byte] = take(bytes);
        number |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, in order.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(take(&mut message))),
            2 => {
                let length = varint(&mut message) as usize;
                let (content, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(content)
            }
            5 => Field::Number(u32::from_le_bytes(take(&mut message)).into()),
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

#[derive(Debug, Default)]
struct Event {
    time: f64,
    step: u64,
    version: Option<String>,
    scalars: Vec<(String, f32)>,
}

fn event(payload: &[u8]) -> Event {
    let mut event = Event::default();
    for field in fields(payload) {
        match field {
            (1, Field::Number(bits)) => event.time = f64::from_bits(bits),
            (2, Field::Number(step)) => event.step = step,
            (3, Field::Bytes(text)) => event.version = Some(text_of(text)),
            (5, Field::Bytes(summary)) => {
                event.scalars = fields(summary).iter().map(scalar).collect()
            }
            (other, _) => panic!("field {other}"),
        }
    }
    event
}

fn scalar(value: &(u64, Field)) -> (String, f32) {
    let (1, Field::Bytes(value)) = value else {
        panic!("a summary is values");
    };
    match fields(value)[..] {
        [(1, Field::Bytes(tag)), (2, Field::Number(bits))] => {
            (text_of(tag), f32::from_bits(bits as u32))
        }
        _ => panic!("a value is a tag and a number"),
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The events of a file, every checksum checked.
fn events(path: &Path) -> Vec<Event> {
    let file = std::fs::read(path).expect("an event file");
    let mut rest = &file[..];
    let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8);
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length: [u8; 8] = take(&mut rest);
        assert_eq!(u32::from_le_bytes(take(&mut rest)), masked(&length));
        let (payload, after) = rest.split_at(u64::from_le_bytes(length) as usize);
        rest = after;
        assert_eq!(u32::from_le_bytes(take(&mut rest)), masked(payload));
        events.push(event(payload));
    }
    events
}

const STEPS: &[&str] = &["--steps", "24", "--set", "training.evaluate_every=4"];

/// That a run's event files say what its metrics say, and each thing once.
fn agree(place: &Workplace, run: &str) -> Vec<f64> {
    let lines = place.metrics(run);
    let mut times = Vec::new();
    for split in ["train", "dev", "test"] {
        let path = place.path(run).join("tensorboard").join(split);
        let events = events(&path.join("events.out.tfevents.run"));
        assert_eq!(events[0].version.as_deref(), Some("brain.Event:2"));
        let of_split = |line: &&MetricLine| line.split.to_string() == split;
        let lines: Vec<&MetricLine> = lines.iter().filter(of_split).collect();
        assert_eq!(events.len(), lines.len() + 1, "{run}, {split}");
        for (event, line) in events[1..].iter().zip(lines) {
            assert_eq!(event.step, line.step as u64);
            let mut wanted = vec![
                ("loss".to_owned(), line.loss as f32),
                ("accuracy".to_owned(), line.accuracy as f32),
                (
                    "tokens_per_second".to_owned(),
                    line.tokens_per_second as f32,
                ),
            ];
            if split == "train" {
                wanted.push(("learning_rate".to_owned(), line.learning_rate as f32));
            }
            assert_eq!(event.scalars, wanted);
            times.push(event.time);
        }
        assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }
    times
}

#[test]
fn the_checksum_is_crc_32c() {
    // The check value of CRC-32/ISCSI, and RFC 3720's 32 bytes of zeros.
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
}

#[test]
fn event_files_say_what_the_metrics_say_through_kills_and_resumes() {
    let place = Workplace::with_data(300);
    let steps = [STEPS, &["--tensorboard"]].concat();
    let mut child = place.spawn_training("run", &steps);
    place.wait_for_checkpoint("run", 8);
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
    // What a kill between an event and its checkpoint, or in the middle of one, would leave behind.
    let dev = place.path("run/tensorboard/dev/events.out.tfevents.run");
    let mut bytes = std::fs::read(&dev).unwrap();
    let kept = events(&dev)[1].time;
    bytes.extend_from_slice(&[24, 0, 0]);
    std::fs::write(&dev, bytes).unwrap();

    // No --tensorboard: a run that has event files goes on with them.
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let times = agree(&place, "run");
    assert!(
        times.contains(&kept),
        "the time of an event that was there has moved"
    );
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!(
        times
            .iter()
            .all(|time| (0.0..3600.0).contains(&(since - time)))
    );
}

/// Killed before it had anything to write into event files, a run still knows that they are wanted.
#[test]
fn event_files_are_remembered_before_the_first_evaluation() {
    let place = Workplace::with_data(300);
    let late = ["--checkpoint-every", "1", "--tensorboard", "--steps", "200"];
    let mut child = place.spawn_training(
        "run",
        &[&late[..], &["--set", "evaluate_every=200"]].concat(),
    );
    place.wait_for_checkpoint("run", 1);
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
    assert!(place.metrics("run").is_empty(), "killed too late");
    let resumed = place.resume("run");
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    agree(&place, "run");
}

#[test]
fn a_run_that_had_none_gets_all_of_it_and_one_that_wants_none_has_none() {
    let place = Workplace::with_data(300);
    let stopped = place.train("run", &[STEPS, &["--stop-after", "12"]].concat());
    assert!(stopped.status.success(), "{}", stderr(&stopped));
    assert!(!place.path("run/tensorboard").exists());
    let with_files = ["listops", "--out", "run", "--resume", "--tensorboard"];
    let resumed = place.run(&with_files);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let times = agree(&place, "run");
    // A finished run, too: the files are there already, or are made.
    assert!(place.run(&with_files).status.success());
    assert_eq!(agree(&place, "run"), times);
    std::fs::remove_dir_all(place.path("run/tensorboard")).unwrap();
    assert!(place.run(&with_files).status.success());
    agree(&place, "run");
}
