//! Append-only: three layers. Privileges and policies are the tables' own (sql/functions/isolation.sql); triggers refuse
//! in every session ([`refuse`]); hooks of the preloaded library refuse what would take the triggers away ([`guard`]).

pub mod alter_table; // ALTER TABLE of guarded tables
pub mod alteration; // what is altered of tracked tables, as events
pub mod break_glass; // the way around, with a restart and a record
pub mod catalog; // look-ups of what an object belongs to
pub mod database; // databases with records, from whichever database of the server
pub mod guard; // the hooks, and whether they hold
pub mod library; // code of the server: functions in C, libraries
pub mod mark; // which tables are guarded, and how
pub mod member; // what is given to an extension or taken from one
pub mod object; // objects that are made, altered or dropped, by CASCADE too
pub mod plan; // plans that would change rows
pub mod protect; // tables of others
pub mod refuse; // trigger functions that refuse
pub mod statement; // statements that would change tables
