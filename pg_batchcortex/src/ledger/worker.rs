//! The processes that seal: a launcher that the postmaster starts, and one sealer for each database that has leaves.
//!
//! A database needs no setting to be sealed: the launcher looks at all of them once when the server starts, and the first
//! leaf that a session queues asks for a sealer. A sealer that fails ends, and the launcher starts it again.

use super::{own_settings, plan, seal};
use crate::anchor::directory;
use crate::protection::break_glass;
use crate::settings::SEAL_INTERVAL;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgLwLock, pg_shmem_init};
use std::cell::Cell;
use std::time::{Duration, Instant};

const DATABASES: usize = 64;
const PATROL: Duration = Duration::from_secs(1);
/// How long a process that was started may take to take its turn, before another one is started.
const ARRIVAL: i64 = 3_000_000;
/// Times, a second apart, that a sealer looks for a ledger before its database is forgotten.
const TRIES: u32 = 600;

/// What is known of one database.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// Its oid; 0 when the slot is free.
    database: u32,
    /// Process id of the one process that may seal it, see [`take_turn`]; 0 when there is none.
    sealer: i32,
    /// Passes that sessions have asked for.
    wanted: u64,
    /// Number of the last pass that began after it was asked for and committed.
    done: u64,
    /// Leaves sealed since the server started.
    leaves: u64,
    /// Logs whose tree is damaged, so that their leaves wait.
    damaged: u32,
    /// Error number of the checkpoint directory; 0 while it works.
    directory: i32,
    /// Times that its sealer ended without having sealed anything.
    failures: u32,
    /// Whether its sealer has found a ledger to seal.
    ready: bool,
    /// How often a sealer is still to look for a ledger that a session has said is there, or will be when it commits.
    tries: u32,
    /// Whether its logs tell that this server was started behind broken glass, or it has none.
    glass: bool,
    /// Not to be started before this time, microseconds since 2000-01-01 UTC.
    not_before: i64,
}

#[derive(Clone, Copy)]
struct Board {
    launcher: i32,
    slots: [Slot; DATABASES],
}

impl Default for Board {
    fn default() -> Self {
        Board {
            launcher: 0,
            slots: [Slot::default(); DATABASES],
        }
    }
}

// SAFETY: plain numbers, valid in every process.
unsafe impl PGRXSharedMemory for Board {}

// SAFETY: the name is used for this lock alone.
static BOARD: PgLwLock<Board> = unsafe { PgLwLock::new(c"batchcortex_sealers") };

thread_local! {
    static ASKED: Cell<bool> = const { Cell::new(false) };
    static SEALER: Cell<bool> = const { Cell::new(false) };
    static GLASS: Cell<bool> = const { Cell::new(false) };
}

impl Board {
    fn slot(&mut self, database: u32) -> Option<&mut Slot> {
        let at = self
            .slots
            .iter()
            .position(|s| s.database == database)
            .or_else(|| self.slots.iter().position(|s| s.database == 0))?;
        self.slots[at].database = database;
        Some(&mut self.slots[at])
    }
}

/// At preload: shared memory and the launcher.
pub fn register() {
    pg_shmem_init!(BOARD);
    // pg_upgrade rebuilds the catalogs: what a sealer wrote or made meanwhile would be in its way. The new cluster's first start seals.
    // SAFETY: a plain global of the process, set from the command line before libraries are loaded.
    if unsafe { pg_sys::IsBinaryUpgrade } {
        return;
    }
    BackgroundWorkerBuilder::new("batchcortex launcher")
        .set_type("batchcortex launcher")
        .set_library("$libdir/pg_batchcortex")
        .set_function("batchcortex_launcher")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(PATROL))
        .load();
}

/// Whether the library was preloaded, so that sealers can run.
pub fn available() -> bool {
    // SAFETY: shared_preload_libraries is a NUL-terminated setting.
    let list = unsafe { std::ffi::CStr::from_ptr(pg_sys::shared_preload_libraries_string) };
    list.to_string_lossy()
        .split(',')
        .any(|name| name.trim().trim_matches('"').rsplit('/').next() == Some("pg_batchcortex"))
}

