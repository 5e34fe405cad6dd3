//! One captured value: what the server sent, in a form that JSON carries without loss.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opcua::types::{DataValue, DateTime, StatusCode, Variant};
use serde::{Serialize, Serializer};

/// A value of a tag with its source time and its raw status code.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the OPC UA built-in data type; `None` when there is no value and therefore no type.
    pub data_type: Option<&'static str>,
    /// Source time: 100 ns since 1601-01-01 UTC, as captured.
    pub source_ticks: i64,
    /// The value.
    pub value: Value,
    /// Raw 32-bit OPC UA StatusCode.
    pub status: u32,
}

/// A value by what JSON can say about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value, or a number that JSON cannot carry.
    Null,
    /// A truth value.
    Boolean(bool),
    /// Any of the signed integers.
    Signed(i64),
    /// Any of the unsigned integers.
    Unsigned(u64),
    /// A finite Double; a Float is widened, which keeps its value exactly.
    Number(f64),
    /// Text, or another type in its textual form.
    Text(String),
}

/// Status of a number that is not finite: JSON has no text for it, and no value is better than a
/// wrong one (OPC UA Part 6 annex A, BadOutOfRange).
pub const NOT_FINITE: u32 = 0x803C_0000;

/// Overflow: the server's queue dropped values (Part 4 §7.39). It should come with InfoType DataValue
/// (0x400); some servers leave that out, and without it the bit means nothing else.
const OVERFLOW: u32 = 0x0000_0080;

impl Sample {
    /// Takes a notification as it came. A server that gives no source time gives its own; one that gives
    /// neither leaves the time of receipt.
    pub fn capture(data: &DataValue, received: DateTime) -> Sample {
        let time = data
            .source_timestamp
            .or(data.server_timestamp)
            .unwrap_or(received);
        let status = data.status.unwrap_or(StatusCode::Good).bits();
        let (data_type, value) = match &data.value {
            None | Some(Variant::Empty) => (None, Some(Value::Null)),
            Some(variant) => (Some(type_name(variant)), json_value(variant)),
        };
        let (value, status) = match value {
            Some(value) => (value, status),
            None => (Value::Null, NOT_FINITE),
        };
        Sample {
            data_type,
            source_ticks: time.checked_ticks(),
            value,
            status,
        }
    }

    /// Whether the server says that it dropped values of this tag before this one.
    pub fn follows_a_gap(&self) -> bool {
        self.status & OVERFLOW != 0
    }
}

/// The JSON form of a value; `None` for a number that is not finite.
fn json_value(variant: &Variant) -> Option<Value> {
    Some(match variant {
        Variant::Empty => Value::Null,
        Variant::Boolean(value) => Value::Boolean(*value),
        Variant::SByte(value) => Value::Signed((*value).into()),
        Variant::Int16(value) => Value::Signed((*value).into()),
        Variant::Int32(value) => Value::Signed((*value).into()),
        Variant::Int64(value) => Value::Signed(*value),
        Variant::Byte(value) => Value::Unsigned((*value).into()),
        Variant::UInt16(value) => Value::Unsigned((*value).into()),
        Variant::UInt32(value) => Value::Unsigned((*value).into()),
        Variant::UInt64(value) => Value::Unsigned(*value),
        Variant::Float(value) if value.is_finite() => Value::Number((*value).into()),
        Variant::Double(value) if value.is_finite() => Value::Number(*value),
        Variant::Float(_) | Variant::Double(_) => return None,
        Variant::String(text) => text.value().clone().map_or(Value::Null, Value::Text),
        Variant::XmlElement(text) => Value::Text(text.to_string()),
        Variant::DateTime(time) => Value::Text(time.checked_ticks().to_string()),
        Variant::Guid(guid) => Value::Text(guid.to_string()),
        Variant::StatusCode(status) => Value::Text(status.bits().to_string()),
        Variant::ByteString(bytes) => match &bytes.value {
            Some(bytes) => Value::Text(BASE64.encode(bytes)),
            None => Value::Null,
        },
        Variant::NodeId(node) => Value::Text(node.to_string()),
        Variant::ExpandedNodeId(node) => Value::Text(node.to_string()),
        Variant::QualifiedName(name) => Value::Text(format!("{}:{}", name.namespace_index, name.name)),
        Variant::LocalizedText(text) => Value::Text(
            serde_json::json!({ "locale": text.locale.value(), "text": text.text.value() }).to_string(),
        ),
        Variant::Variant(inner) => json_value(inner)?,
        Variant::Array(array) => {
            // Elements that are not finite become null inside the array; their place is kept.
            let elements: Vec<Value> = array
                .values
                .iter()
                .map(|element| json_value(element).unwrap_or(Value::Null))
                .collect();
            Value::Text(serde_json::to_string(&elements).unwrap_or_default())
        }
        // Structures of a server's own have no form that is the same for everyone.
        Variant::ExtensionObject(_) | Variant::DataValue(_) | Variant::DiagnosticInfo(_) => {
            Value::Text(format!("{variant:?}"))
        }
    })
}

