//! Getting a file's bytes, with as many connections as it takes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, header};

use super::{Download, FetchError, size};
use crate::DatasetError;

/// Attempts in a row that bring no byte which was not there before, before giving up.
const ATTEMPTS: u32 = 4;
const CHUNK: usize = 1 << 16;

pub(super) struct Transfer<'a> {
    pub source: &'a Download,
    pub path: &'a Path,
    pub part: &'a Path,
    /// The file so far, open to append.
    pub file: File,
    pub progress: &'a dyn Fn(u64, Option<u64>),
    pub cancelled: &'a dyn Fn() -> bool,
}

/// How an attempt ended that did not fail for good.
enum Attempt {
    Complete,
    /// Cut off or refused for now: the cause.
    Again(String),
}

impl Transfer<'_> {
    /// Downloads until the file is complete; how many bytes that were.
    pub fn run(&mut self) -> Result<u64, FetchError> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!(
                "transformer-ls-datasets/",
                env!("CARGO_PKG_VERSION")
            ))
            // Resuming counts the bytes of the file, not of a compressed transfer.
            .accept_encoding("identity")
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut downloaded = 0;
        let mut failures = 0;
        let mut most = size(self.part)?;
        loop {
            match self.attempt(&agent, &mut downloaded, &mut most)? {
                Attempt::Complete => return Ok(downloaded),
                Attempt::Again(cause) => {
                    // A server that starts afresh each time, and breaks off, brings the same
                    // bytes again.
                    let kept = size(self.part)?;
                    failures = if kept > most { 1 } else { failures + 1 };
                    most = most.max(kept);
                    if failures >= ATTEMPTS {
                        return Err(FetchError::Connection {
                            url: self.source.url.clone(),
                            cause,
                            kept,
                            page: self.source.page.clone(),
                            path: self.path.to_owned(),
                        });
                    }
                    self.wait(Duration::from_millis(250 << failures))?;
                }
            }
        }
    }

    /// `most` is forgotten where the file is another one than before.
    fn attempt(
        &mut self,
        agent: &Agent,
        downloaded: &mut u64,
        most: &mut u64,
    ) -> Result<Attempt, FetchError> {
        self.listen()?;
        let mut kept = size(self.part)?;
        if self.source.bytes == Some(kept) {
            return Ok(Attempt::Complete);
        }
        let mut request = agent.get(&self.source.url);
        if kept > 0 {
            request = request.header(header::RANGE, format!("bytes={kept}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Attempt::Again(error.to_string())),
        };
        let status = response.status().as_u16();
        let (headers, body) = (response.headers(), response.body());
        let total = match status {
            // All of it, asked for or not.
            200 => {
                let total = body.content_length();
                // Before what is kept is given up for it.
                self.refuse_other_size(total)?;
                self.truncate()?;
                kept = 0;
                total
            }
            206 => match content_range(headers) {
                Some((start, total)) if start == Some(kept) => total,
                _ => {
                    self.truncate()?;
                    *most = 0;
                    return Ok(Attempt::Again("the server sent another part".into()));
                }
            },
            // Nothing follows: complete, or the part belongs to another file.
            416 => {
                let total = content_range(headers).and_then(|range| range.1);
                if total == Some(kept) {
                    return Ok(Attempt::Complete);
                }
                self.truncate()?;
                *most = 0;
                return Ok(Attempt::Again("the server has another file by now".into()));
            }
            408 | 425 | 429 | 500..=599 => {
                return Ok(Attempt::Again(format!("the server answers {status}")));
            }
            _ => {
                return Err(FetchError::Refused {
                    url: self.source.url.clone(),
                    status,
                    page: self.source.page.clone(),
                    path: self.path.to_owned(),
                });
            }
        };
        self.refuse_other_size(total)?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK];
        let total = total.or(self.source.bytes);
        loop {
            self.listen()?;
            (self.progress)(kept, total);
            let read = match body.read(&mut buffer) {
                Ok(read) => read,
                Err(error) => return Ok(Attempt::Again(error.to_string())),
            };
            if read == 0 {
                break;
            }
            let written = self.file.write_all(&buffer[..read]);
            written.map_err(DatasetError::io("write", self.part))?;
            kept += read as u64;
            *downloaded += read as u64;
        }
        match total {
            Some(total) if kept < total => Ok(Attempt::Again(format!(
                "the connection ended after {kept} of {total} bytes"
            ))),
            _ => Ok(Attempt::Complete),
        }
    }

    fn refuse_other_size(&self, total: Option<u64>) -> Result<(), FetchError> {
        match (total, self.source.bytes) {
            (Some(found), Some(wanted)) if found != wanted => Err(FetchError::Size {
                url: self.source.url.clone(),
                found,
                wanted,
                page: self.source.page.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn truncate(&mut self) -> Result<(), DatasetError> {
        self.file
            .set_len(0)
            .map_err(DatasetError::io("write", self.part))
    }

    fn listen(&self) -> Result<(), FetchError> {
        if !(self.cancelled)() {
            return Ok(());
        }
        Err(FetchError::Stopped {
            part: self.part.to_owned(),
            kept: size(self.part)?,
        })
    }

    fn wait(&self, time: Duration) -> Result<(), FetchError> {
        const STEP: Duration = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        while waited < time {
            self.listen()?;
            std::thread::sleep(STEP.min(time));
            waited += STEP;
        }
        Ok(())
    }
}

/// Start and total of `Content-Range: bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split('-').next().and_then(|start| start.parse().ok());
    Some((start, total.parse().ok()))
}