/// Called for each queued leaf: sees to it, once a session, that this database has a sealer.
pub fn want() {
    if ASKED.get() || !available() {
        return;
    }
    let mut board = BOARD.exclusive();
    let launcher = board.launcher;
    let Some(slot) = board.slot(database()) else {
        return;
    };
    // Until a sealer has seen the ledger it may have looked before the tables' own transaction committed: ask again.
    ASKED.set(slot.ready);
    slot.tries = TRIES;
    let idle = slot.sealer == 0;
    drop(board);
    if idle {
        wake(launcher);
    }
}

/// Whether this process is a sealer: the tables of the ledger are written by it alone.
pub fn is_sealer() -> bool {
    SEALER.get()
}

/// Whether this database's logs tell that the server was started behind broken glass.
pub fn glass_recorded() -> bool {
    if !GLASS.get() && available() {
        let board = BOARD.share();
        let recorded = board.slots.iter().any(|s| s.database == database() && s.glass);
        GLASS.set(recorded);
    }
    GLASS.get()
}

/// Whether every database's logs tell it.
pub fn glass_recorded_everywhere() -> bool {
    let board = BOARD.share();
    board.launcher != 0 && board.slots.iter().all(|s| s.database == 0 || s.glass)
}

/// How long is waited for the sealer of a database to have looked whether there are records.
const UNDECIDED: Duration = Duration::from_secs(10);

/// Whether a database has a ledger. While its sealer has not looked yet, this waits; when it does not come to look, the answer is yes.
pub fn keeps_records(database: u32) -> bool {
    if !available() {
        return false;
    }
    let patience = Instant::now() + UNDECIDED;
    loop {
        {
            let board = BOARD.share();
            match board.slots.iter().find(|s| s.database == database) {
                None if board.launcher != 0 => return false,
                Some(slot) if slot.ready => return true,
                _ if Instant::now() > patience => return true,
                _ => {}
            }
        }
        nap();
    }
}

/// Whether any database of the server has a ledger.
pub fn any_keeps_records() -> bool {
    available() && BOARD.share().slots.iter().any(|slot| slot.ready)
}

/// What is known of this database's sealer.
pub struct Sealer {
    /// Leaves that it has sealed since the server started.
    pub leaves: u64,
    /// Logs whose tree is damaged, so that their leaves wait.
    pub damaged: u32,
    /// Error number of the checkpoint directory; 0 while it works.
    pub directory: i32,
}

/// This database's sealer; none when it does not run.
pub fn sealer() -> Option<Sealer> {
    if !available() {
        return None;
    }
    BOARD
        .share()
        .slots
        .iter()
        .find(|slot| slot.database == database() && lives(slot.sealer, slot.database))
        .map(|slot| Sealer {
            leaves: slot.leaves,
            damaged: slot.damaged,
            directory: slot.directory,
        })
}

/// Logs whose tree is damaged, so that their leaves wait.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn damaged_logs() -> i32 {
    sealer().map_or(0, |sealer| sealer.damaged as i32)
}

/// Whether the launcher and this database's sealer run. One that has just ended is waited for: the postmaster starts the launcher again,
/// and the launcher the sealer, within a second each. A database that was restored has had none yet, and asks for it here.
pub fn workers() -> (bool, bool) {
    want();
    let patience = Instant::now() + 4 * PATROL;
    loop {
        let launcher = BOARD.share().launcher;
        // SAFETY: signal 0 only asks whether the process exists.
        let runs = (
            launcher != 0 && unsafe { kill(launcher, 0) } == 0,
            sealer().is_some(),
        );
        if runs == (true, true) || Instant::now() > patience {
            return runs;
        }
        wake(launcher);
        nap();
    }
}

/// Seals everything that was committed before the call: asks the sealer for a pass and waits for its commit. Returns how
/// many leaves were sealed meanwhile; null when no sealer can be had within `seconds`.
#[pg_extern(volatile, parallel_unsafe)]
pub fn request_seal(seconds: default!(f64, 30.0)) -> Option<i64> {
    // SAFETY: asks whether this server replays another's log.
    if unsafe { pg_sys::RecoveryInProgress() } {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "a replica seals nothing: ask the primary"
        );
    }
    if !available() {
        return None;
    }
    let (ticket, before) = {
        let mut board = BOARD.exclusive();
        let slot = board.slot(database())?;
        slot.wanted += 1;
        slot.tries = TRIES;
        (slot.wanted, slot.leaves)
    };
    let patience = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 3600.0));
    loop {
        let (slot, launcher) = {
            let mut board = BOARD.exclusive();
            let launcher = board.launcher;
            (*board.slot(database())?, launcher)
        };
        if slot.done >= ticket {
            return Some(slot.leaves.saturating_sub(before) as i64);
        }
        if Instant::now() > patience {
            return None;
        }
        wake(if slot.sealer == 0 { launcher } else { slot.sealer });
        nap();
    }
}