/// Name of the built-in type (OPC UA Part 6 §5.1.2). An array is a Variant: its text is JSON.
fn type_name(variant: &Variant) -> &'static str {
    match variant {
        Variant::Empty => "Null",
        Variant::Boolean(_) => "Boolean",
        Variant::SByte(_) => "SByte",
        Variant::Byte(_) => "Byte",
        Variant::Int16(_) => "Int16",
        Variant::UInt16(_) => "UInt16",
        Variant::Int32(_) => "Int32",
        Variant::UInt32(_) => "UInt32",
        Variant::Int64(_) => "Int64",
        Variant::UInt64(_) => "UInt64",
        Variant::Float(_) => "Float",
        Variant::Double(_) => "Double",
        Variant::String(_) => "String",
        Variant::DateTime(_) => "DateTime",
        Variant::Guid(_) => "Guid",
        Variant::StatusCode(_) => "StatusCode",
        Variant::ByteString(_) => "ByteString",
        Variant::XmlElement(_) => "XmlElement",
        Variant::QualifiedName(_) => "QualifiedName",
        Variant::LocalizedText(_) => "LocalizedText",
        Variant::NodeId(_) => "NodeId",
        Variant::ExpandedNodeId(_) => "ExpandedNodeId",
        Variant::ExtensionObject(_) => "ExtensionObject",
        Variant::DataValue(_) => "DataValue",
        Variant::DiagnosticInfo(_) => "DiagnosticInfo",
        Variant::Variant(inner) => type_name(inner),
        Variant::Array(_) => "Variant",
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Signed(value) => serializer.serialize_i64(*value),
            Value::Unsigned(value) => serializer.serialize_u64(*value),
            Value::Number(value) => serializer.serialize_f64(*value),
            Value::Text(value) => serializer.serialize_str(value),
        }
    }
}

impl Value {
    /// Bytes that the value takes in a message, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            // A character takes up to six bytes when it is escaped; two is the common worst case.
            Value::Text(text) => 2 * text.len() + 3,
            _ => 25,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(variant: Variant) -> Sample {
        let mut data = DataValue::new_now(variant);
        data.status = Some(StatusCode::UncertainLastUsableValue);
        Sample::capture(&data, DateTime::now())
    }

    fn json(variant: Variant) -> String {
        serde_json::to_string(&capture(variant).value).unwrap()
    }

    // control: A22
    #[test]
    fn numbers_keep_their_bits() {
        assert_eq!(json(Variant::Double(-0.0)), "-0.0");
        for value in [
            0.1,
            -0.0,
            2.230721965e-25,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            9007199254740993.0,
        ] {
            let text = json(Variant::Double(value));
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
        let widened: f64 = json(Variant::Float(0.1)).parse().unwrap();
        assert_eq!((widened as f32).to_bits(), 0.1f32.to_bits());
        assert_eq!(widened, f64::from(0.1f32));
        assert_eq!(json(Variant::UInt64(u64::MAX)), "18446744073709551615");
        assert_eq!(json(Variant::Int64(i64::MIN)), "-9223372036854775808");
    }

    #[test]
    fn a_number_that_json_cannot_say_becomes_no_value_with_a_bad_status() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let sample = capture(Variant::Double(value));
            assert_eq!((sample.value, sample.status), (Value::Null, 0x803C_0000));
            assert_eq!(sample.data_type, Some("Double"));
        }
    }

    #[test]
    fn other_types_keep_a_type_of_their_own() {
        assert_eq!(json(Variant::Boolean(true)), "true");
        assert_eq!(
            json(Variant::String("a \"b\" \u{1f9ea}".into())),
            "\"a \\\"b\\\" \u{1f9ea}\""
        );
        assert_eq!(json(Variant::String(opcua::types::UAString::null())), "null");
        let time = DateTime::from(133_000_000_000_000_007i64);
        assert_eq!(json(Variant::DateTime(Box::new(time))), "\"133000000000000007\"");
        assert_eq!(json(Variant::ByteString(vec![0u8, 255].into())), "\"AP8=\"");
        assert_eq!(json(Variant::from(vec![1.5f64, -0.0])), "\"[1.5,-0.0]\"");
        assert_eq!(capture(Variant::Empty).data_type, None);
    }

    #[test]
    fn status_and_time_are_kept_raw() {
        let ticks = 133_497_123_456_789_012i64;
        let data = DataValue {
            value: Some(Variant::Double(1.0)),
            status: Some(StatusCode::BadSensorFailure.set_overflow(true)),
            source_timestamp: Some(DateTime::from(ticks)),
            ..DataValue::default()
        };
        let sample = Sample::capture(&data, DateTime::now());
        assert_eq!(sample.source_ticks, ticks);
        assert_eq!(sample.status & 0xFFFF_0000, 0x808C_0000);
        assert!(sample.follows_a_gap());
        assert!(!capture(Variant::Double(1.0)).follows_a_gap());
    }

    #[test]
    fn without_a_source_time_the_servers_time_stands_in() {
        let server = DateTime::from(133_000_000_000_000_000i64);
        let mut data = DataValue {
            server_timestamp: Some(server),
            ..DataValue::default()
        };
        assert_eq!(
            Sample::capture(&data, DateTime::now()).source_ticks,
            server.checked_ticks()
        );
        data.server_timestamp = None;
        let received = DateTime::now();
        assert_eq!(
            Sample::capture(&data, received).source_ticks,
            received.checked_ticks()
        );
    }
}
