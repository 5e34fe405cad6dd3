//! The way in: from the notifications of the OPC UA server to messages in the spool.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use opcua::client::Session;
use opcua::types::{
    DataChangeNotification, DateTime, Error, NotificationMessage, PublishResponse, StatusChangeNotification,
    StatusCode,
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::config::Config;
use super::message::{Message, MessageBuffer, Position};
use super::sample::Sample;
use super::session::{ConnectError, Connection};
use super::spool::{Cursor, Depth, Spool};
use super::status::Status;
use super::subscription::{Place, SubscribeError, Subscription};
use super::tags::{self, Tag, TagError};
use super::uplink::{Backoff, blocking};

/// Time between two attempts to write to a disk that does not take it.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// Attempts of an agent that is told to stop.
const LAST_ATTEMPTS: u32 = 10;
/// Most messages fetched again in one go.
const MAX_REPUBLISH: u32 = 100_000;

/// Captures the configured tags into the spool until it is told to stop.
pub struct Capture {
    config: Config,
    layout: String,
    spool: Arc<Spool>,
    status: Arc<Status>,
    buffer: MessageBuffer,
    /// A message that the disk did not take yet.
    unsaved: Option<Message>,
    subscription: Option<Subscription>,
    /// What an earlier run left, until the first session has tried to take it over.
    earlier: Option<Cursor>,
    /// Tags whose next notification is the initial value of a new monitored item.
    initial: Vec<bool>,
}

/// Why capture never began, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The tags are not there.
    #[error(transparent)]
    Tags(#[from] TagError),
    /// The server refuses to monitor them.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The settings do not allow a session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The disk does not take what is in memory.
    #[error(
        "the spool did not take the latest samples; the OPC UA server holds them for the next start as long as it can"
    )]
    Unsaved,
}

/// Why notifications no longer come.
enum Broken {
    /// The session has to be looked after.
    Session(Error),
    /// The server has forgotten the subscription.
    Subscription(StatusCode),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        match error.status() {
            status @ (StatusCode::BadNoSubscription | StatusCode::BadSubscriptionIdInvalid) => {
                Broken::Subscription(status)
            }
            _ => Broken::Session(error),
        }
    }
}

type Pending = Pin<Box<dyn Future<Output = Result<PublishResponse, Error>> + Send>>;

impl Capture {
    /// Prepares capture; numbering goes on at `position`, the subscription at `earlier`.
    pub fn new(
        config: Config,
        spool: Arc<Spool>,
        status: Arc<Status>,
        position: Position,
        earlier: Option<Cursor>,
    ) -> Capture {
        let names = config.opcua.tags.iter().map(|tag| tag.name.clone());
        let buffer = MessageBuffer::new(config.device_id, config.batch.clone(), names, position);
        let initial = vec![false; config.opcua.tags.len()];
        let layout = fingerprint(&config);
        Capture {
            config,
            layout,
            spool,
            status,
            buffer,
            unsaved: None,
            subscription: None,
            earlier,
            initial,
        }
    }

