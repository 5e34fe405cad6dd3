//! One transaction a request, in one round trip.
//!
//! The four messages `begin`, `open_request`, the work and `commit` are written before the first answer is read. When
//! `open_request` refuses the credential, the transaction is aborted: the server skips the work and turns `commit` into a
//! rollback, so that nothing takes effect and the connection comes back clean without another round trip.
//!
//! Nothing depends on the session, so that PgBouncer in transaction mode may stand in between: statements are unnamed (parsed
//! and bound in the same message), and the settings of a transaction are local to it.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row};

use crate::problem::{self, Problem};
use crate::request::{Caller, Origin};
use crate::settings::DatabaseSettings;

/// A parameter and its type. The types are said here, so that the server is not asked for them.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Time to wait for a connection, free or new.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that a proof of a person waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(20);

/// Time beyond the statement timeouts after which a silent database is given up.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) const OPEN_REQUEST: &str = "select from batchcortex_api.open_request($1, $2, $3, $4)";

/// A call of one function of `batchcortex_api`.
pub struct Call<'a> {
    /// `select … from batchcortex_api.…($1, …)`
    pub sql: &'static str,
    /// Values for `$1`, `$2`, …
    pub parameters: &'a [Parameter<'a>],
}

/// The database, through a pool of connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    begin: String,
    statement_timeout: Duration,
    proofs: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
}

/// How much of the database this process takes at once.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Connections.
    pub connections: usize,
    /// Connections among them, half of them at most, on which a password is checked.
    pub proofs: usize,
}

impl Database {
    /// A pool that connects when it is first used; a database that is down now is no error.
    ///
    /// Connections that broke, as all do when the database restarts, are replaced when they are next asked for.
    ///
    /// # Errors
    ///
    /// When the pool cannot be built at all.
    pub fn new(
        settings: DatabaseSettings,
        share: Share,
        statement_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(settings.0, NoTls, recycling);
        let timeouts = Timeouts {
            wait: Some(CONNECTION_TIMEOUT),
            create: Some(CONNECTION_TIMEOUT),
            recycle: Some(CONNECTION_TIMEOUT),
        };
        let pool = Pool::builder(manager)
            .max_size(share.connections)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()?;
        let milliseconds = statement_timeout.as_millis();
        Ok(Self {
            pool,
            begin: format!("begin; set local statement_timeout = {milliseconds}; set local timezone = 'UTC'"),
            statement_timeout,
            proofs: Arc::new(Semaphore::new(share.proofs.min(share.connections / 2).max(1))),
            // A stream holds its connection as long as its client reads: most are for short requests.
            streams: Arc::new(Semaphore::new((share.connections / 4).max(1))),
        })
    }

