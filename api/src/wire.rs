//! The forms that values take in JSON: times, raw JSON, secrets.

use std::fmt;

use bytes::BytesMut;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// What a conversion to or from PostgreSQL's binary form fails with.
type ConversionError = Box<dyn std::error::Error + Sync + Send>;

/// A time: RFC 3339, UTC, six digits of a second (PostgreSQL's resolution).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-03-01T08:15:30.000250Z")]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|time| Self(time.to_utc()))
            .map_err(|_| {
                serde::de::Error::custom("expected a time of RFC 3339, such as 2026-03-01T08:15:30Z")
            })
    }
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, ConversionError> {
        DateTime::from_sql(ty, raw).map(Self)
    }

    accepts!(TIMESTAMPTZ);
}

impl ToSql for Timestamp {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, ConversionError> {
        self.0.to_sql(ty, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

/// A time that may never come: RFC 3339 as [`Timestamp`], or `infinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, example = "infinity")]
pub struct OpenTimestamp(pub Option<Timestamp>);

impl Serialize for OpenTimestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(time) => time.serialize(serializer),
            None => serializer.serialize_str("infinity"),
        }
    }
}

impl<'a> FromSql<'a> for OpenTimestamp {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, ConversionError> {
        // PostgreSQL's binary form of infinity is the greatest number of microseconds.
        if raw == i64::MAX.to_be_bytes() {
            return Ok(Self(None));
        }
        Timestamp::from_sql(ty, raw).map(|time| Self(Some(time)))
    }

    accepts!(TIMESTAMPTZ);
}

/// A JSON value whose bytes are kept: a number is not rounded, a member not moved, an escape not rewritten.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = serde_json::Value)]
pub struct RawJson(pub Box<RawValue>);

impl<'a> FromSql<'a> for RawJson {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, ConversionError> {
        Ok(Self(serde_json::from_slice(raw)?))
    }

    accepts!(JSON);
}

impl ToSql for RawJson {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, ConversionError> {
        out.extend_from_slice(self.0.get().as_bytes());
        Ok(IsNull::No)
    }

    accepts!(JSON);
    to_sql_checked!();
}

/// A password or a token that came in: overwritten when dropped, and never printed.
#[derive(Clone, ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_microseconds() {
        let time: Timestamp = serde_json::from_str(r#""2026-03-01T09:15:30+01:00""#).unwrap();
        assert_eq!(
            serde_json::to_string(&time).unwrap(),
            r#""2026-03-01T08:15:30.000000Z""#
        );
        assert!(serde_json::from_str::<Timestamp>(r#""2026-03-01 09:15:30""#).is_err());
    }

    #[test]
    fn a_time_that_never_comes_is_told() {
        let read = |microseconds: i64| {
            let time = OpenTimestamp::from_sql(&Type::TIMESTAMPTZ, &microseconds.to_be_bytes()).unwrap();
            serde_json::to_string(&time).unwrap()
        };
        assert_eq!(read(i64::MAX), r#""infinity""#);
        assert_eq!(read(0), r#""2000-01-01T00:00:00.000000Z""#);
    }

    /// control: A22
    #[test]
    fn raw_json_keeps_its_bytes() {
        for text in [
            r#"{"b": 1.0, "a":-0.0, "a": 1e400}"#,
            r#""\u00e9\/""#,
            "[1, 2.50 ]",
            "12345678901234567890123456789",
        ] {
            let value: RawJson = serde_json::from_str(text).unwrap();
            let mut out = BytesMut::new();
            assert!(matches!(value.to_sql(&Type::JSON, &mut out), Ok(IsNull::No)));
            assert_eq!(out, text.as_bytes());
            let back = RawJson::from_sql(&Type::JSON, &out).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), text);
        }
    }

    /// control: B9
    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", Secret::new("canary".to_owned())).contains("canary"));
    }
}
