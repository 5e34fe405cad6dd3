//! Samples become messages: numbered, cut by time or size, and from then on never changed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::sample::{Sample, Value};

/// Samples at which a message is cut.
pub const MAX_SAMPLES: usize = 20_000;

/// Bytes at which a message is cut, about.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a sample besides its value: a time of 18 digits, a status of 10 and their commas.
const SAMPLE_BYTES: usize = 30;

/// Data type of a tag of which no value was seen yet.
const UNKNOWN_TYPE: &str = "Variant";

/// Where the numbering of a device stands: what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Number of the next message, from 1.
    pub next_sequence: u64,
    /// Number of the next sample of each tag, from 1; a tag that is not named is at 1.
    pub next_samples: BTreeMap<String, u64>,
    /// The latest sample of each tag, to know it again when a server repeats it.
    #[serde(default)]
    pub latest: BTreeMap<String, Latest>,
}

impl Default for Position {
    fn default() -> Self {
        Position {
            next_sequence: 1,
            next_samples: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
    }
}

/// The latest captured sample of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// Source time, 100 ns since 1601-01-01 UTC.
    pub source_ticks: i64,
    /// Raw OPC UA StatusCode.
    pub status: u32,
    /// The value as JSON text, so that bits can be compared.
    pub value: String,
}

impl Latest {
    fn of(sample: &Sample) -> Latest {
        Latest {
            source_ticks: sample.source_ticks,
            status: sample.status,
            value: serde_json::to_string(&sample.value).unwrap_or_default(),
        }
    }
}

/// A message ready to be kept and posted. The body is what the server of the API receives, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Number of the message.
    pub sequence: u64,
    /// Samples in it.
    pub samples: usize,
    /// The JSON document.
    pub body: Vec<u8>,
    /// Where the numbering stands after it.
    pub position: Position,
}

/// Collects samples for the next message.
#[derive(Debug)]
pub struct MessageBuffer {
    device_id: Uuid,
    batch: Option<String>,
    next_sequence: u64,
    tags: Vec<TagBuffer>,
    foreign: Position,
    samples: usize,
    bytes: usize,
    opened: Option<Instant>,
}

#[derive(Debug)]
struct TagBuffer {
    name: String,
    data_type: &'static str,
    next_sample: u64,
    latest: Option<Latest>,
    last: Option<Sample>,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    data_type: &'static str,
    first_sample: u64,
    source_ticks: Vec<i64>,
    values: Vec<Value>,
    status: Vec<u32>,
}

#[derive(Serialize)]
struct Body<'a> {
    device_id: Uuid,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<&'a str>,
    segments: Vec<SegmentBody<'a>>,
}

#[derive(Serialize)]
struct SegmentBody<'a> {
    tag: &'a str,
    data_type: &'a str,
    first_sample: u64,
    source_ticks: &'a [i64],
    values: &'a [Value],
    status: &'a [u32],
}

impl MessageBuffer {
    /// An empty buffer that goes on numbering at `position`. Tags of the position that are not captured
    /// any more keep their numbers.
    pub fn new(
        device_id: Uuid,
        batch: Option<String>,
        tags: impl IntoIterator<Item = String>,
        position: Position,
    ) -> MessageBuffer {
        let tags = tags
            .into_iter()
            .map(|name| TagBuffer {
                next_sample: position.next_samples.get(&name).copied().unwrap_or(1),
                latest: position.latest.get(&name).cloned(),
                name,
                data_type: UNKNOWN_TYPE,
                last: None,
                segments: Vec::new(),
            })
            .collect();
        MessageBuffer {
            device_id,
            batch,
            next_sequence: position.next_sequence,
            tags,
            foreign: position,
            samples: 0,
            bytes: 0,
            opened: None,
        }
    }

    /// Names the data type that the server declares for a tag; it stands until a value says another.
    pub fn declare(&mut self, tag: usize, data_type: &'static str) {
        self.tags[tag].data_type = data_type;
    }

