//! Messages on disk, from the moment they are cut until the API has acknowledged them.
//!
//! One file a message: a line of JSON about it, then its exact bytes. A message is synced before it is posted
//! and removed after its acknowledgement, so that an agent that was killed posts the very same bytes
//! again. `position.json` keeps where the numbering and the subscription stand when no message tells it.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::message::{Message, Position};
use crate::durable_file;

/// What a restarted agent needs to go on: numbering, and how far the subscription was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Where the numbering stands.
    pub position: Position,
    /// How far the subscription was read into messages that the spool has taken.
    pub cursor: Option<Cursor>,
}

/// A place in the notifications of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The subscription, as its server numbers it.
    pub subscription_id: u32,
    /// The latest notification message that was taken whole; 0 before the first.
    pub notification: u32,
    /// Fingerprint of the tags in their order: with other tags the client handles mean others.
    pub layout: String,
}

/// A waiting message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub sequence: u64,
    /// Samples in it.
    pub samples: usize,
    /// Its exact bytes.
    pub body: Vec<u8>,
}

/// What waits in the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages.
    pub messages: usize,
    /// Samples in them.
    pub samples: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent has it open.
    #[error("{0} is in use by another agent: two agents cannot share a spool")]
    InUse(PathBuf),
    /// A file is not what was written.
    #[error(
        "{path} is damaged ({reason}): the disk lost or changed captured data; move the file aside only after it was recorded as lost"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Messages between two others are missing.
    #[error(
        "{path} holds message {found} where {expected} must follow: a message was removed from the spool"
    )]
    Gap {
        /// The directory.
        path: PathBuf,
        /// Number that should come.
        expected: u64,
        /// Number that is there.
        found: u64,
    },
}

/// The spool of one device. One agent has it open at a time.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    state: Mutex<State>,
    depth: watch::Sender<Depth>,
    // Held open: the lock ends with the file handle.
    _lock: File,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Entry>,
    /// After the newest message, or of a subscription made since.
    resume: Option<Resume>,
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    samples: usize,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    sequence: u64,
    samples: usize,
    sha256: String,
    resume: Resume,
}

const LOCK: &str = "spool.lock";
const POSITION: &str = "position.json";
const SUFFIX: &str = ".message";

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { action, path, source }
}

