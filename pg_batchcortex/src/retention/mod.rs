//! How long records are kept, and how a partition goes whose time has come: by two people, whole, and on record.

pub mod class; // classes of records and the least time each is kept
pub mod dispose; // the removal of one partition
pub mod leaves; // leaves of a time, counted and hashed
pub mod login; // who logged in, whatever the session calls itself
pub mod soft_deletion; // tables whose rows leave by a tombstone
