//! Settings. Those that bind an identity can be set by the extension alone; see [`crate::identity::binding`].

use crate::capture::reason;
use crate::identity::binding;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};
use std::ffi::{CStr, CString};
use std::path::PathBuf;

/// How long the sealer waits between two passes, in milliseconds.
pub static SEAL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1000);
/// Attempts a minute to prove who one is, of one address and of one user name; 0 for no limit.
pub static RATE_AUTHENTICATION: GucSetting<i32> = GucSetting::<i32>::new(10);
/// Attempts a minute to sign, of one person; 0 for no limit.
pub static RATE_SIGN_OFF: GucSetting<i32> = GucSetting::<i32>::new(5);
/// Requests a minute of one person; 0 for no limit.
pub static RATE_GENERAL: GucSetting<i32> = GucSetting::<i32>::new(100);
/// Requests a minute of one API key; 0 for no limit.
pub static RATE_API_KEY: GucSetting<i32> = GucSetting::<i32>::new(60);
/// Requests a minute without a credential, of one address; 0 for no limit.
pub static RATE_PUBLIC: GucSetting<i32> = GucSetting::<i32>::new(600);
/// How many witnesses must have cosigned.
pub static WITNESS_QUORUM: GucSetting<i32> = GucSetting::<i32>::new(1);
/// The key file; relative names are under the data directory.
pub static KEY_FILE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"pg_batchcortex.keys"));
/// The file of the key that signs checkpoints; relative names are under the data directory.
pub static CHECKPOINT_KEY_FILE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(DEFAULT_CHECKPOINT_KEY_FILE));
/// The one file that may be missing.
pub const DEFAULT_CHECKPOINT_KEY_FILE: &CStr = c"pg_batchcortex.checkpoint_keys";
/// The directory that checkpoints are written to as files; relative names are under the data directory.
pub static CHECKPOINT_DIRECTORY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Least time between two files of the checkpoint directory, in seconds; 0 for one each sealing.
pub static CHECKPOINT_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
/// Why append-only enforcement is off; none when it is on.
pub static BREAK_GLASS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Libraries that the scripts of extensions may declare functions from, besides those that are preloaded.
pub static ALLOWED_LIBRARIES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// How long a leaf may wait for its sealing before verification says so, in seconds.
pub static SEAL_OVERDUE: GucSetting<i32> = GucSetting::<i32>::new(300);
/// How far ahead of the server's clock a source time may be, in seconds.
pub static CLOCK_AHEAD: GucSetting<i32> = GucSetting::<i32>::new(60);
/// How far the creation time of a request signature may be from the server's clock, in seconds.
pub static SIGNATURE_WINDOW: GucSetting<i32> = GucSetting::<i32>::new(300);
/// Argon2id memory in KiB.
pub static ARGON2_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(19_456);
/// Argon2id passes.
pub static ARGON2_PASSES: GucSetting<i32> = GucSetting::<i32>::new(2);
/// How many Argon2id computations run at once in the whole server.
pub static MAX_PASSWORD_CHECKS: GucSetting<i32> = GucSetting::<i32>::new(4);
/// How long a session lives, in minutes.
pub static SESSION_LIFE: GucSetting<i32> = GucSetting::<i32>::new(720);
/// How long a session may be idle, in minutes.
pub static SESSION_IDLE: GucSetting<i32> = GucSetting::<i32>::new(30);
/// How many failed proofs in a row lock an account.
pub static LOCKOUT_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(5);
/// How long a lock holds, in minutes; 0 until an administrator unlocks.
pub static LOCKOUT_TIME: GucSetting<i32> = GucSetting::<i32>::new(15);
/// How many failed proofs from one address within a minute are a burst.
pub static BURST_FAILURES: GucSetting<i32> = GucSetting::<i32>::new(10);
/// Identity of the transaction, packed; written by the extension only.
pub static IDENTITY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Why rows of tracked tables are changed in this transaction; written by set_reason only.
pub static REASON: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Whether the postmaster loads the library now, so that workers and shared memory can be had.
pub fn preloading() -> bool {
    // SAFETY: a plain global of the process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// The file that a setting names; a relative name is under the data directory. None when the setting is empty.
pub fn in_data_directory(setting: &GucSetting<Option<CString>>) -> Option<PathBuf> {
    let name = setting
        .get()?
        .into_string()
        .ok()
        .filter(|name| !name.is_empty())?;
    // SAFETY: DataDir is set before any library is loaded. An absolute name replaces it.
    let data = unsafe { CStr::from_ptr(pg_sys::DataDir) };
    Some(PathBuf::from(data.to_string_lossy().into_owned()).join(name))
}

/// Declares every setting and reserves the prefix, so that a misspelt name is an error and not a placeholder.
pub fn define() {
    let number = |name: &'static CStr,
                  about: &'static CStr,
                  more: &'static CStr,
                  setting,
                  least,
                  most,
                  context,
                  flags| {
        GucRegistry::define_int_guc(name, about, more, setting, least, most, context, flags);
    };
    number(
        c"batchcortex.seal_interval",
        c"How long the sealer waits between two passes.",
        c"In milliseconds. What is committed meanwhile waits for its leaf index and its checkpoint, not for its commit.",
        &SEAL_INTERVAL,
        10,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    number(
        c"batchcortex.witness_quorum",
        c"How many witnesses must have cosigned a checkpoint before what it covers counts as witnessed.",
        c"Keys of one name are one witness. batchcortex.wait_witnessed and health() go by it; 0 asks for none.",
        &WITNESS_QUORUM,
        0,
        100,
        GucContext::Sighup,
        GucFlags::default(),
    );
    number(
        c"batchcortex.seal_overdue",
        c"How long a leaf may wait for its sealing before verify() says so.",
        c"In seconds since its record was stored. A transaction that takes longer than this to commit is told of, too.",
        &SEAL_OVERDUE,
        1,
        604_800,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    number(
        c"batchcortex.checkpoint_interval",
        c"Least time between two files of batchcortex.checkpoint_directory.",
        c"In seconds; 0 writes one for each sealing. The first of each server start is written at once.",
        &CHECKPOINT_INTERVAL,
        0,
        86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    // Superusers may set these for a session, and so for a database or a role: bulk loads, tests. The API's login may not.
    for (name, about, more, setting) in [
        (
            c"batchcortex.rate_authentication",
            c"Attempts a minute to prove who one is, of one address and of one user name; 0 for no limit.",
            c"Signing in, joining, elevation, change of password and second factor share it. Kept in shared memory, whatever becomes of the transaction.",
            &RATE_AUTHENTICATION,
        ),
        (
            c"batchcortex.rate_sign_off",
            c"Attempts a minute to sign, of one person; 0 for no limit.",
            c"Kept in shared memory, whatever becomes of the transaction.",
            &RATE_SIGN_OFF,
        ),
        (
            c"batchcortex.rate_general",
            c"Requests a minute of one person; 0 for no limit.",
            c"All sessions of the person together. Kept in shared memory, whatever becomes of the transaction.",
            &RATE_GENERAL,
        ),
        (
            c"batchcortex.rate_api_key",
            c"Requests a minute of one API key; 0 for no limit.",
            c"Kept in shared memory, whatever becomes of the transaction.",
            &RATE_API_KEY,
        ),
        (
            c"batchcortex.rate_public",
            c"Requests a minute without a credential for the global log, of one address; 0 for no limit.",
            c"Witnesses ask for checkpoints, tiles and proofs without one. An IPv6 /64 is one address. Kept in shared memory, whatever becomes of the transaction.",
            &RATE_PUBLIC,
        ),
    ] {
        number(
            name,
            about,
            more,
            setting,
            0,
            60_000,
            GucContext::Suset,
            GucFlags::default(),
        );
    }
    number(
        c"batchcortex.clock_ahead",
        c"How far ahead of the server's clock the source time of a sample may be.",
        c"In seconds. A message with a later source time is refused as a whole; 0 allows none.",
        &CLOCK_AHEAD,
        0,
        3_600,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    number(
        c"batchcortex.signature_window",
        c"How far the creation time of a device's request signature may be from the server's clock.",
        c"In seconds, to either side. Beyond it a message is refused as stale; its sequence number is what stops a replay within it.",
        &SIGNATURE_WINDOW,
        1,
        3_600,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    number(
        c"batchcortex.argon2_memory",
        c"Memory of one Argon2id password hash (OWASP: 19 MiB with 2 passes).",
        c"In KiB. Each proof of a person takes this much once; a password is hashed anew with a changed value at the next sign-in.",
        &ARGON2_MEMORY,
        19_456,
        1_048_576,
        GucContext::Sighup,
        GucFlags::UNIT_KB,
    );
    number(
        c"batchcortex.argon2_passes",
        c"Passes of one Argon2id password hash.",
        c"The time of a proof grows with it. A password is hashed anew with a changed value at the next sign-in.",
        &ARGON2_PASSES,
        2,
        20,
        GucContext::Sighup,
        GucFlags::default(),
    );
    number(
        c"batchcortex.max_password_checks",
        c"How many Argon2id computations run at once in the whole server.",
        c"Each takes batchcortex.argon2_memory; others wait for their turn.",
        &MAX_PASSWORD_CHECKS,
        1,
        1_024,
        GucContext::Sighup,
        GucFlags::default(),
    );
    number(
        c"batchcortex.session_life",
        c"How long a session lives at most.",
        c"In minutes, from sign-in on, for sessions opened from now on. An organisation may set its own.",
        &SESSION_LIFE,
        1,
        10_080,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    number(
        c"batchcortex.session_idle",
        c"How long a session may be idle before it ends.",
        c"In minutes since its last request, which is noted once a minute. An organisation may set its own.",
        &SESSION_IDLE,
        1,
        10_080,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    number(
        c"batchcortex.lockout_failures",
        c"How many failed proofs of identity in a row lock an account.",
        c"Signing in, elevation, change of password, second factor and signatures count together; a proof that holds sets the count back.",
        &LOCKOUT_FAILURES,
        3,
        100,
        GucContext::Sighup,
        GucFlags::default(),
    );
    number(
        c"batchcortex.lockout_time",
        c"How long an account stays locked; 0 until an administrator unlocks it.",
        c"In minutes. While it is locked every proof gets the answer of a wrong password.",
        &LOCKOUT_TIME,
        0,
        10_080,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    number(
        c"batchcortex.burst_failures",
        c"How many failed proofs of identity from one address within a minute are recorded as a burst.",
        c"Recorded once a minute and address as an event; nothing is refused because of it.",
        &BURST_FAILURES,
        3,
        1_000,
        GucContext::Sighup,
        GucFlags::default(),
    );
    // Loaded by a session, because the server has it no longer in shared_preload_libraries, the library must still verify: PostgreSQL would
    // end a session that declares settings of the server's start.
    let at_start = || {
        if preloading() {
            GucContext::Postmaster
        } else {
            GucContext::Sighup
        }
    };
    GucRegistry::define_string_guc(
        c"batchcortex.key_file",
        c"File of the server's secret keys; relative to the data directory.",
        c"Made with owner-only permissions when the server starts and it does not exist.",
        &KEY_FILE,
        at_start(),
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"batchcortex.checkpoint_key_file",
        c"File of the key that signs checkpoints; relative to the data directory.",
        c"batchcortex-keys create checkpoint makes one. Without a file of the default name, or with an empty setting, checkpoints are not signed. A file that is named and missing, or that others than the server's user could read, stops the start.",
        &CHECKPOINT_KEY_FILE,
        at_start(),
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"batchcortex.checkpoint_directory",
        c"Directory outside of the data directory that signed checkpoints are written to as files; empty for none.",
        c"Files are made and never overwritten: it can be write-once storage. What is found there that the database does not hold shows that an older state was put back.",
        &CHECKPOINT_DIRECTORY,
        at_start(),
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"batchcortex.break_glass",
        c"The reason for which this server does not enforce append-only; empty for a server that does.",
        c"Takes a restart. Every organisation's log tells of it, with the reason, before anyone can connect.",
        &BREAK_GLASS,
        at_start(),
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"batchcortex.allowed_libraries",
        c"Libraries that extensions may declare functions in C from, separated by commas.",
        c"Besides the preloaded ones and PL/pgSQL: the name of a file in the server's own directory, without its suffix, or a path.",
        &ALLOWED_LIBRARIES,
        at_start(),
        GucFlags::SUPERUSER_ONLY,
    );
    // SAFETY: the check hooks are guarded and only read globals of the process.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"batchcortex.identity",
            c"Identity bound to the transaction.",
            c"Set by open_request and its kin alone; SET, set_config and ALTER ROLE are refused to everyone.",
            &IDENTITY,
            GucContext::Suset,
            GucFlags::NO_SHOW_ALL
                | GucFlags::NO_RESET_ALL
                | GucFlags::DISALLOW_IN_FILE
                | GucFlags::SUPERUSER_ONLY,
            Some(binding::check_identity),
            Some(binding::assign_identity),
            None,
        );
        GucRegistry::define_string_guc_with_hooks(
            c"batchcortex.reason",
            c"Reason for the changes of this transaction.",
            c"Set by batchcortex.set_reason alone; SET, set_config and ALTER ROLE are refused to everyone.",
            &REASON,
            GucContext::Suset,
            GucFlags::NO_SHOW_ALL
                | GucFlags::NO_RESET_ALL
                | GucFlags::DISALLOW_IN_FILE
                | GucFlags::SUPERUSER_ONLY,
            Some(reason::check_reason),
            None,
            None,
        );
    }
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: a NUL-terminated literal.
    unsafe {
        pg_sys::EmitWarningsOnPlaceholders(c"batchcortex".as_ptr());
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: a NUL-terminated literal.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(c"batchcortex".as_ptr());
    }
}
