//! Which log: name, server, incarnation, organisation.

use std::fmt;
use std::str::FromStr;

/// Why a text names no log of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is <log name>/<system identifier, 16 hex digits>/<number>-<8 hex digits>, for an organisation /<uuid> after it"
)]
pub struct OriginError;

/// One life of a log: from the server's first sealing, or the first one after a restore, to the next restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// From 1, one more each time.
    pub number: u32,
    /// Two copies of one server that go on separately have the same number, and not the same random part.
    pub random: [u8; 4],
}

/// The first line of a checkpoint. It reads from and displays as
/// `<log name>/<system identifier>/<incarnation>`, for an organisation `/<uuid>` after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    log_name: String,
    system: u64,
    incarnation: Incarnation,
    organisation: Option<[u8; 16]>,
}

impl Origin {
    /// The global log of a server: the name of its checkpoint key, the system identifier of its PostgreSQL, its incarnation.
    ///
    /// # Errors
    /// [`OriginError`] when the name is empty or has white space, control characters or a plus.
    pub fn new(log_name: &str, system: u64, incarnation: Incarnation) -> Result<Self, OriginError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if log_name.is_empty() || log_name.contains(forbidden) || incarnation.number == 0 {
            return Err(OriginError);
        }
        Ok(Origin {
            log_name: log_name.to_owned(),
            system,
            incarnation,
            organisation: None,
        })
    }

    /// The log of an organisation (its uuid) on the same server.
    pub fn of_organisation(&self, organisation: [u8; 16]) -> Self {
        Origin {
            organisation: Some(organisation),
            ..self.clone()
        }
    }

    /// The global log of the same server.
    pub fn global(&self) -> Self {
        Origin {
            organisation: None,
            ..self.clone()
        }
    }

    /// The name of the checkpoint key.
    pub fn log_name(&self) -> &str {
        &self.log_name
    }

    /// The system identifier that PostgreSQL gave itself at initdb.
    pub fn system(&self) -> u64 {
        self.system
    }

    /// Which life of the log.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The organisation's uuid; none for the global log.
    pub fn organisation(&self) -> Option<[u8; 16]> {
        self.organisation
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.number, u32::from_be_bytes(self.random))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}/{}", self.log_name, self.system, self.incarnation)?;
        match self.organisation {
            None => Ok(()),
            Some(uuid) => write!(f, "/{}", hyphenated(uuid)),
        }
    }
}

impl FromStr for Incarnation {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let read = || {
            let (number, random) = text.split_once('-')?;
            let incarnation = Incarnation {
                number: number.parse().ok().filter(|number| *number > 0)?,
                random: u32::from_str_radix(random, 16).ok()?.to_be_bytes(),
            };
            // One spelling alone.
            (incarnation.to_string() == text).then_some(incarnation)
        };
        read().ok_or(OriginError)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let read = || {
            let (rest, last) = text.rsplit_once('/')?;
            // A uuid has four hyphens, an incarnation one.
            let (global, organisation) = match parse_uuid(last) {
                Some(uuid) => (rest, Some(uuid)),
                None => (text, None),
            };
            let (rest, incarnation) = global.rsplit_once('/')?;
            let (log_name, system) = rest.rsplit_once('/')?;
            let system = u64::from_str_radix(system, 16).ok()?;
            let origin = Origin {
                organisation,
                ..Origin::new(log_name, system, incarnation.parse().ok()?).ok()?
            };
            (origin.to_string() == text).then_some(origin)
        };
        read().ok_or(OriginError)
    }
}

fn hyphenated(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    if text.len() != 36 || digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}