    /// Takes a sample of a tag, by the tag's place in the list given to [`MessageBuffer::new`].
    pub fn push(&mut self, tag: usize, sample: Sample) {
        let tag = &mut self.tags[tag];
        let data_type = sample.data_type.unwrap_or(tag.data_type);
        tag.data_type = data_type;
        if tag
            .segments
            .last()
            .is_none_or(|segment| segment.data_type != data_type)
        {
            tag.segments.push(Segment {
                data_type,
                first_sample: tag.next_sample,
                source_ticks: Vec::new(),
                values: Vec::new(),
                status: Vec::new(),
            });
        }
        self.samples += 1;
        self.bytes += SAMPLE_BYTES + sample.value.weight();
        self.opened.get_or_insert_with(Instant::now);
        tag.next_sample += 1;
        if let Some(segment) = tag.segments.last_mut() {
            segment.source_ticks.push(sample.source_ticks);
            segment.values.push(sample.value.clone());
            segment.status.push(sample.status);
        }
        tag.last = Some(sample);
    }

    /// Whether this is the latest captured sample of the tag again: same time, status and value bits.
    pub fn repeats(&self, tag: usize, sample: &Sample) -> bool {
        let tag = &self.tags[tag];
        let latest = tag.last.as_ref().map(Latest::of).or_else(|| tag.latest.clone());
        latest.is_some_and(|latest| latest == Latest::of(sample))
    }

    /// Samples that wait for their message.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// When the message is to be cut at the latest; `None` while there is nothing to send.
    pub fn due(&self, flush_interval: Duration) -> Option<Instant> {
        self.opened.map(|opened| opened + flush_interval)
    }

    /// Whether the message has reached its size.
    pub fn is_full(&self) -> bool {
        self.samples >= MAX_SAMPLES || self.bytes >= MAX_BYTES
    }

    /// Makes the message of everything that waits; `None` when nothing does.
    ///
    /// # Errors
    /// Never for the values that a [`Sample`] can hold.
    pub fn cut(&mut self) -> Result<Option<Message>, serde_json::Error> {
        if self.samples == 0 {
            return Ok(None);
        }
        let sequence = self.next_sequence;
        let segments = self
            .tags
            .iter()
            .flat_map(|tag| tag.segments.iter().map(move |segment| (tag, segment)))
            .map(|(tag, segment)| SegmentBody {
                tag: &tag.name,
                data_type: segment.data_type,
                first_sample: segment.first_sample,
                source_ticks: &segment.source_ticks,
                values: &segment.values,
                status: &segment.status,
            })
            .collect();
        let body = serde_json::to_vec(&Body {
            device_id: self.device_id,
            sequence,
            batch: self.batch.as_deref(),
            segments,
        })?;

        self.next_sequence += 1;
        let samples = std::mem::take(&mut self.samples);
        self.bytes = 0;
        self.opened = None;
        for tag in &mut self.tags {
            tag.segments.clear();
            if let Some(last) = tag.last.take() {
                tag.latest = Some(Latest::of(&last));
            }
        }
        Ok(Some(Message {
            sequence,
            samples,
            body,
            position: self.position(),
        }))
    }