    /// Runs until `stop` is true. What was taken is on disk when it returns `Ok`.
    ///
    /// # Errors
    /// When the first session shows that the tags cannot be captured. Later such findings are reported
    /// and tried again: a server may still be starting.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), CaptureError> {
        let mut begun = false;
        let mut backoff = Backoff::default();
        while !*stop.borrow() {
            let opened = tokio::select! {
                opened = self.open() => opened,
                () = told(&mut stop) => break,
            };
            let mut connection = match opened {
                Ok(connection) => connection,
                Err(error @ (ConnectError::Password(_) | ConnectError::Setup(_))) => return Err(error.into()),
                Err(error) => {
                    self.trouble(&error.to_string());
                    pause(backoff.delay(), &mut stop).await;
                    continue;
                }
            };
            while !connection.has_ended() && !*stop.borrow() {
                let attached = tokio::select! {
                    attached = self.attach(&mut connection) => attached,
                    () = told(&mut stop) => break,
                };
                match attached {
                    Ok(()) => {
                        begun = true;
                        backoff.reset();
                        self.status.connected(true);
                        let reason = self.pump(connection.session(), &mut stop).await;
                        self.status.connected(false);
                        if let Some(reason) = reason {
                            self.trouble(&reason);
                        }
                    }
                    Err(CaptureError::Tags(error @ TagError::Unavailable(_))) if !begun => {
                        return Err(error.into());
                    }
                    Err(CaptureError::Subscribe(error @ SubscribeError::Items(_))) if !begun => {
                        return Err(error.into());
                    }
                    Err(error) => {
                        self.trouble(&error.to_string());
                        pause(backoff.delay(), &mut stop).await;
                    }
                }
            }
            connection.close().await;
        }
        for _ in 0..LAST_ATTEMPTS {
            if self.flush().await {
                return Ok(());
            }
            tokio::time::sleep(DISK_RETRY).await;
        }
        Err(CaptureError::Unsaved)
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        let opcua = &self.config.opcua;
        // The server gives a subscription back to the application that it belongs to.
        let application = format!("urn:batchcortex:edge:{}", self.config.device_id);
        let pki = self.config.spool_dir.join("pki");
        Connection::open(&opcua.endpoint, opcua.account.as_ref(), &application, &pki).await
    }

    fn trouble(&self, reason: &str) {
        tracing::warn!("{reason}; trying again");
        self.status.failed(reason);
    }

    fn gap(&self, reason: &str) {
        tracing::error!("samples may be missing: {reason}");
        self.status.possible_gap();
        self.status.failed(reason);
    }

    /// Brings the subscription and the session together: goes on with what there is, takes over what an
    /// earlier session left, or begins anew.
    async fn attach(&mut self, connection: &mut Connection) -> Result<(), CaptureError> {
        if !connection.ready().await {
            let lost = Error::new(StatusCode::BadConnectionClosed, "the session ended");
            return Err(SubscribeError::Request(lost).into());
        }
        let session = Arc::clone(connection.session());
        let request = |error| CaptureError::Subscribe(SubscribeError::Request(error));

        if let Some(subscription) = &mut self.subscription
            && !subscription.belongs_to(&session)
            && !subscription.follow(&session).await.map_err(request)?
        {
            self.subscription = None;
            self.gap("the server gave the agent a new session and did not hand over its subscription");
        }
        if let Some(cursor) = &self.earlier {
            // Asked before it is forgotten: a broken connection must not cost the subscription.
            let taken = if cursor.layout == self.layout {
                Subscription::take_over(&session, cursor).await.map_err(request)?
            } else {
                tracing::info!(
                    "other tags or another server than in the earlier run: a new subscription is made"
                );
                None
            };
            self.earlier = None;
            match taken {
                Some(subscription) => {
                    tracing::info!("goes on with the subscription of the earlier run");
                    self.subscription = Some(subscription);
                }
                None => self.gap("what the server sent since the agent's earlier run is not available"),
            }
        }
        if self.subscription.is_some() {
            match self.catch_up(&session).await {
                Ok(()) => return Ok(()),
                Err(Broken::Session(error)) => return Err(request(error)),
                Err(Broken::Subscription(status)) => {
                    self.subscription = None;
                    self.gap(&format!("the server has forgotten the subscription ({status})"));
                }
            }
        }

        let tags = tokio::time::timeout(tags::PATIENCE, tags::resolve(&session, &self.config.opcua.tags))
            .await
            .map_err(|_| Error::new(StatusCode::BadTimeout, "the tags were not read in time"))
            .map_err(TagError::Request)??;
        self.describe(&tags);
        let layout = self.layout.clone();
        let subscription = Subscription::create(&session, &self.config.opcua, &tags, layout).await?;
        // An agent that is killed before its first message takes this subscription over, too.
        let (spool, cursor) = (Arc::clone(&self.spool), subscription.cursor());
        if let Err(error) = blocking(move || spool.keep_cursor(cursor)).await {
            self.trouble(&error.to_string());
        }
        tracing::info!(tags = tags.len(), "subscribed");
        self.subscription = Some(subscription);
        self.initial.fill(true);
        Ok(())
    }

    fn describe(&mut self, tags: &[Tag]) {
        for (index, tag) in tags.iter().enumerate() {
            if let Some(data_type) = tag.data_type {
                self.buffer.declare(index, data_type);
            }
            let (name, unit) = (&tag.name, tag.unit.as_deref().unwrap_or("none"));
            tracing::debug!(tag = name, unit, data_type = tag.data_type.unwrap_or("other"));
            if tag.writable {
                tracing::warn!(
                    tag = name,
                    "the server lets this account write the tag: the agent never does, but take the right away"
                );
            }
        }
    }

    /// Fetches what was sent while nobody listened.
    async fn catch_up(&mut self, session: &Session) -> Result<(), Broken> {
        let mut fetched = 0;
        while let Some(subscription) = &self.subscription {
            let number = subscription.expected();
            let Some(message) = subscription.republish(session, number).await? else {
                break;
            };
            self.take(&message)?;
            fetched += 1;
            if fetched >= MAX_REPUBLISH {
                break;
            }
        }
        if fetched > 0 {
            tracing::info!(
                messages = fetched,
                "fetched again what was sent during the interruption"
            );
        }
        Ok(())
    }

    /// Reads notifications until the session or the subscription breaks, with the reason, or until the agent stops.
    async fn pump(&mut self, session: &Arc<Session>, stop: &mut watch::Receiver<bool>) -> Option<String> {
        let mut depth = self.spool.depth();
        let mut pending: Option<Pending> = None;
        let mut paused = false;
        loop {
            let full = depth.borrow_and_update().bytes >= self.config.spool_limit;
            self.announce(full, &mut paused);
            let may_publish = !full && self.unsaved.is_none();
            if pending.is_none()
                && may_publish
                && let Some(subscription) = &self.subscription
            {
                pending = Some(Box::pin(subscription.publish(Arc::clone(session))));
            }
            let due = match &self.unsaved {
                Some(_) => Some(Instant::now() + DISK_RETRY),
                None => self.buffer.due(self.config.flush_interval),
            };
            tokio::select! {
                () = told(stop) => {
                    self.flush().await;
                    return None;
                }
                answer = poll(&mut pending) => {
                    pending = None;
                    if let Err(broken) = self.answered(session, answer).await {
                        self.flush().await;
                        return Some(self.explain(broken));
                    }
                    if self.buffer.is_full() {
                        self.flush().await;
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.flush().await;
                }
                () = room(&mut depth, self.config.spool_limit), if full => {}
            }
        }
    }

    fn announce(&self, full: bool, paused: &mut bool) {
        if full && !*paused {
            let reason = "the spool is full: no more samples are fetched until the API takes messages; \
                          the OPC UA server queues them as long as it can";
            tracing::error!("{reason}");
            self.status.failed(reason);
        } else if *paused && !full {
            tracing::info!("the spool has room again: samples are fetched again");
        }
        *paused = full;
    }

    fn explain(&mut self, broken: Broken) -> String {
        match broken {
            Broken::Session(error) => format!("the session with the OPC UA server is interrupted: {error}"),
            Broken::Subscription(status) => {
                self.subscription = None;
                let reason = format!("the server has forgotten the subscription ({status})");
                self.gap(&reason);
                reason
            }
        }
    }

    /// Handles the answer to a Publish.
    async fn answered(
        &mut self,
        session: &Session,
        answer: Result<PublishResponse, Error>,
    ) -> Result<(), Broken> {
        let answer = match answer {
            Ok(answer) => answer,
            // The server has answered nothing in time or has too many questions: ask again.
            Err(error)
                if matches!(
                    error.status(),
                    StatusCode::BadTimeout | StatusCode::BadTooManyPublishRequests
                ) =>
            {
                tracing::debug!("Publish is repeated: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let Some(subscription) = &mut self.subscription else {
            return Ok(());
        };
        let sent = answer.results.as_ref().map_or(0, Vec::len);
        subscription.acknowledged(sent);
        if answer.subscription_id != subscription.cursor().subscription_id {
            return Ok(());
        }
        let message = answer.notification_message;
        match subscription.place(&message) {
            Place::Next => self.take(&message),
            Place::KeepAlive | Place::Old => Ok(()),
            Place::After { .. } => self.fill_in(session, &message).await,
        }
    }

    /// Fetches the messages before `message` that did not arrive, then takes it, unless it is a keep-alive.
    async fn fill_in(&mut self, session: &Session, message: &NotificationMessage) -> Result<(), Broken> {
        let mut lost = 0u32;
        let mut asked = 0u32;
        while let Some(subscription) = &mut self.subscription {
            let number = subscription.expected();
            if number == message.sequence_number {
                break;
            }
            asked += 1;
            if asked > MAX_REPUBLISH {
                lost += message.sequence_number.wrapping_sub(number);
                subscription.skip(message.sequence_number.wrapping_sub(1));
                break;
            }
            match subscription.republish(session, number).await? {
                Some(missed) => self.take(&missed)?,
                None => {
                    lost += 1;
                    subscription.skip(number);
                }
            }
        }
        if lost > 0 {
            self.gap(&format!(
                "the server no longer has {lost} of its messages to this agent"
            ));
        }
        match self
            .subscription
            .as_ref()
            .map(|subscription| subscription.place(message))
        {
            Some(Place::Next) => self.take(message),
            _ => Ok(()),
        }
    }

    /// Moves the samples of a message into the buffer.
    fn take(&mut self, message: &NotificationMessage) -> Result<(), Broken> {
        let received = DateTime::now();
        let mut samples = 0;
        let mut ended = None;
        for data in message.notification_data.iter().flatten() {
            if let Some(changes) = data.inner_as::<DataChangeNotification>() {
                for item in changes.monitored_items.iter().flatten() {
                    let Some(tag) = (item.client_handle as usize).checked_sub(1) else {
                        continue;
                    };
                    if tag >= self.initial.len() {
                        continue;
                    }
                    let sample = Sample::capture(&item.value, received);
                    // A new monitored item begins with the current value. When that is the one captured last,
                    // it is no new sample.
                    if std::mem::take(&mut self.initial[tag]) && self.buffer.repeats(tag, &sample) {
                        continue;
                    }
                    if sample.follows_a_gap() {
                        let name = &self.config.opcua.tags[tag].name;
                        self.gap(&format!("the queue of the server overflowed for {name}"));
                    }
                    self.buffer.push(tag, sample);
                    samples += 1;
                }
            } else if let Some(change) = data.inner_as::<StatusChangeNotification>() {
                ended = Some(change.status);
            }
        }
        self.status.received(samples);
        if let Some(subscription) = &mut self.subscription {
            subscription.take(message.sequence_number);
        }
        match ended {
            Some(status) => Err(Broken::Subscription(status)),
            None => Ok(()),
        }
    }

    /// Makes a message of what waits and gives it to the spool. `false` when the disk did not take it; it
    /// is kept and tried again, and nothing more is fetched meanwhile.
    async fn flush(&mut self) -> bool {
        if self.unsaved.is_none() {
            match self.buffer.cut() {
                Ok(message) => self.unsaved = message,
                Err(error) => {
                    self.status
                        .failed(&format!("a message has no JSON form: {error}"));
                    return false;
                }
            }
        }
        let Some(message) = self.unsaved.take() else {
            return true;
        };
        let cursor = self.subscription.as_ref().map(Subscription::cursor);
        let spool = Arc::clone(&self.spool);
        let message = Arc::new(message);
        let put = Arc::clone(&message);
        match blocking(move || spool.put(&put, cursor)).await {
            Ok(()) => {
                if let Some(subscription) = &mut self.subscription {
                    subscription.settle();
                }
                true
            }
            Err(error) => {
                tracing::error!("{error}; capture stands still until the disk takes it");
                self.status.failed(&error.to_string());
                self.unsaved = Some(Arc::unwrap_or_clone(message));
                false
            }
        }
    }
}

/// Waits until less than `limit` bytes wait in the spool.
async fn room(depth: &mut watch::Receiver<Depth>, limit: u64) {
    // The spool outlives its watchers, so that the wait ends with room only.
    let _ = depth.wait_for(|depth| depth.bytes < limit).await;
}

/// Waits for the pending answer; for ever when there is none.
async fn poll(pending: &mut Option<Pending>) -> Result<PublishResponse, Error> {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

/// Waits until the agent is told to stop. A sender that is gone tells nothing any more.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn pause(time: Duration, stop: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = told(stop) => {}
    }
}

/// Tags in their order, with their nodes and the server: what the client handles of a subscription mean.
fn fingerprint(config: &Config) -> String {
    let mut digest = Sha256::new();
    digest.update(&config.opcua.endpoint);
    for tag in &config.opcua.tags {
        for text in [tag.name.as_str(), &tag.node.to_string()] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
    }
    hex::encode(digest.finalize())
}