/// Started by the postmaster; starts a sealer for each database that wants one.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn batchcortex_launcher(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi(None, None);
    for database in all_databases() {
        let _ = BOARD.exclusive().slot(database);
    }
    // Last: whoever waits for every database to have been seen to waits for this.
    // SAFETY: MyProcPid is set in every process of the server.
    BOARD.exclusive().launcher = unsafe { pg_sys::MyProcPid };
    loop {
        for database in idle() {
            start(database);
        }
        if !BackgroundWorker::wait_latch(Some(PATROL)) {
            break;
        }
        forget_dead();
    }
    // An end with 0 would be for good: somebody with pg_terminate_backend could stop all sealing. The postmaster starts it again, unless
    // it is shutting down itself.
    // SAFETY: ends this process as PostgreSQL does it.
    unsafe { pg_sys::proc_exit(1) };
}

/// Databases whose sealer is to be started now. Those that were dropped are forgotten.
fn idle() -> Vec<u32> {
    let now = clock();
    let due = |s: &Slot| s.database != 0 && s.sealer == 0 && s.not_before <= now;
    if !BOARD.share().slots.iter().any(due) {
        return Vec::new();
    }
    let existing = all_databases();
    let mut board = BOARD.exclusive();
    for slot in board
        .slots
        .iter_mut()
        .filter(|s| s.database != 0 && s.sealer == 0 && !existing.contains(&s.database))
    {
        *slot = Slot::default();
    }
    board
        .slots
        .iter()
        .filter(|s| due(s))
        .map(|s| s.database)
        .collect()
}

fn start(database: u32) {
    {
        let mut board = BOARD.exclusive();
        let Some(slot) = board.slots.iter_mut().find(|s| s.database == database) else {
            return;
        };
        // Counted until it has made a pass: a process that ends before could not say so.
        slot.failures = slot.failures.saturating_add(1);
        slot.not_before = clock() + backoff(slot.failures).max(ARRIVAL);
    }
    let started = BackgroundWorkerBuilder::new("batchcortex sealer")
        .set_type("batchcortex sealer")
        .set_library("$libdir/pg_batchcortex")
        .set_function("batchcortex_sealer")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(None)
        .set_argument(Some(pg_sys::Datum::from(database)))
        // SAFETY: MyProcPid is set in every process of the server.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .load_dynamic();
    if started.is_err() {
        warning!("pg_batchcortex: no background worker is free for a sealer; raise max_worker_processes");
    }
}

/// The more often a sealer fails to start or to go on, the longer it waits, up to a minute; in microseconds.
fn backoff(failures: u32) -> i64 {
    1_000_000 * (1_i64 << failures.min(6)).min(60)
}

/// Makes this process the one that seals a database. False while another one is it, which goes on until its end.
///
/// A sealer that is on its way out, or one that a launcher started which died before it could say so, must not seal beside its successor: both
/// would sign. The turn is a place in shared memory, and no lock of PostgreSQL: whatever a session locks by SQL, and any login may lock the
/// extension (ALTER FUNCTION … DEPENDS ON EXTENSION), sealing goes on.
fn take_turn(database: u32) -> bool {
    // SAFETY: MyProcPid is set in every process of the server.
    let me = unsafe { pg_sys::MyProcPid };
    let mut board = BOARD.exclusive();
    let Some(slot) = board.slot(database) else {
        return false;
    };
    if slot.sealer != me && lives(slot.sealer, database) {
        return false;
    }
    slot.sealer = me;
    true
}

/// Whether a process of this server works in that database. Its number may have gone to another process since.
fn lives(pid: i32, database: u32) -> bool {
    // SAFETY: processes that are connected stand in the array until their transactions have ended; entries are never freed.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        !process.is_null() && (*process).databaseId.to_u32() == database
    }
}