    fn position(&self) -> Position {
        let mut position = self.foreign.clone();
        position.next_sequence = self.next_sequence;
        for tag in &self.tags {
            position.next_samples.insert(tag.name.clone(), tag.next_sample);
            if let Some(latest) = &tag.latest {
                position.latest.insert(tag.name.clone(), latest.clone());
            }
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn sample(ticks: i64, value: f64) -> Sample {
        Sample {
            data_type: Some("Double"),
            source_ticks: ticks,
            value: Value::Number(value),
            status: 0,
        }
    }

    fn buffer(position: Position) -> MessageBuffer {
        let tags = ["S".to_owned(), "pH".to_owned()];
        MessageBuffer::new(Uuid::from_u128(1), Some("B-1".into()), tags, position)
    }

    fn cut(buffer: &mut MessageBuffer) -> (Message, Json) {
        let message = buffer.cut().unwrap().unwrap();
        let body = serde_json::from_slice(&message.body).unwrap();
        (message, body)
    }

    #[test]
    fn a_message_has_the_wire_form() {
        let mut buffer = buffer(Position::default());
        buffer.push(1, sample(7, 6.5));
        buffer.push(0, sample(7, -0.0));
        buffer.push(
            0,
            Sample {
                data_type: None,
                source_ticks: 8,
                value: Value::Null,
                status: 0x80320000,
            },
        );
        let (message, body) = cut(&mut buffer);
        let expected = json!({
            "device_id": "00000000-0000-0000-0000-000000000001", "sequence": 1, "batch": "B-1",
            "segments": [
                { "tag": "S", "data_type": "Double", "first_sample": 1, "source_ticks": [7, 8],
                  "values": [-0.0, null], "status": [0, 2150760448u32] },
                { "tag": "pH", "data_type": "Double", "first_sample": 1, "source_ticks": [7],
                  "values": [6.5], "status": [0] },
            ]
        });
        assert_eq!(body, expected);
        assert!(message.body.windows(12).any(|part| part == b"[-0.0,null],"));
        assert_eq!((message.sequence, message.samples), (1, 3));
    }

    #[test]
    fn numbering_has_no_gap_over_messages_and_restarts() {
        let mut first = buffer(Position::default());
        first.push(0, sample(1, 1.0));
        first.push(0, sample(2, 2.0));
        let (message, _) = cut(&mut first);
        assert!(
            first.cut().unwrap().is_none(),
            "an empty message would use up a number"
        );
        assert_eq!(message.position.next_sequence, 2);

        let mut second = buffer(message.position);
        second.push(0, sample(3, 3.0));
        second.push(1, sample(3, 6.5));
        let (message, body) = cut(&mut second);
        assert_eq!(body["sequence"], 2);
        assert_eq!(body["segments"][0]["first_sample"], 3);
        assert_eq!(body["segments"][1]["first_sample"], 1);
        assert_eq!(
            message.position.next_samples,
            [("S".into(), 4), ("pH".into(), 2)].into()
        );
    }

    #[test]
    fn tags_that_are_captured_no_more_keep_their_numbers() {
        let mut position = Position::default();
        position.next_samples.insert("old".into(), 9);
        let mut buffer = buffer(position);
        buffer.push(0, sample(1, 1.0));
        assert_eq!(cut(&mut buffer).0.position.next_samples["old"], 9);
    }

    #[test]
    fn another_data_type_begins_another_segment() {
        let mut buffer = buffer(Position::default());
        buffer.declare(0, "Int32");
        buffer.push(
            0,
            Sample {
                data_type: None,
                source_ticks: 1,
                value: Value::Null,
                status: 1 << 31,
            },
        );
        buffer.push(0, sample(2, 1.0));
        let (_, body) = cut(&mut buffer);
        assert_eq!(body["segments"][0]["data_type"], "Int32");
        assert_eq!(body["segments"][1]["data_type"], "Double");
        assert_eq!(body["segments"][1]["first_sample"], 2);
    }

    #[test]
    fn size_and_time_cut_a_message() {
        let mut buffer = buffer(Position::default());
        assert_eq!(buffer.due(Duration::from_secs(1)), None);
        for index in 0..MAX_SAMPLES {
            assert!(!buffer.is_full());
            buffer.push(index % 2, sample(index as i64, 0.1));
        }
        assert!(buffer.is_full());
        assert!(buffer.due(Duration::from_secs(1)).is_some());
        assert_eq!(cut(&mut buffer).0.samples, MAX_SAMPLES);
        assert!(!buffer.is_full());

        let text = Value::Text("x".repeat(MAX_BYTES / 2));
        buffer.push(
            0,
            Sample {
                data_type: Some("String"),
                source_ticks: 1,
                value: text,
                status: 0,
            },
        );
        assert!(buffer.is_full());
    }

    // control: A12
    #[test]
    fn the_latest_sample_is_known_again_also_after_a_restart() {
        let mut first = buffer(Position::default());
        first.push(0, sample(1, 0.0));
        assert!(first.repeats(0, &sample(1, 0.0)));
        assert!(
            !first.repeats(0, &sample(1, -0.0)),
            "negative zero is another value"
        );
        assert!(!first.repeats(0, &sample(2, 0.0)));
        assert!(!first.repeats(1, &sample(1, 0.0)));
        let position = serde_json::to_string(&cut(&mut first).0.position).unwrap();
        assert!(first.repeats(0, &sample(1, 0.0)));
        let second = buffer(serde_json::from_str(&position).unwrap());
        assert!(second.repeats(0, &sample(1, 0.0)));
        assert!(!second.repeats(0, &sample(1, 1.0)));
    }
}