    /// Calls functions as the caller, in one transaction, and returns the rows of each.
    ///
    /// # Errors
    ///
    /// What the first statement that failed stands for. Then nothing took effect, but for a loss of the connection, after
    /// which the outcome is unknown.
    pub async fn request<const N: usize>(
        &self,
        caller: &Caller,
        calls: [Call<'_>; N],
    ) -> Result<[Vec<Row>; N], Problem> {
        let credential = caller.credential.reveal();
        self.transact(
            Some(Call {
                sql: OPEN_REQUEST,
                parameters: &identity(&credential, &caller.origin),
            }),
            calls,
        )
        .await
    }

    /// Calls a function that finds out by itself who is calling, in a transaction of its own.
    ///
    /// # Errors
    ///
    /// As for [`Database::request`].
    pub async fn call(&self, call: Call<'_>) -> Result<Vec<Row>, Problem> {
        let [rows] = self.transact(None, [call]).await?;
        Ok(rows)
    }

    /// Calls a function that checks a password, as the caller or, before there is one, as nobody.
    ///
    /// A check takes tens of milliseconds of a processor and tens of MiB on purpose, so that few run at once and the others
    /// wait, in the order of their arrival and without a connection: sign-ins of a whole shift leave the database to
    /// everybody else's requests. How many run in the whole server, and how much memory they take, is the database's to
    /// bound (`batchcortex.max_password_checks`).
    ///
    /// # Errors
    ///
    /// As for [`Database::request`], and BC503 when its turn does not come in time.
    pub async fn prove(&self, caller: Option<&Caller>, call: Call<'_>) -> Result<Vec<Row>, Problem> {
        let Ok(Ok(_turn)) = tokio::time::timeout(TURN_TIMEOUT, self.proofs.acquire()).await else {
            let detail = "Too many people prove who they are at this moment; try again.";
            return Err(Problem::new(problem::UNAVAILABLE, detail)
                .retry_after(problem::RETRY_PROOF)
                .because("no turn to check a password"));
        };
        match caller {
            Some(caller) => {
                let [rows] = self.request(caller, [call]).await?;
                Ok(rows)
            }
            None => self.call(call).await,
        }
    }

    /// A connection of the pool.
    pub(crate) async fn client(&self) -> Result<Object, Problem> {
        Ok(self.pool.get().await?)
    }

    /// Stops handing out connections.
    pub fn close(&self) {
        self.pool.close();
    }

    async fn transact<const N: usize>(
        &self,
        identity: Option<Call<'_>>,
        calls: [Call<'_>; N],
    ) -> Result<[Vec<Row>; N], Problem> {
        let client = self.pool.get().await?;
        // Each call may take the whole statement timeout, and so may the check of the credential.
        let deadline = self.statement_timeout * (calls.len() as u32 + 1) + GRACE;
        let Ok(outcome) = tokio::time::timeout(deadline, self.pipeline(&client, identity, calls)).await
        else {
            // The server is silent: whatever it still does with this connection must not meet another request.
            drop(Object::take(client));
            return Err(
                Problem::new(problem::TIMED_OUT, "The database did not answer in time.")
                    .because("database silent"),
            );
        };
        outcome
    }

    async fn pipeline<const N: usize>(
        &self,
        client: &Object,
        identity: Option<Call<'_>>,
        calls: [Call<'_>; N],
    ) -> Result<[Vec<Row>; N], Problem> {
        // Every future below sends its message when it is first polled, and all are polled once, in this order, before
        // any of them waits: join_all() does so for up to thirty. Hence a request that is dropped halfway has either sent
        // everything, its commit included, or nothing.
        const { assert!(N <= 30) };
        let (begun, opened, worked, committed) = tokio::join!(
            biased;
            client.batch_execute(&self.begin),
            async {
                match identity {
                    Some(call) => client.query_typed(call.sql, call.parameters).await.map(drop),
                    None => Ok(()),
                }
            },
            join_all(calls.iter().map(|call| client.query_typed(call.sql, call.parameters))),
            client.batch_execute("commit"),
        );
        // The first error is the cause; those after it say only that the transaction is aborted.
        begun?;
        opened?;
        let mut answers = std::array::from_fn(|_| Vec::new());
        for (answer, rows) in answers.iter_mut().zip(worked) {
            *answer = rows?;
        }
        committed?;
        Ok(answers)
    }
}

/// The parameters of [`OPEN_REQUEST`].
pub(crate) fn identity<'a>(credential: &'a &str, origin: &'a Origin) -> [Parameter<'a>; 4] {
    [
        (credential, Type::TEXT),
        (&origin.client_ip, Type::INET),
        (&origin.user_agent, Type::TEXT),
        (&origin.request_id, Type::TEXT),
    ]
}

/// The only row of an answer.
///
/// # Errors
///
/// When there is none, or more than one.
pub fn only(rows: Vec<Row>) -> Result<Row, Problem> {
    let [row] = <[Row; 1]>::try_from(rows)
        .map_err(|_| Problem::internal("the database answered with another number of rows than one"))?;
    Ok(row)
}