/// At the end of a sealer, however it comes, after its transaction has ended: the place is free.
#[pg_guard]
unsafe extern "C-unwind" fn release_turn(_status: std::ffi::c_int, database: pg_sys::Datum) {
    // SAFETY: MyProcPid is set in every process of the server.
    let me = unsafe { pg_sys::MyProcPid };
    let database = database.value() as u32;
    let mut board = BOARD.exclusive();
    let held = |s: &&mut Slot| s.database == database && s.sealer == me;
    if let Some(slot) = board.slots.iter_mut().find(held) {
        slot.sealer = 0;
        slot.not_before = clock() + backoff(slot.failures);
    }
}

/// Sealers that ended without [`release_turn`].
fn forget_dead() {
    for slot in BOARD.exclusive().slots.iter_mut().filter(|s| s.sealer != 0) {
        if !lives(slot.sealer, slot.database) {
            slot.sealer = 0;
            slot.not_before = clock() + backoff(slot.failures);
        }
    }
}

fn clock() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Databases that accept connections and are no templates.
fn all_databases() -> Vec<u32> {
    let mut found = Vec::new();
    // SAFETY: a scan of a shared catalog in a transaction of its own, as the autovacuum launcher does it.
    unsafe {
        pg_sys::StartTransactionCommand();
        pg_sys::GetTransactionSnapshot();
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = &*(*tuple)
                .t_data
                .cast::<u8>()
                .add(usize::from((*(*tuple).t_data).t_hoff))
                .cast::<pg_sys::FormData_pg_database>();
            if row.datallowconn && !row.datistemplate {
                found.push(row.oid.to_u32());
            }
        }
        // heap_endscan through the table access method.
        if let Some(end) = (*(*relation).rd_tableam).scan_end {
            pg_sys::ffi::pg_guard_ffi_boundary(|| end(scan));
        }
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        pg_sys::CommitTransactionCommand();
    }
    found
}

/// Seals one database until it is told to stop, or leaves at once when the database has no ledger.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn batchcortex_sealer(argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    let database = argument.value() as u32;
    BackgroundWorker::connect_worker_to_spi_by_oid(Some(pg_sys::Oid::from(database)), None);
    own_settings::use_them();
    SEALER.set(true);
    // SAFETY: the function stays where it is as long as the process lives; the argument is a plain number.
    unsafe { pg_sys::on_shmem_exit(Some(release_turn), argument) };
    if !take_turn(database) {
        return;
    }
    let ledger = BackgroundWorker::transaction(has_ledger);
    if let Some(reason) = break_glass::reason().filter(|_| ledger && !glass_recorded()) {
        BackgroundWorker::transaction(|| tell_every_log(&reason));
    }
    if let Some(slot) = BOARD
        .exclusive()
        .slots
        .iter_mut()
        .find(|s| s.database == database)
    {
        slot.glass = true;
    }
    if !ledger {
        // Migrated by a transaction that has not committed yet, or no ledger at all.
        let mut board = BOARD.exclusive();
        if let Some(slot) = board.slots.iter_mut().find(|s| s.database == database) {
            if slot.tries == 0 {
                *slot = Slot::default();
            } else {
                slot.tries -= 1;
                slot.sealer = 0;
                slot.failures = 0;
                slot.ready = false;
                slot.not_before = clock() + 1_000_000;
            }
        }
        return;
    }
    log!("pg_batchcortex: sealing database {database}");
    // Before anything is signed.
    tend_directory(database);
    let mut next_month_check = Instant::now();
    loop {
        if BackgroundWorker::sighup_received() {
            // SAFETY: the handler has set the flag in the main loop of a background worker.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        }
        let (wanted, done) = BOARD
            .share()
            .slots
            .iter()
            .find(|s| s.database == database)
            .map_or((0, 0), |s| (s.wanted, s.done));
        if wanted > done {
            seal::retry_damaged();
        }
        // Without a turn nothing was done for whoever asked: the sealer that has it will say so.
        loop {
            match seal_once(database) {
                None => return,
                Some(sealed) if sealed as i64 == seal::MOST => {}
                Some(_) => break,
            }
        }
        tend_directory(database);
        if let Some(slot) = BOARD
            .exclusive()
            .slots
            .iter_mut()
            .find(|s| s.database == database)
        {
            slot.done = slot.done.max(wanted);
            slot.failures = 0;
            slot.ready = true;
        }
        if Instant::now() >= next_month_check {
            BackgroundWorker::transaction(|| {
                Spi::run("select batchcortex.make_partitions()").unwrap_or_report()
            });
            next_month_check = Instant::now() + Duration::from_secs(3600);
        }
        let more = BOARD
            .share()
            .slots
            .iter()
            .any(|s| s.database == database && s.wanted > s.done);
        let pause = if more {
            Duration::ZERO
        } else {
            Duration::from_millis(SEAL_INTERVAL.get() as u64)
        };
        if !BackgroundWorker::wait_latch(Some(pause)) {
            return;
        }
        if !BackgroundWorker::transaction(has_ledger) {
            return;
        }
    }
}

