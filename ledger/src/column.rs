//! Types of the columns of the project's own tables: preimages and dumps do not carry them.

/// Types of the columns of the project's own tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// uuid
    Uuid,
    /// timestamp with time zone
    Time,
    /// date
    Date,
    /// text, json
    Text,
    /// integer
    Int4,
    /// bigint
    Int8,
    /// inet
    Inet,
    /// bytea
    Bytes,
    /// bigint[]
    Int8s,
    /// double precision[]
    Float8s,
    /// boolean[]
    Booleans,
    /// text[]
    Texts,
}

/// The type of a column of the project's own tables; a name means the same in each of them. None for one that is not known, as those of
/// tables of others.
pub fn kind(column: &str) -> Option<Kind> {
    Some(match column {
        "org_id" | "event_id" | "segment_id" | "actor_id" | "device_id" | "tag_id" | "batch_id"
        | "policy_id" | "retention_id" | "hold_id" | "release_id" | "proposal_id" | "disposal_id" => {
            Kind::Uuid
        }
        "recorded_at" | "client_time" | "recorded_from" | "recorded_to" => Kind::Time,
        "expires_on" | "certified_on" | "retain_until" => Kind::Date,
        "actor_kind" | "actor_name" | "actor_role" | "action" | "record_type" | "record_id" | "before"
        | "after" | "reason" | "user_agent" | "request_id" | "data_type" | "unit" | "record_class"
        | "recorded_by" | "proposed_by" | "partition" | "relation" => Kind::Text,
        "sample_count" | "months" | "days" | "relation_id" => Kind::Int4,
        "sequence" | "first_sample" | "last_sample" | "login_oid" | "proposed_login_oid" | "row_count"
        | "leaves" => Kind::Int8,
        "client_ip" => Kind::Inet,
        "leaves_sha256" => Kind::Bytes,
        "source_ticks" | "status" | "integers" => Kind::Int8s,
        "numbers" => Kind::Float8s,
        "booleans" => Kind::Booleans,
        "texts" => Kind::Texts,
        _ => return None,
    })
}
