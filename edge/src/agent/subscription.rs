//! The subscription: created, taken over after a restart, and read so that no notification is skipped.
//!
//! A notification is acknowledged to the server only after its samples are on disk. Whatever was on
//! its way when a connection or the agent broke is still in the server's retransmission queue and is
//! fetched with Republish (OPC UA Part 4 §5.14.5, §5.14.6).

use std::time::Duration;

use opcua::client::services::{
    CreateMonitoredItems, CreateSubscription, DeleteSubscriptions, Publish, Republish, TransferSubscriptions,
};
use opcua::client::{Session, UARequest};
use opcua::types::{
    DataChangeFilter, DataChangeTrigger, DeadbandType, Error, ExtensionObject, MonitoredItemCreateRequest,
    MonitoringMode, MonitoringParameters, NodeId, NotificationMessage, PublishResponse, StatusCode,
    SubscriptionAcknowledgement, TimestampsToReturn,
};

use super::config::OpcUa;
use super::spool::Cursor;
use super::tags::Tag;

/// Notifications asked for in one message. With no limit a backlog would exceed what a client may decode.
pub const MAX_NOTIFICATIONS: u32 = 500;

/// Monitored items created by one request.
const ITEMS_A_REQUEST: usize = 500;
/// Silence after which the server says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Time without any Publish after which the server may forget the subscription.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// Time after which an unanswered Publish is given up; longer than several keep-alives.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);
/// Most messages that are asked for one by one.
const MAX_REPUBLISH: u32 = 100_000;

/// A subscription at the server, and how far it was read.
#[derive(Debug)]
pub struct Subscription {
    id: u32,
    session: NodeId,
    layout: String,
    latest: u32,
    taken: Vec<u32>,
    settled: Vec<u32>,
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The server does not monitor some tags as they must be monitored.
    #[error("the server does not monitor these tags:\n  {}", .0.join("\n  "))]
    Items(Vec<String>),
    /// A request failed.
    #[error("the server did not make the subscription: {0}")]
    Request(#[from] Error),
}

impl Subscription {
    /// Creates a subscription with one monitored item a tag. The client handle of an item is the place of the
    /// tag in the list, from 1.
    ///
    /// # Errors
    /// When the server refuses it or any of the items.
    pub async fn create(
        session: &Session,
        settings: &OpcUa,
        tags: &[Tag],
        layout: String,
    ) -> Result<Subscription, SubscribeError> {
        let interval = settings.publishing_interval;
        let intervals = |time: Duration| time.as_millis().div_ceil(interval.as_millis().max(1)) as u32;
        let answer = CreateSubscription::new(session)
            .publishing_interval(interval)
            .max_keep_alive_count(intervals(KEEP_ALIVE).max(1))
            .max_lifetime_count(intervals(LIFETIME).max(3))
            .max_notifications_per_publish(MAX_NOTIFICATIONS)
            .publishing_enabled(true)
            .send(session.channel())
            .await?;
        let asked = interval.as_secs_f64() * 1e3;
        if answer.revised_publishing_interval > asked {
            tracing::warn!(
                asked_ms = asked,
                revised_ms = answer.revised_publishing_interval,
                "the server publishes less often than asked: its queues must hold more"
            );
        }
        let subscription = Subscription {
            id: answer.subscription_id,
            session: session.server_session_id(),
            layout,
            latest: 0,
            taken: Vec::new(),
            settled: Vec::new(),
        };
        if let Err(error) = subscription.monitor(session, settings, tags).await {
            subscription.delete(session).await;
            return Err(error);
        }
        Ok(subscription)
    }

