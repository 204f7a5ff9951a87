//! A server on this machine for tests of downloads.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// The part that was asked for, but the connection ends after some bytes of it.
    Part(usize),
    /// The whole file, whatever was asked for, but the connection ends after some bytes of it.
    Whole(usize),
    /// A page in the place of the file.
    Page,
    /// A status, without a file.
    Status(u16),
    /// Nothing: the connection is closed.
    Hang,
}

pub const ALL: usize = usize::MAX;

/// A server that answers its requests in order, the last answer again and again. The ranges that
/// were asked for are kept.
pub struct Server {
    pub address: String,
    pub asked: Arc<Mutex<Vec<Option<usize>>>>,
}

pub fn serve(bytes: Vec<u8>, answers: Vec<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/file.tar.gz", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let ranges = Arc::clone(&asked);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { return };
            let answer = answers[number.min(answers.len() - 1)];
            // A client that goes away is no failure of the server.
            let _ = respond(stream, &bytes, answer, &ranges);
        }
    });
    Server { address, asked }
}

fn respond(
    mut stream: TcpStream,
    bytes: &[u8],
    answer: Answer,
    ranges: &Mutex<Vec<Option<usize>>>,
) -> std::io::Result<()> {
    let mut start = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.strip_suffix('-').and_then(|start| start.parse().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    ranges.lock().unwrap().push(start);
    let total = bytes.len();
    match (answer, start) {
        (Answer::Hang, _) => {}
        (Answer::Status(status), _) => {
            write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n")?;
            write!(stream, "Connection: close\r\n\r\n")?;
        }
        (Answer::Part(_), Some(start)) if start >= total => {
            write!(
                stream,
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\n"
            )?;
            write!(stream, "Content-Length: 0\r\nConnection: close\r\n\r\n")?;
        }
        (Answer::Part(most), Some(start)) => {
            write!(
                stream,
                "HTTP/1.1 206 Partial\r\nContent-Length: {}\r\n",
                total - start
            )?;
            write!(
                stream,
                "Content-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            )?;
            write!(stream, "Connection: close\r\n\r\n")?;
            stream.write_all(&bytes[start..total.min(start.saturating_add(most))])?;
        }
        (Answer::Part(most), None) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n")?;
            write!(stream, "Connection: close\r\n\r\n")?;
            stream.write_all(&bytes[..total.min(most)])?;
        }
        (Answer::Whole(most), _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n")?;
            write!(stream, "Connection: close\r\n\r\n")?;
            stream.write_all(&bytes[..total.min(most)])?;
        }
        (Answer::Page, _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n")?;
            write!(stream, "Connection: close\r\n\r\nlog in to")?;
        }
    }
    stream.flush()?;
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}