/// One event in each organisation's log and in the installation's.
fn tell_every_log(reason: &str) {
    let query = "select batchcortex.log_event('server.break_glass', 'server', current_setting('cluster_name'), reason => $1, org_id => o.org_id)
                   from (select org_id from batchcortex.organisation union select '00000000-0000-0000-0000-000000000000') o";
    Spi::run_with_args(query, &[reason.into()]).unwrap_or_report();
    warning!("pg_batchcortex: append-only enforcement is off, batchcortex.break_glass says why: {reason}");
}

/// One pass, and how many leaves it sealed; none when it is not this process's turn. What cannot be finished is taken back as a whole.
fn seal_once(database: u32) -> Option<usize> {
    if !take_turn(database) {
        return None;
    }
    let sealed = transaction(|| Spi::connect_mut(seal::pass)).unwrap_or_else(|damage| {
        seal::hold(damage);
        0
    });
    if let Some(slot) = BOARD
        .exclusive()
        .slots
        .iter_mut()
        .find(|s| s.database == database)
    {
        slot.leaves += sealed as u64;
        slot.damaged = seal::damaged() as u32;
    }
    Some(sealed)
}

/// As BackgroundWorker::transaction, and rolled back when `body` comes to an error that the sealer lives with.
fn transaction<T, E>(body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: outside of a transaction, as everything between two of them here; an error that is raised ends the process.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let done = body();
    // SAFETY: ends what was begun above.
    unsafe {
        if done.is_ok() {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        } else {
            pg_sys::AbortCurrentTransaction();
        }
    }
    done
}

/// Compares the checkpoint directory with the log, or writes to it, and tells everyone whether that works.
fn tend_directory(database: u32) {
    let failing = directory::tend();
    if let Some(slot) = BOARD
        .exclusive()
        .slots
        .iter_mut()
        .find(|s| s.database == database)
    {
        slot.directory = failing;
    }
}

/// Whether the tables of the ledger and those whose rows are leaves are all there, with keys and triggers: a restore makes these last, and
/// what it has loaded so far is not sealed, nor does a partition come that it does not know of.
fn has_ledger() -> bool {
    let query = "select exists (select from pg_extension where extname = 'pg_batchcortex') and (
                    select count(*) = 5
                      from pg_class c
                     where c.relnamespace = to_regnamespace('batchcortex')
                       and c.relname in ('ledger_queue', 'ledger_tile', 'ledger_tree', 'ledger_checkpoint', 'ledger_incarnation')
                       and exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'single_writer')
                       and (c.relname = 'ledger_queue' or exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)))
                and exists (select from pg_trigger t where t.tgrelid = to_regclass('batchcortex.events_log') and t.tgname = 'append_only')
                and not exists (
                    select from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
                     where c.relnamespace = to_regnamespace('batchcortex')
                       and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indisvalid))";
    Spi::connect(|client| plan::select(client, query).first().get_one().unwrap_or_report() == Some(true))
}

fn database() -> u32 {
    // SAFETY: set in every process that is connected to a database.
    unsafe { pg_sys::MyDatabaseId.to_u32() }
}

/// Sets the latch of another process of the server: its SIGUSR1 handler does.
fn wake(pid: i32) {
    if pid > 0 {
        // SAFETY: a signal to a process of this server, as PostgreSQL itself sends it.
        unsafe { kill(pid, 10) };
    }
}

/// A moment in which the session can be cancelled.
fn nap() {
    const EVENTS: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: waits on the latch of this process.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, EVENTS as i32, 5, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

unsafe extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}