    async fn monitor(&self, session: &Session, settings: &OpcUa, tags: &[Tag]) -> Result<(), SubscribeError> {
        let sampling = settings.sampling_interval.as_secs_f64() * 1e3;
        // A new time stamp is a new sample, also when value and status are the same. No dead-band: it
        // would discard data for ever.
        let filter = ExtensionObject::from_message(DataChangeFilter {
            trigger: DataChangeTrigger::StatusValueTimestamp,
            deadband_type: DeadbandType::None as u32,
            deadband_value: 0.0,
        });
        let items: Vec<MonitoredItemCreateRequest> = tags
            .iter()
            .zip(1..)
            .map(|(tag, client_handle)| MonitoredItemCreateRequest {
                item_to_monitor: tag.node.clone().into(),
                monitoring_mode: MonitoringMode::Reporting,
                requested_parameters: MonitoringParameters {
                    client_handle,
                    sampling_interval: sampling,
                    queue_size: settings.queue_size,
                    discard_oldest: true,
                    filter: filter.clone(),
                },
            })
            .collect();
        let mut refused = Vec::new();
        let mut slower = Vec::new();
        let mut shorter = Vec::new();
        let mut tag = tags.iter();
        for part in items.chunks(ITEMS_A_REQUEST) {
            let created = CreateMonitoredItems::new(self.id, session)
                .items_to_create(part.to_vec())
                .timestamps_to_return(TimestampsToReturn::Both)
                .send(session.channel())
                .await?;
            for (item, tag) in created.results.into_iter().zip(tag.by_ref()) {
                let result = item.result;
                if result.status_code.is_bad() {
                    refused.push(format!("{}: {}", tag.name, result.status_code));
                }
                if result.revised_sampling_interval > sampling {
                    slower.push((&tag.name, result.revised_sampling_interval));
                }
                if result.revised_queue_size < settings.queue_size {
                    shorter.push((&tag.name, result.revised_queue_size));
                }
            }
        }
        if let Some((name, revised)) = slower.first() {
            tracing::warn!(
                tags = slower.len(),
                asked_ms = sampling,
                "the server samples more slowly than asked, {name} every {revised} ms: changes between two samples are lost"
            );
        }
        if let Some((name, revised)) = shorter.first() {
            tracing::warn!(
                tags = shorter.len(),
                asked = settings.queue_size,
                "the server queues fewer samples than asked, {revised} of {name}: a longer interruption loses samples"
            );
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(SubscribeError::Items(refused))
        }
    }

    /// Takes over a subscription that an earlier session of this agent left at the server. `None` when the
    /// server does not give it: it has expired, or anonymous sessions may not take over others.
    ///
    /// # Errors
    /// When the request itself fails.
    pub async fn take_over(session: &Session, cursor: &Cursor) -> Result<Option<Subscription>, Error> {
        let id = cursor.subscription_id;
        let answer = TransferSubscriptions::new(session)
            .subscription(id)
            // Initial values would look like new samples.
            .send_initial_values(false)
            .send(session.channel())
            .await?;
        let status = answer
            .results
            .iter()
            .flatten()
            .next()
            .map(|result| result.status_code);
        if status.is_none_or(|status| status.is_bad()) {
            tracing::info!(
                subscription = id,
                ?status,
                "the server does not hand over the subscription"
            );
            return Ok(None);
        }
        Ok(Some(Subscription {
            id,
            session: session.server_session_id(),
            layout: cursor.layout.clone(),
            latest: cursor.notification,
            taken: Vec::new(),
            settled: Vec::new(),
        }))
    }

    /// Whether the subscription belongs to the session as it is now.
    pub fn belongs_to(&self, session: &Session) -> bool {
        self.session == session.server_session_id()
    }

    /// Follows the subscription into another session; `false` when the server does not allow it.
    ///
    /// # Errors
    /// When the request itself fails.
    pub async fn follow(&mut self, session: &Session) -> Result<bool, Error> {
        match Subscription::take_over(session, &self.cursor()).await? {
            Some(subscription) => {
                self.session = subscription.session;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// How far it was read, for the spool.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            subscription_id: self.id,
            notification: self.latest,
            layout: self.layout.clone(),
        }
    }

    /// Waits for the next notification and acknowledges those whose samples are on disk.
    ///
    /// # Errors
    /// When the request fails; the acknowledgements are then sent again with the next one.
    pub fn publish(
        &self,
        session: std::sync::Arc<Session>,
    ) -> impl Future<Output = Result<PublishResponse, Error>> + Send + 'static {
        let acknowledgements = self
            .settled
            .iter()
            .map(|number| SubscriptionAcknowledgement {
                subscription_id: self.id,
                sequence_number: *number,
            })
            .collect();
        async move {
            Publish::new(&session)
                .acks(acknowledgements)
                .timeout(PUBLISH_TIMEOUT)
                .send(session.channel())
                .await
        }
    }

    /// Notes that a Publish was answered: its acknowledgements have arrived.
    pub fn acknowledged(&mut self, count: usize) {
        self.settled.drain(..count.min(self.settled.len()));
    }

    /// Acknowledgements that the next Publish carries.
    pub fn acknowledgements(&self) -> usize {
        self.settled.len()
    }

