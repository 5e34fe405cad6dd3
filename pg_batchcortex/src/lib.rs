//! `pg_batchcortex`: batch manufacturing records inside PostgreSQL that nobody can change unnoticed.
//!
//! One capability, one module, one SQL file of the same name under `sql/functions` and `sql/migrations`.

mod access; // budgets of requests, organisations of an auditor
mod anchor; // what says outside of the database how far the log had come
mod ask; // questions that a replica can answer
mod assign; // settings that the library changes for a while
mod capture; // row changes of tracked tables
mod checkpoint_key; // the key that signs checkpoints
mod error; // SQLSTATEs of class BC and how they are raised
mod event; // audit trail: who, what, when, from where
mod health; // what is up, for load balancers and people
mod identity; // credentials, sessions, the identity bound to a transaction
mod keyring; // the server's key file and the keys derived from it
mod ledger; // leaves, sealing, verification
mod migration; // the steps that migrate() applies
mod protection; // append-only: triggers, hooks of the server, tables of others
mod redaction; // values that records commit to
mod retention; // how long records are kept, and how they go
mod row; // rows as record preimages: the bridge from tuples to the ledger crate
mod settings; // GUCs
mod telemetry; // messages of devices

pgrx::pg_module_magic!(name, version);

/// The files below once more, as text: verification compares what stands in the catalog with them.
pub(crate) const SQL_FUNCTIONS: &[&str] = &[
    include_str!("../../sql/functions/access.sql"),
    include_str!("../../sql/functions/isolation.sql"),
    include_str!("../../sql/functions/identity.sql"),
    include_str!("../../sql/functions/permission.sql"),
    include_str!("../../sql/functions/auditor.sql"),
    include_str!("../../sql/functions/access_register.sql"),
    include_str!("../../sql/functions/identity_session.sql"),
    include_str!("../../sql/functions/identity_account.sql"),
    include_str!("../../sql/functions/identity_invitation.sql"),
    include_str!("../../sql/functions/identity_agreement.sql"),
    include_str!("../../sql/functions/identity_second_factor.sql"),
    include_str!("../../sql/functions/identity_api_key.sql"),
    include_str!("../../sql/functions/event.sql"),
    include_str!("../../sql/functions/capture.sql"),
    include_str!("../../sql/functions/batch.sql"),
    include_str!("../../sql/functions/ledger.sql"),
    include_str!("../../sql/functions/witness.sql"),
    include_str!("../../sql/functions/evidence.sql"),
    include_str!("../../sql/functions/anchor.sql"),
    include_str!("../../sql/functions/redaction.sql"),
    include_str!("../../sql/functions/telemetry.sql"),
    include_str!("../../sql/functions/migration.sql"),
    include_str!("../../sql/functions/protection.sql"),
    include_str!("../../sql/functions/retention.sql"),
    include_str!("../../sql/functions/soft_deletion.sql"),
];

/// Runs when PostgreSQL loads the library: in the postmaster when it is preloaded, else in a session.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: this process has one thread. With the variable set, whoever meets an error would be told the server's call stack and paths.
    unsafe { std::env::remove_var("RUST_BACKTRACE") };
    settings::define();
    identity::log_redaction::install();
    capture::install();
    if settings::preloading() {
        keyring::prepare();
        checkpoint_key::prepare();
        ledger::worker::register();
        access::rate_limit::register();
        identity::password_slot::register();
        protection::guard::install();
        protection::break_glass::install();
    }
}

