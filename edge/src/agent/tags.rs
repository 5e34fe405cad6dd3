//! The tags at the server: whether they exist, what they are, and what else the server offers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use opcua::client::Session;
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowsePath, BrowseResultMask, DataTypeId, DataValue,
    EUInformation, Error, NodeClass, NodeClassMask, NodeId, ObjectId, QualifiedName, ReadValueId,
    ReferenceDescription, ReferenceTypeId, RelativePath, RelativePathElement, StatusCode, TimestampsToReturn,
    Variant,
};

use super::config::TagAddress;
use super::node_address::NodeAddress;

/// A tag found at the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Tag {
    /// Name in the record.
    pub name: String,
    /// The node, by the index that its namespace has in this session.
    pub node: NodeId,
    /// Built-in data type that the server declares; `None` for an abstract type or one of its own.
    pub data_type: Option<&'static str>,
    /// Text of the engineering unit.
    pub unit: Option<String>,
    /// Whether this session could write it.
    pub writable: bool,
}

/// Why the tags cannot be captured.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// Some are missing, are no variables or cannot be read. Nothing is captured then, so that
    /// nobody takes a part of the tags for all of them.
    #[error("the server does not offer these tags:\n  {}", .0.join("\n  "))]
    Unavailable(Vec<String>),
    /// A request failed.
    #[error("the server did not tell about its tags: {0}")]
    Request(#[from] Error),
}

/// Nodes in one request: below the limits that small controllers have.
const NODES_A_REQUEST: usize = 100;

/// CurrentRead and CurrentWrite of an access level (OPC UA Part 3 §8.57).
const CURRENT_READ: u8 = 1;
const CURRENT_WRITE: u8 = 2;

/// Finds every configured tag and reads what the server says about it.
///
/// # Errors
/// When any tag cannot be captured, with the list of all of them, or when a request fails.
pub async fn resolve(session: &Session, tags: &[TagAddress]) -> Result<Vec<Tag>, TagError> {
    let mut found = Vec::with_capacity(tags.len());
    let mut problems = Vec::new();
    for (tag, outcome) in tags.iter().zip(look_up(session, tags).await?) {
        match outcome {
            Ok(tag) => found.push(tag),
            Err(problem) => problems.push(format!("{} ({}): {problem}", tag.name, tag.node)),
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(TagError::Unavailable(problems))
    }
}

/// What the server says about each tag, or why it cannot be captured.
async fn look_up(session: &Session, tags: &[TagAddress]) -> Result<Vec<Result<Tag, String>>, Error> {
    let namespaces = session.read_namespace_array().await?;
    let indices = tags.iter().map(|tag| match &tag.node.namespace_uri {
        None => Some(0),
        Some(uri) => namespaces.get_index(uri),
    });
    let nodes: Vec<Option<NodeId>> = tags
        .iter()
        .zip(indices)
        .map(|(tag, index)| Some(tag.node.at(index?)))
        .collect();
    let known: Vec<NodeId> = nodes.iter().flatten().cloned().collect();

    let attributes = [
        AttributeId::NodeClass,
        AttributeId::DataType,
        AttributeId::UserAccessLevel,
    ];
    let answers = read_attributes(session, &known, &attributes).await?;
    let units = units(session, &known).await?;
    let mut said = answers.chunks_exact(attributes.len()).zip(units);
    Ok(tags
        .iter()
        .zip(nodes)
        .map(|(tag, node)| {
            let node = node.ok_or("the server has no such namespace")?;
            let (answer, unit) = said.next().ok_or("the server said nothing about it")?;
            let writable = examine(&answer[0], &answer[2])?;
            Ok(Tag {
                name: tag.name.clone(),
                node,
                data_type: built_in_type(&answer[1]),
                unit,
                writable,
            })
        })
        .collect())
}

/// Whether a node is a readable variable, and then whether it is writable.
fn examine(node_class: &DataValue, access: &DataValue) -> Result<bool, String> {
    let status = node_class.status.unwrap_or(StatusCode::Good);
    if status.is_bad() {
        return Err(status.to_string());
    }
    if node_class.value != Some(Variant::Int32(NodeClass::Variable as i32)) {
        return Err("the node is no variable".to_owned());
    }
    match access.value {
        Some(Variant::Byte(level)) if level & CURRENT_READ == 0 => {
            Err("this account may not read its value".to_owned())
        }
        Some(Variant::Byte(level)) => Ok(level & CURRENT_WRITE != 0),
        _ => Ok(false),
    }
}

fn built_in_type(data_type: &DataValue) -> Option<&'static str> {
    let Some(Variant::NodeId(node)) = &data_type.value else {
        return None;
    };
    Some(match node.as_data_type_id().ok()? {
        DataTypeId::Boolean => "Boolean",
        DataTypeId::SByte => "SByte",
        DataTypeId::Byte => "Byte",
        DataTypeId::Int16 => "Int16",
        DataTypeId::UInt16 => "UInt16",
        DataTypeId::Int32 => "Int32",
        DataTypeId::UInt32 => "UInt32",
        DataTypeId::Int64 => "Int64",
        DataTypeId::UInt64 => "UInt64",
        DataTypeId::Float => "Float",
        DataTypeId::Double => "Double",
        DataTypeId::String => "String",
        DataTypeId::DateTime => "DateTime",
        DataTypeId::Guid => "Guid",
        DataTypeId::ByteString => "ByteString",
        DataTypeId::LocalizedText => "LocalizedText",
        _ => return None,
    })
}

