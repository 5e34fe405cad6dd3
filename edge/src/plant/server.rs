//! The OPC UA server of the plant: one object, one read-only variable a channel, limits that lose nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use opcua::nodes::{AccessLevel, ObjectBuilder, ReferenceDirection, VariableBuilder};
use opcua::server::address_space::AddressSpace;
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{
    ANONYMOUS_USER_TOKEN_ID, Limits, ServerBuilder, ServerEndpoint, ServerHandle, ServerUserToken,
    SubscriptionLimits,
};
use opcua::types::{
    AttributeId, DataTypeId, DataValue, DateTime, EUInformation, ExtensionObject, LocalizedText, NodeId,
    ObjectId, ObjectTypeId, QualifiedName, ReferenceTypeId, StatusCode, VariableTypeId, Variant,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::NAMESPACE_URI;
use super::clock::SourceClock;
use super::recording::{Channel, Recording, Row};

/// Browse name of the object that holds the variables, and its identifier.
pub const OBJECT: &str = "Bioreactor";

/// Who may read the plant.
#[derive(Clone)]
pub enum Access {
    /// Everyone who reaches the loopback address.
    Anonymous,
    /// One account. A subscription belongs to the account, so that a restarted client can take it over.
    Account {
        /// Name of the account.
        user: String,
        /// Its password; it crosses the loopback interface unencrypted (security policy None).
        password: String,
    },
}

/// Why the plant does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plant is neither encrypted nor meant for a network.
    #[error("{0} is no loopback address: the plant speaks without encryption and serves this machine only")]
    NotLoopback(SocketAddr),
    /// The port is taken or not permitted.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no directory for temporary files that may be written.
    #[error("cannot make a directory for the server's certificates: {0}")]
    Directory(std::io::Error),
    /// The OPC UA library refused the configuration.
    #[error("the OPC UA server does not start: {0}")]
    Server(String),
}

/// A running plant. Dropping it leaves the server running; [`Plant::stop`] ends it.
pub struct Plant {
    variables: Variables,
    endpoint: String,
    /// Where the library keeps certificates, also when there are none. A name that nobody can guess: the directory
    /// for temporary files is everybody's.
    pki: TempDir,
    running: JoinHandle<Result<(), String>>,
}

/// The variables of the server, one a channel.
struct Variables {
    handle: ServerHandle,
    nodes: Arc<SimpleNodeManager>,
    ids: Vec<NodeId>,
    clock: SourceClock,
}

/// Limits under which thousands of rows a minute of some dozens of tags reach a subscriber whole, also
/// one that stops reading for minutes. The library's defaults (queue of 10, sampling every 100 ms,
/// 20 messages waiting, 8 kept for Republish) drop most of such a replay.
fn limits() -> Limits {
    Limits {
        max_array_length: 100_000,
        max_message_size: 64 * 1024 * 1024,
        max_chunk_count: 2_000,
        subscriptions: SubscriptionLimits {
            // 0: every change is a sample, none is held back.
            min_sampling_interval_ms: 0.0,
            min_publishing_interval_ms: 10.0,
            // A subscriber that is away for an hour at 25 ms a row finds its values.
            max_monitored_item_queue_size: 150_000,
            max_monitored_items_per_sub: 10_000,
            max_notifications_per_publish: 5_000,
            max_queued_notifications: 1_000_000,
            // Twice this many messages stay available for Republish.
            max_publish_requests_per_subscription: 500,
            max_pending_publish_requests: 500,
            max_lifetime_count: 3_600_000,
            ..SubscriptionLimits::default()
        },
        ..Limits::default()
    }
}

impl Plant {
    /// Starts the server on a loopback address; port 0 takes a free one. The variables hold the first
    /// row before the first client is served.
    ///
    /// # Errors
    /// When the address is not loopback or taken, or when the library refuses to serve; see [`StartError`].
    pub async fn start(
        address: SocketAddr,
        recording: &Recording,
        access: &Access,
    ) -> Result<Plant, StartError> {
        if !address.ip().is_loopback() {
            return Err(StartError::NotLoopback(address));
        }
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Listen { address, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| StartError::Listen { address, source })?;

        let pki = TempDir::with_prefix("batchcortex-plant-").map_err(StartError::Directory)?;
        let (builder, token) = match access {
            Access::Anonymous => (ServerBuilder::new(), ANONYMOUS_USER_TOKEN_ID.to_owned()),
            Access::Account { user, password } => (
                ServerBuilder::new().add_user_token("reader", ServerUserToken::user_pass(user, password)),
                "reader".to_owned(),
            ),
        };
        let (server, handle) = builder
            .application_name("BatchCortex plant")
            // The namespace of the server itself; it must not be that of the plant.
            .application_uri("urn:batchcortex:plant:server")
            .product_uri("urn:batchcortex:plant:server")
            .add_endpoint("none", ServerEndpoint::new_none("/", &[token]))
            .discovery_urls(vec!["/".to_owned()])
            .host(address.ip().to_string())
            .port(address.port())
            // No certificate is made or asked for: there is no encrypted endpoint.
            .create_sample_keypair(false)
            .pki_dir(pki.path())
            .diagnostics_enabled(false)
            .subscription_poll_interval_ms(10)
            // As long as a subscription lives: anonymous clients find theirs through their session only.
            .max_session_timeout_ms(3_600_000)
            .limits(limits())
            .with_node_manager(simple_node_manager(
                NamespaceMetadata {
                    namespace_uri: NAMESPACE_URI.to_owned(),
                    ..Default::default()
                },
                "plant",
            ))
            .build()
            .map_err(StartError::Server)?;
        let missing = |what: &str| StartError::Server(format!("the server has no {what}"));
        let nodes = handle
            .node_managers()
            .get_of_type::<SimpleNodeManager>()
            .ok_or_else(|| missing("node manager"))?;
        let namespace = handle
            .get_namespace_index(NAMESPACE_URI)
            .ok_or_else(|| missing("namespace of the plant"))?;

        let ids = build(
            &mut nodes.address_space().write(),
            namespace,
            recording.channels(),
        );
        let variables = Variables {
            handle,
            nodes,
            ids,
            clock: SourceClock::ending_now(recording),
        };
        variables.emit(&recording.rows()[0]);
        let endpoint = format!("opc.tcp://{address}/");
        Ok(Plant {
            variables,
            endpoint,
            pki,
            running: tokio::spawn(server.run_with(listener)),
        })
    }