pgrx::extension_sql_file!("../../sql/functions/access.sql", name = "access", bootstrap);
pgrx::extension_sql_file!(
    "../../sql/functions/isolation.sql",
    name = "isolation",
    requires = ["access"]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity.sql",
    name = "identity",
    requires = [
        identity::login::authenticate_login,
        identity::invitation::generate_invitation,
        identity::invitation::redeem_invitation,
        identity::attempt_budget::spend_attempt,
        identity::binding::current_user_id,
        identity::binding::current_role_name,
        identity::binding::current_session_id
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/permission.sql",
    name = "permission",
    requires = [
        "identity",
        access::actor::current_actor_name,
        access::rate_limit::spend_budget,
        access::rate_limit::budget_table
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/auditor.sql",
    name = "auditor",
    requires = ["permission", access::auditor::auditor_organisations]
);
pgrx::extension_sql_file!(
    "../../sql/functions/access_register.sql",
    name = "access_register",
    requires = ["auditor"]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity_session.sql",
    name = "identity_session",
    requires = [
        "identity",
        identity::proof::prove_again,
        identity::account::generate_session_token,
        identity::binding::current_scopes
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity_account.sql",
    name = "identity_account",
    requires = [
        "identity_session",
        identity::account::change_own_password,
        identity::account::unlock_account
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity_invitation.sql",
    name = "identity_invitation",
    requires = ["identity_account"]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity_agreement.sql",
    name = "identity_agreement",
    requires = ["identity_session", identity::agreement::invitation_agreements]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity_second_factor.sql",
    name = "identity_second_factor",
    requires = [
        "identity_account",
        identity::login::authenticate_enrolment,
        identity::second_factor::enrol_second_factor,
        identity::second_factor::confirm_second_factor,
        identity::second_factor::remove_second_factor,
        identity::second_factor::recovery_codes_left,
        identity::totp::totp_code,
        identity::totp::totp_step,
        identity::totp::totp_text
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/identity_api_key.sql",
    name = "identity_api_key",
    requires = ["identity_account", identity::api_key::generate_api_key]
);
pgrx::extension_sql_file!(
    "../../sql/functions/event.sql",
    name = "event",
    requires = [
        "identity",
        "triggers",
        ledger::verify::told::event_member,
        ledger::verify::told::event_time
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/capture.sql",
    name = "capture",
    requires = [
        "event",
        "capture_functions",
        capture::register::begin_tracking,
        capture::register::end_tracking,
        capture::register::drop_unregistered_capture
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/batch.sql",
    name = "batch",
    requires = ["event"]
);
pgrx::extension_sql_file!(
    "../../sql/functions/ledger.sql",
    name = "ledger",
    requires = [
        "triggers",
        ledger::proof::make_inclusion_proof,
        ledger::proof::make_consistency_proof,
        ledger::proof::verify_inclusion,
        ledger::proof::verify_consistency,
        ledger::verify::verify,
        ledger::verify::verify_report,
        ledger::verify::verify_since,
        ledger::worker::request_seal,
        ledger::worker::damaged_logs,
        ledger::lookup::leaf_of,
        checkpoint_key::checkpoint_keys,
        health::health
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/witness.sql",
    name = "witness",
    requires = [
        "ledger",
        "retention",
        ledger::witness::read_verifier_key,
        ledger::witness::read_submission,
        ledger::witness::check_cosignature
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/evidence.sql",
    name = "evidence",
    requires = ["ledger", "event", ledger::evidence::write_evidence]
);
pgrx::extension_sql_file!(
    "../../sql/functions/anchor.sql",
    name = "anchor",
    requires = [
        "ledger",
        anchor::timestamp::make_timestamp_query,
        anchor::timestamp::read_timestamp
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/redaction.sql",
    name = "redaction",
    requires = ["event", "identity_account", "ledger", redaction::make_commitment]
);
pgrx::extension_sql_file!(
    "../../sql/functions/telemetry.sql",
    name = "telemetry",
    requires = [
        "event",
        telemetry::ingest::ingest_message,
        telemetry::ingest::ingest_standing,
        telemetry::proof::device_secret,
        telemetry::time::ticks_to_time
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/migration.sql",
    name = "migration",
    requires = [
        "isolation",
        migration::migrations,
        migration::apply_migration,
        ledger::verify::protection::structure::schema_structure,
        ledger::verify::protection::structure::is_structure_told,
        "event"
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/protection.sql",
    name = "protection",
    requires = [
        "migration",
        "row_enqueue",
        protection::protect::enqueue_present_rows
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/retention.sql",
    name = "retention",
    requires = [
        "protection",
        "dispose",
        access::actor::current_actor_name,
        retention::class::retention_classes,
        retention::leaves::leaves_between,
        retention::login::login_oid
    ]
);
pgrx::extension_sql_file!(
    "../../sql/functions/soft_deletion.sql",
    name = "soft_deletion",
    requires = ["protection", "refuse_delete"]
);
pgrx::extension_sql_file!("../../sql/functions/finalize.sql", name = "finalize", finalize);