/// Reads attributes of nodes: for each node its attributes in the order given.
async fn read_attributes(
    session: &Session,
    nodes: &[NodeId],
    attributes: &[AttributeId],
) -> Result<Vec<DataValue>, Error> {
    let wanted: Vec<ReadValueId> = nodes
        .iter()
        .flat_map(|node| {
            attributes
                .iter()
                .map(move |attribute| ReadValueId::new(node.clone(), *attribute))
        })
        .collect();
    let mut values = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(NODES_A_REQUEST) {
        let answer = session.read(part, TimestampsToReturn::Neither, 0.0).await?;
        if answer.len() != part.len() {
            return Err(Error::new(
                StatusCode::BadUnexpectedError,
                "the server answered a part of a Read",
            ));
        }
        values.extend(answer);
    }
    Ok(values)
}

/// Text of the EngineeringUnits property of each node (OPC UA Part 8 §5.3.2), where it has one.
async fn units(session: &Session, nodes: &[NodeId]) -> Result<Vec<Option<String>>, Error> {
    let mut units = vec![None; nodes.len()];
    let mut properties = Vec::new();
    for (part, offset) in nodes.chunks(NODES_A_REQUEST).zip((0..).step_by(NODES_A_REQUEST)) {
        let paths: Vec<BrowsePath> = part.iter().map(engineering_units).collect();
        let results = session.translate_browse_paths_to_node_ids(&paths).await?;
        for (index, result) in results.into_iter().enumerate() {
            if let Some(target) = result.targets.into_iter().flatten().next() {
                properties.push((offset + index, target.target_id.node_id));
            }
        }
    }
    let property_nodes: Vec<NodeId> = properties.iter().map(|(_, node)| node.clone()).collect();
    let values = read_attributes(session, &property_nodes, &[AttributeId::Value]).await?;
    for ((index, _), value) in properties.into_iter().zip(values) {
        if let Some(Variant::ExtensionObject(object)) = &value.value
            && let Some(information) = object.inner_as::<EUInformation>()
        {
            units[index] = information.display_name.text.value().clone();
        }
    }
    Ok(units)
}

fn engineering_units(node: &NodeId) -> BrowsePath {
    BrowsePath {
        starting_node: node.clone(),
        relative_path: RelativePath {
            elements: Some(vec![RelativePathElement {
                reference_type_id: ReferenceTypeId::HasProperty.into(),
                is_inverse: false,
                include_subtypes: true,
                target_name: QualifiedName::new(0, "EngineeringUnits"),
            }]),
        },
    }
}

/// A variable that a server offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its address for the configuration.
    pub address: NodeAddress,
    /// What the server says about it; the name is its display name.
    pub tag: Tag,
}

