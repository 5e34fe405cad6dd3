//! Answers of any length: lines that pass from the database to the client as fast as it reads them, and are kept nowhere.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use deadpool_postgres::Object;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::RowStream;

use crate::database::{Call, Database, OPEN_REQUEST, identity};
use crate::problem::{self, Problem};
use crate::request::Caller;

/// Time that one answer may take, reading by a slow client included.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Lines go out in pieces of about this size.
const PIECE: usize = 64 * 1024;

impl Database {
    /// Calls a function that returns lines, as the caller, and streams them. What the function refuses is a problem as with
    /// [`Database::request`]; an error after the first line breaks the answer off, so that no client takes it for a whole one.
    ///
    /// The last line goes out when the transaction has committed: who has the whole answer is in the log.
    ///
    /// # Errors
    ///
    /// As for [`Database::request`], and BC503 when as many answers of this kind are under way as may be.
    pub async fn lines(&self, caller: &Caller, call: Call<'_>) -> Result<Body, Problem> {
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else {
            return Err(
                Problem::new(problem::UNAVAILABLE, "Too many exports are under way; try again.")
                    .because("no place for another stream"),
            );
        };
        let transaction = Transaction {
            client: Some(self.client().await?),
            _place: place,
        };
        let client = transaction.client()?;
        let milliseconds = PATIENCE.as_millis();
        let begin =
            format!("begin; set local statement_timeout = {milliseconds}; set local timezone = 'UTC'");
        client.batch_execute(&begin).await?;
        let credential = caller.credential.reveal();
        client
            .query_typed(OPEN_REQUEST, &identity(&credential, &caller.origin))
            .await?;
        let parameters = call.parameters.iter().map(|(value, kind)| (*value, kind.clone()));
        let mut rows = Box::pin(client.query_typed_raw(call.sql, parameters).await?);
        // The first line is made before the answer begins, so that a refusal is an answer of its own.
        let first = next(&mut rows).await?;
        let lines = Lines {
            rows,
            held: first,
            transaction: Some(transaction),
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let pieces = futures_util::stream::try_unfold(lines, move |lines| async move {
            match tokio::time::timeout_at(deadline, lines.piece()).await {
                Ok(piece) => piece.map_err(|error| {
                    tracing::warn!(cause = error.cause(), "an answer was broken off");
                    std::io::Error::other("the answer is broken off")
                }),
                Err(_) => Err(std::io::Error::other("the answer took too long")),
            }
        });
        Ok(Body::from_stream(pieces.into_stream().boxed()))
    }
}

/// A transaction that is still open. Unless it ended well, its connection is closed and never meets another request.
struct Transaction {
    client: Option<Object>,
    _place: OwnedSemaphorePermit,
}

impl Transaction {
    fn client(&self) -> Result<&Object, Problem> {
        self.client
            .as_ref()
            .ok_or_else(|| Problem::internal("a transaction without a connection"))
    }

    async fn commit(mut self) -> Result<(), Problem> {
        self.client()?.batch_execute("commit").await?;
        drop(self.client.take());
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

struct Lines {
    rows: std::pin::Pin<Box<RowStream>>,
    /// The line that goes out next: the last one waits for the commit.
    held: Option<String>,
    transaction: Option<Transaction>,
}

impl Lines {
    /// The next piece and what remains; none at the end.
    async fn piece(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE {
            let Some(line) = self.held.take() else { break };
            self.held = next(&mut self.rows).await?;
            if self.held.is_none()
                && let Some(transaction) = self.transaction.take()
            {
                transaction.commit().await?;
            }
            piece.extend_from_slice(line.as_bytes());
            piece.push(b'\n');
        }
        Ok((!piece.is_empty()).then(|| (piece.into(), self)))
    }
}

async fn next(rows: &mut std::pin::Pin<Box<RowStream>>) -> Result<Option<String>, Problem> {
    let row = rows.try_next().await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