    /// URL that a client connects to.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Source times of the rows.
    pub fn clock(&self) -> SourceClock {
        self.variables.clock
    }

    /// Gives every variable its value of one row and queues a notification for each monitored item.
    ///
    /// # Panics
    /// When the row has not one value a variable.
    pub fn emit(&self, row: &Row) {
        self.variables.emit(row);
    }

    /// Whether some client monitors the value of every variable.
    pub fn is_monitored(&self) -> bool {
        self.variables.are_monitored()
    }

    /// Whether the server has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Ends the server and closes its connections.
    pub async fn stop(self) {
        self.variables.handle.cancel();
        let _ = self.running.await;
        let _ = self.pki.close();
    }
}

impl Variables {
    fn emit(&self, row: &Row) {
        assert_eq!(row.values.len(), self.ids.len(), "one value a variable");
        let server_time = DateTime::now();
        let source_time = DateTime::from(self.clock.at(row.time_h));
        let values = self.ids.iter().zip(&row.values).map(|(id, value)| {
            let value = DataValue {
                value: Some(Variant::Double(*value)),
                status: Some(StatusCode::Good),
                source_timestamp: Some(source_time),
                server_timestamp: Some(server_time),
                ..DataValue::default()
            };
            (id, None, value)
        });
        self.nodes
            .set_values(self.handle.subscriptions(), values)
            .expect("every variable was inserted before the server started");
    }

    fn are_monitored(&self) -> bool {
        let mut notifier = self.handle.subscriptions().data_notifier();
        self.ids.iter().all(|id| {
            notifier
                .notify_for(id, AttributeId::Value)
                .is_some_and(|items| items.entries().next().is_some())
        })
    }
}

fn build(space: &mut AddressSpace, namespace: u16, channels: &[Channel]) -> Vec<NodeId> {
    let object = NodeId::new(namespace, OBJECT);
    ObjectBuilder::new(&object, QualifiedName::new(namespace, OBJECT), OBJECT)
        .description("A bioreactor that plays a batch")
        .has_type_definition(ObjectTypeId::BaseObjectType)
        .organized_by(ObjectId::ObjectsFolder)
        .insert(space);

    let mut variables = Vec::with_capacity(channels.len());
    for channel in channels {
        let name = channel.name.as_str();
        let variable = NodeId::new(namespace, name);
        VariableBuilder::new(&variable, QualifiedName::new(namespace, name), name)
            .description(format!("{} of the bioreactor in {}", channel.name, channel.unit).as_str())
            .data_type(DataTypeId::Double)
            .value_rank(-1)
            .access_level(AccessLevel::CURRENT_READ)
            .user_access_level(AccessLevel::CURRENT_READ)
            .value(Variant::Empty)
            .has_type_definition(VariableTypeId::AnalogUnitType)
            .component_of(&object)
            .insert(space);
        let unit = NodeId::new(namespace, format!("{}/EngineeringUnits", channel.name));
        // -1: a unit of this server's own; its text is what the recording says, unchanged.
        let information = EUInformation {
            namespace_uri: NAMESPACE_URI.into(),
            unit_id: -1,
            display_name: LocalizedText::from(channel.unit.as_str()),
            description: LocalizedText::from(channel.unit.as_str()),
        };
        VariableBuilder::new(&unit, "EngineeringUnits", "EngineeringUnits")
            .data_type(DataTypeId::EUInformation)
            .value_rank(-1)
            .access_level(AccessLevel::CURRENT_READ)
            .user_access_level(AccessLevel::CURRENT_READ)
            .value(ExtensionObject::from_message(information))
            .has_type_definition(VariableTypeId::PropertyType)
            .reference(
                &variable,
                ReferenceTypeId::HasProperty,
                ReferenceDirection::Inverse,
            )
            .insert(space);
        variables.push(variable);
    }
    variables
}