/// Lists the variables below the Objects folder, without the server's own nodes of namespace 0 and
/// without properties, to at most `limit`.
///
/// # Errors
/// When a request fails.
pub async fn browse(session: &Session, limit: usize) -> Result<Vec<Offer>, TagError> {
    let namespaces = session.read_namespace_array().await?;
    let uris: HashMap<u16, &str> = namespaces
        .known_namespaces()
        .iter()
        .map(|(uri, index)| (*index, uri.as_str()))
        .collect();
    let mut seen: HashSet<NodeId> = HashSet::new();
    let mut open: VecDeque<NodeId> = VecDeque::from([ObjectId::ObjectsFolder.into()]);
    let mut addresses = Vec::new();
    while let Some(parent) = open.pop_front() {
        for child in children(session, parent).await? {
            let node = child.node_id.node_id;
            if node.namespace == 0 || !child.node_id.namespace_uri.is_null() || !seen.insert(node.clone()) {
                continue;
            }
            let named = uris.get(&node.namespace).copied();
            if child.node_class == NodeClass::Variable && named.is_some() && addresses.len() < limit {
                let name = child.display_name.text.value().clone().unwrap_or_default();
                addresses.push(TagAddress {
                    name,
                    node: NodeAddress::of(named, &node),
                });
            }
            if addresses.len() < limit {
                open.push_back(node);
            }
        }
    }
    addresses.sort_by(|one, other| one.name.cmp(&other.name));
    let outcomes = look_up(session, &addresses).await?;
    // What this account may not read is no offer.
    let offers = addresses.into_iter().zip(outcomes);
    Ok(offers
        .filter_map(|(found, tag)| {
            Some(Offer {
                address: found.node,
                tag: tag.ok()?,
            })
        })
        .collect())
}

async fn children(session: &Session, parent: NodeId) -> Result<Vec<ReferenceDescription>, Error> {
    let description = BrowseDescription {
        node_id: parent,
        browse_direction: BrowseDirection::Forward,
        reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
        include_subtypes: true,
        node_class_mask: (NodeClassMask::OBJECT | NodeClassMask::VARIABLE).bits(),
        result_mask: BrowseResultMask::All as u32,
    };
    let mut results = session.browse(&[description], 0, None).await?;
    let mut found = Vec::new();
    while let Some(result) = results.pop() {
        let references = result.references.into_iter().flatten();
        let property = NodeId::from(ReferenceTypeId::HasProperty);
        found.extend(references.filter(|reference| reference.reference_type_id != property));
        if !result.continuation_point.is_null_or_empty() {
            results = session.browse_next(false, &[result.continuation_point]).await?;
        }
    }
    Ok(found)
}

/// Longest time that a caller should wait for [`resolve`] or [`browse`].
pub const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: impl Into<Variant>) -> DataValue {
        DataValue::value_only(value)
    }

    // control: A11
    #[test]
    fn a_tag_that_could_be_written_is_flagged() {
        let variable = value(NodeClass::Variable as i32);
        assert_eq!(examine(&variable, &value(CURRENT_READ)), Ok(false));
        assert_eq!(examine(&variable, &value(CURRENT_READ | CURRENT_WRITE)), Ok(true));
        // Not every server tells the access of this account.
        assert_eq!(examine(&variable, &DataValue::null()), Ok(false));
    }

    #[test]
    fn what_cannot_be_captured_says_why() {
        let variable = value(NodeClass::Variable as i32);
        let object = value(NodeClass::Object as i32);
        let unknown = DataValue {
            status: Some(StatusCode::BadNodeIdUnknown),
            ..DataValue::default()
        };
        assert!(
            examine(&unknown, &unknown)
                .unwrap_err()
                .contains("BadNodeIdUnknown")
        );
        assert!(
            examine(&object, &value(CURRENT_READ))
                .unwrap_err()
                .contains("no variable")
        );
        assert!(
            examine(&variable, &value(CURRENT_WRITE))
                .unwrap_err()
                .contains("may not read")
        );
    }
}