    /// What to do with a message of this number.
    pub fn place(&self, message: &NotificationMessage) -> Place {
        let expected = successor(self.latest);
        let ahead = message.sequence_number.wrapping_sub(expected);
        match (is_keep_alive(message), ahead) {
            (true, 0) => Place::KeepAlive,
            (false, 0) => Place::Next,
            // A keep-alive carries the number that comes next (Part 4 §5.14.1.1).
            (_, ahead) if ahead <= MAX_REPUBLISH => Place::After { missing: expected },
            (true, _) => Place::KeepAlive,
            (false, ahead) if ahead > u32::MAX / 2 => Place::Old,
            (false, _) => Place::After { missing: expected },
        }
    }

    /// Fetches one message again; `None` when the server has it no more.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn republish(
        &self,
        session: &Session,
        number: u32,
    ) -> Result<Option<NotificationMessage>, Error> {
        match Republish::new(self.id, number, session)
            .send(session.channel())
            .await
        {
            // Some servers answer a number they do not know with an empty message.
            Ok(answer) if answer.notification_message.sequence_number != number => Ok(None),
            Ok(answer) if is_keep_alive(&answer.notification_message) => Ok(None),
            Ok(answer) => Ok(Some(answer.notification_message)),
            Err(error) if error.status() == StatusCode::BadMessageNotAvailable => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Number of the message that comes next.
    pub fn expected(&self) -> u32 {
        successor(self.latest)
    }

    /// Notes that the samples of a message are in memory.
    pub fn take(&mut self, number: u32) {
        self.latest = number;
        self.taken.push(number);
    }

    /// Notes that a message will never come.
    pub fn skip(&mut self, number: u32) {
        self.latest = number;
    }

    /// Notes that everything taken so far is on disk and may be acknowledged.
    pub fn settle(&mut self) {
        self.settled.append(&mut self.taken);
    }

    async fn delete(&self, session: &Session) {
        let answer = DeleteSubscriptions::new(session)
            .subscription(self.id)
            .send(session.channel())
            .await;
        if let Err(error) = answer {
            tracing::debug!(
                subscription = self.id,
                "the server keeps the subscription: {error}"
            );
        }
    }
}

/// The place of a message in the order of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The next message.
    Next,
    /// No message, and none is missing.
    KeepAlive,
    /// Messages from `missing` on lie before it.
    After {
        /// First missing number.
        missing: u32,
    },
    /// It was taken before.
    Old,
}

/// Sequence numbers begin at 1 and go on with 1 after the largest (OPC UA Part 4 §7.25).
fn successor(number: u32) -> u32 {
    number.checked_add(1).unwrap_or(1)
}

fn is_keep_alive(message: &NotificationMessage) -> bool {
    message.notification_data.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use opcua::types::DateTime;

    use super::*;

    fn subscription(latest: u32) -> Subscription {
        Subscription {
            id: 1,
            session: NodeId::null(),
            layout: String::new(),
            latest,
            taken: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn message(number: u32) -> NotificationMessage {
        NotificationMessage::status_change(number, DateTime::now(), StatusCode::Good)
    }

    fn keep_alive(number: u32) -> NotificationMessage {
        NotificationMessage::keep_alive(number, DateTime::now())
    }

    // control: A12
    #[test]
    fn a_missing_message_is_noticed() {
        let subscription = subscription(7);
        assert_eq!(subscription.place(&message(8)), Place::Next);
        assert_eq!(subscription.place(&message(10)), Place::After { missing: 8 });
        assert_eq!(subscription.place(&message(7)), Place::Old);
        assert_eq!(subscription.place(&keep_alive(8)), Place::KeepAlive);
        assert_eq!(subscription.place(&keep_alive(9)), Place::After { missing: 8 });
    }

    #[test]
    fn numbers_roll_over_to_one() {
        let subscription = subscription(u32::MAX);
        assert_eq!(subscription.expected(), 1);
        assert_eq!(subscription.place(&message(1)), Place::Next);
        assert_eq!(subscription.place(&message(3)), Place::After { missing: 1 });
        assert_eq!(subscription.place(&message(u32::MAX)), Place::Old);
    }

    #[test]
    fn only_what_is_on_disk_is_acknowledged() {
        let mut subscription = subscription(0);
        subscription.take(1);
        assert_eq!(subscription.acknowledgements(), 0);
        subscription.settle();
        subscription.take(2);
        assert_eq!(subscription.acknowledgements(), 1);
        subscription.acknowledged(1);
        assert_eq!(subscription.acknowledgements(), 0);
        assert_eq!(subscription.cursor().notification, 2);
    }
}