impl Spool {
    /// Opens the spool in a directory and checks everything in it; creates the directory when it is missing.
    ///
    /// # Errors
    /// When the directory is not usable or in use, when a file in it is damaged, or when a message is missing.
    pub fn open(directory: &Path) -> Result<Spool, SpoolError> {
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
        let lock_path = directory.join(LOCK);
        let lock = File::create(&lock_path).map_err(failed("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }

        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
            let path = entry.map_err(failed("list", directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if name.ends_with(SUFFIX) && !name.starts_with('.') {
                names.push(path);
            }
        }
        names.sort();
        let mut queue: VecDeque<Entry> = VecDeque::with_capacity(names.len());
        let mut newest = None;
        for path in names {
            let (header, _, bytes) = read(&path)?;
            if let Some(last) = queue.back()
                && header.sequence != last.sequence + 1
            {
                return Err(gap(directory, last.sequence + 1, header.sequence));
            }
            queue.push_back(Entry {
                sequence: header.sequence,
                samples: header.samples,
                bytes,
            });
            newest = Some(header.resume);
        }
        let kept = read_position(&directory.join(POSITION))?;
        let resume = match (newest, kept) {
            (Some(newest), Some(kept)) => {
                let (message, position) = (newest.position.next_sequence, kept.position.next_sequence);
                if position > message {
                    return Err(gap(directory, message, position));
                }
                // With the same number the position was written later: for a new subscription.
                Some(if position == message { kept } else { newest })
            }
            (newest, kept) => newest.or(kept),
        };
        let spool = Spool {
            directory: directory.to_owned(),
            state: Mutex::new(State { queue, resume }),
            depth: watch::Sender::new(Depth::default()),
            _lock: lock,
        };
        spool.announce(&spool.state().queue);
        Ok(spool)
    }

    /// Where an agent goes on after what this spool has taken; `None` for a new spool.
    pub fn resume(&self) -> Option<Resume> {
        self.state().resume.clone()
    }

    /// Numbers of the oldest and the newest waiting message.
    pub fn waiting(&self) -> Option<(u64, u64)> {
        let state = self.state();
        Some((state.queue.front()?.sequence, state.queue.back()?.sequence))
    }

    /// What waits now, and a way to wait for a change of it.
    pub fn depth(&self) -> watch::Receiver<Depth> {
        self.depth.subscribe()
    }

    /// Takes a message. When this returns, it is on disk and survives a loss of power.
    ///
    /// # Errors
    /// When the disk does not take it; nothing of it is kept then and it can be tried again.
    pub fn put(&self, message: &Message, cursor: Option<Cursor>) -> Result<(), SpoolError> {
        let resume = Resume {
            position: message.position.clone(),
            cursor,
        };
        let path = self.path(message.sequence);
        let header = Header {
            sequence: message.sequence,
            samples: message.samples,
            sha256: hex::encode(Sha256::digest(&message.body)),
            resume,
        };
        let line = to_json(&header);
        durable_file::replace_synced(&path, &[&line, b"\n", &message.body])
            .map_err(failed("write", &path))?;
        let mut state = self.state();
        state.queue.push_back(Entry {
            sequence: message.sequence,
            samples: message.samples,
            bytes: (line.len() + 1 + message.body.len()) as u64,
        });
        state.resume = Some(header.resume);
        self.announce(&state.queue);
        Ok(())
    }

    /// The oldest waiting message; it stays until it is removed.
    ///
    /// # Errors
    /// When its file is not readable or damaged.
    pub fn oldest(&self) -> Result<Option<Stored>, SpoolError> {
        let Some(sequence) = self.state().queue.front().map(|entry| entry.sequence) else {
            return Ok(None);
        };
        let (header, body, _) = read(&self.path(sequence))?;
        Ok(Some(Stored {
            sequence,
            samples: header.samples,
            body,
        }))
    }

    /// Removes the oldest message after its acknowledgement.
    ///
    /// # Errors
    /// When the disk does not do it; the message is posted again then, which does no harm.
    ///
    /// # Panics
    /// When `sequence` is not the oldest message.
    pub fn remove(&self, sequence: u64) -> Result<(), SpoolError> {
        let mut state = self.state();
        let oldest = state
            .queue
            .front()
            .expect("a message that was read is still in the queue");
        assert_eq!(oldest.sequence, sequence, "messages leave in their order");
        if state.queue.len() == 1
            && let Some(resume) = &state.resume
        {
            // The numbering must outlive the last file that tells it.
            self.write_position(resume)?;
        }
        let path = self.path(sequence);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        state.queue.pop_front();
        self.announce(&state.queue);
        Ok(())
    }

    /// Replaces where the numbering and the subscription stand, while no message waits.
    ///
    /// # Errors
    /// When the disk does not take it.
    ///
    /// # Panics
    /// When a message waits: it tells the numbering then.
    pub fn keep_position(&self, resume: Resume) -> Result<(), SpoolError> {
        let mut state = self.state();
        assert!(state.queue.is_empty(), "waiting messages tell the numbering");
        self.write_position(&resume)?;
        state.resume = Some(resume);
        Ok(())
    }

    /// Notes the subscription that a restarted agent is to take over.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep_cursor(&self, cursor: Cursor) -> Result<(), SpoolError> {
        let mut state = self.state();
        let position = state
            .resume
            .as_ref()
            .map(|resume| resume.position.clone())
            .unwrap_or_default();
        let resume = Resume {
            position,
            cursor: Some(cursor),
        };
        self.write_position(&resume)?;
        state.resume = Some(resume);
        Ok(())
    }

    fn write_position(&self, resume: &Resume) -> Result<(), SpoolError> {
        let path = self.directory.join(POSITION);
        durable_file::replace_synced(&path, &[&to_json(resume), b"\n"]).map_err(failed("write", &path))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is changed in single steps: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, queue: &VecDeque<Entry>) {
        self.depth.send_replace(Depth {
            messages: queue.len(),
            samples: queue.iter().map(|entry| entry.samples).sum(),
            bytes: queue.iter().map(|entry| entry.bytes).sum(),
        });
    }

    fn path(&self, sequence: u64) -> PathBuf {
        self.directory.join(format!("{sequence:020}{SUFFIX}"))
    }
}

fn gap(directory: &Path, expected: u64, found: u64) -> SpoolError {
    SpoolError::Gap {
        path: directory.to_owned(),
        expected,
        found,
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("numbers, texts and maps of texts have a JSON form")
}

fn read(path: &Path) -> Result<(Header, Vec<u8>, u64), SpoolError> {
    let damaged = |reason: String| SpoolError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let mut content = fs::read(path).map_err(failed("read", path))?;
    let bytes = content.len() as u64;
    let end = content
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damaged("its first line does not end".into()))?;
    let header: Header =
        serde_json::from_slice(&content[..end]).map_err(|error| damaged(error.to_string()))?;
    let body = content.split_off(end + 1);
    if hex::encode(Sha256::digest(&body)) != header.sha256 {
        return Err(damaged(
            "its bytes do not have the SHA-256 of its first line".into(),
        ));
    }
    if path.file_name().and_then(|name| name.to_str()) != Some(&format!("{:020}{SUFFIX}", header.sequence)) {
        return Err(damaged(format!("it holds message {}", header.sequence)));
    }
    Ok((header, body, bytes))
}

fn read_position(path: &Path) -> Result<Option<Resume>, SpoolError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| SpoolError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            Directory(std::env::temp_dir().join(format!("bc-spool-{}", Uuid::new_v4())))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn message(sequence: u64) -> Message {
        let position = Position {
            next_sequence: sequence + 1,
            ..Position::default()
        };
        Message {
            sequence,
            samples: 2,
            body: format!("{{\n\"sequence\":{sequence}}}").into_bytes(),
            position,
        }
    }

    fn cursor() -> Option<Cursor> {
        Some(Cursor {
            subscription_id: 4,
            notification: 9,
            layout: "tags".into(),
        })
    }

    // control: A12
    #[test]
    fn messages_survive_in_their_order_with_their_bytes() {
        let directory = Directory::new();
        let spool = Spool::open(&directory.0).unwrap();
        assert_eq!(spool.resume(), None);
        spool.put(&message(17), cursor()).unwrap();
        spool.put(&message(18), cursor()).unwrap();
        assert!(matches!(Spool::open(&directory.0), Err(SpoolError::InUse(_))));
        drop(spool);

        let spool = Spool::open(&directory.0).unwrap();
        assert_eq!(spool.resume().unwrap().position.next_sequence, 19);
        assert_eq!(spool.resume().unwrap().cursor, cursor());
        assert_eq!(spool.waiting(), Some((17, 18)));
        assert_eq!(spool.depth().borrow().samples, 4);
        let oldest = spool.oldest().unwrap().unwrap();
        assert_eq!((oldest.sequence, oldest.body), (17, message(17).body));
        spool.remove(17).unwrap();
        spool.remove(18).unwrap();
        assert_eq!(spool.oldest().unwrap(), None);
        assert_eq!(*spool.depth().borrow(), Depth::default());
        drop(spool);

        let spool = Spool::open(&directory.0).unwrap();
        assert_eq!(spool.waiting(), None);
        assert_eq!(spool.resume().unwrap().position.next_sequence, 19);
    }

    // control: A12
    #[test]
    fn a_new_subscription_is_known_before_its_first_message() {
        let directory = Directory::new();
        let other = |id| Cursor {
            subscription_id: id,
            notification: 0,
            layout: "tags".into(),
        };
        let reopen = || Spool::open(&directory.0).unwrap();
        let spool = reopen();
        spool
            .keep_position(Resume {
                position: message(6).position,
                cursor: None,
            })
            .unwrap();
        spool.keep_cursor(other(1)).unwrap();
        drop(spool);
        let spool = reopen();
        assert_eq!(
            spool.resume(),
            Some(Resume {
                position: message(6).position,
                cursor: Some(other(1))
            })
        );
        spool.put(&message(7), cursor()).unwrap();
        spool.keep_cursor(other(2)).unwrap();
        drop(spool);
        let spool = reopen();
        assert_eq!(
            spool.resume(),
            Some(Resume {
                position: message(7).position,
                cursor: Some(other(2))
            })
        );
        spool.remove(7).unwrap();
        drop(spool);
        let spool = reopen();
        assert_eq!(
            spool.resume(),
            Some(Resume {
                position: message(7).position,
                cursor: Some(other(2))
            })
        );
        spool.put(&message(8), cursor()).unwrap();
        drop(spool);
        assert_eq!(reopen().resume().unwrap().cursor, cursor());
    }

    #[test]
    fn damage_and_gaps_are_found_and_not_skipped() {
        let directory = Directory::new();
        let spool = Spool::open(&directory.0).unwrap();
        for sequence in 1..=3 {
            spool.put(&message(sequence), None).unwrap();
        }
        let second = spool.path(2);
        drop(spool);

        let good = fs::read(&second).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&second, &bad).unwrap();
        assert!(matches!(
            Spool::open(&directory.0),
            Err(SpoolError::Damaged { .. })
        ));
        fs::write(&second, &good[..good.len() - 1]).unwrap();
        assert!(matches!(
            Spool::open(&directory.0),
            Err(SpoolError::Damaged { .. })
        ));
        fs::remove_file(&second).unwrap();
        assert!(matches!(
            Spool::open(&directory.0),
            Err(SpoolError::Gap {
                expected: 2,
                found: 3,
                ..
            })
        ));
        fs::write(&second, &good).unwrap();
        let last = directory.0.join(format!("{:020}{SUFFIX}", 3));
        let third = fs::read(&last).unwrap();
        fs::write(
            directory.0.join(POSITION),
            to_json(&Resume {
                position: message(3).position,
                cursor: None,
            }),
        )
        .unwrap();
        fs::remove_file(&last).unwrap();
        fs::write(&second, &good).unwrap();
        assert!(matches!(
            Spool::open(&directory.0),
            Err(SpoolError::Gap {
                expected: 3,
                found: 4,
                ..
            })
        ));
        fs::write(&last, &third).unwrap();
        // What a killed writer left behind is not a message.
        fs::write(directory.0.join(".00000000000000000004.message.new"), b"{").unwrap();
        assert_eq!(Spool::open(&directory.0).unwrap().waiting(), Some((1, 3)));
    }
}
