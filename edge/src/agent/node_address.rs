//! Where a tag is found: a node by namespace URI, never by the index that a server gives it today.

use std::fmt;
use std::str::FromStr;

use opcua::types::{Identifier, NodeId};

/// A node address that stays true when a server renumbers its namespaces (OPC UA Part 6 §5.3.1.10):
/// `nsu=<namespace URI>;<s|i|g|b>=<identifier>`, or `i=<number>` for the OPC UA namespace itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    /// URI of the namespace; `None` is the OPC UA namespace, whose index is always 0.
    pub namespace_uri: Option<String>,
    identifier: Identifier,
    text: String,
}

/// Why a text is no node address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeAddressError {
    /// A namespace index.
    #[error(
        "node_id {0:?} names the namespace by index, which a server may change: give its namespace URI, nsu=<uri>;s=<id>"
    )]
    Index(String),
    /// Anything else.
    #[error(
        "node_id {0:?} must be nsu=<namespace URI>;s=<text>, or i=<number>, g=<guid>, b=<base64> in place of s="
    )]
    Malformed(String),
}

impl NodeAddress {
    /// The node id at a server that gives the namespace this index.
    pub fn at(&self, namespace_index: u16) -> NodeId {
        NodeId::new(namespace_index, self.identifier.clone())
    }

    /// The address of a node whose namespace URI is known.
    pub fn of(namespace_uri: Option<&str>, node: &NodeId) -> NodeAddress {
        let identifier = node.identifier.clone();
        // In a URI ';' ends the namespace and '%' begins an escape.
        let text = match namespace_uri {
            Some(uri) => format!("nsu={};{identifier}", uri.replace('%', "%25").replace(';', "%3B")),
            None => identifier.to_string(),
        };
        NodeAddress {
            namespace_uri: namespace_uri.map(str::to_owned),
            identifier,
            text,
        }
    }
}

impl FromStr for NodeAddress {
    type Err = NodeAddressError;

    fn from_str(text: &str) -> Result<NodeAddress, NodeAddressError> {
        let malformed = || NodeAddressError::Malformed(text.to_owned());
        if text.starts_with("ns=") {
            return Err(NodeAddressError::Index(text.to_owned()));
        }
        let (namespace_uri, identifier) = match text.strip_prefix("nsu=") {
            None => (None, text),
            Some(rest) => {
                let (uri, identifier) = rest.split_once(';').ok_or_else(malformed)?;
                if uri.is_empty() {
                    return Err(malformed());
                }
                (
                    Some(uri.replace("%3B", ";").replace("%3b", ";").replace("%25", "%")),
                    identifier,
                )
            }
        };
        if identifier.len() < 3 {
            return Err(malformed());
        }
        let identifier = Identifier::from_str(identifier).map_err(|_| malformed())?;
        Ok(NodeAddress {
            namespace_uri,
            identifier,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_node_of_the_index_found() {
        let address: NodeAddress = "nsu=urn:plant;s=Tank 1;pH=x".parse().unwrap();
        assert_eq!(address.namespace_uri.as_deref(), Some("urn:plant"));
        assert_eq!(address.at(7), NodeId::new(7, "Tank 1;pH=x"));
        assert_eq!(address.to_string(), "nsu=urn:plant;s=Tank 1;pH=x");
        let standard: NodeAddress = "i=2258".parse().unwrap();
        assert_eq!(
            (standard.namespace_uri.as_deref(), standard.at(0)),
            (None, NodeId::new(0, 2258u32))
        );
    }

    #[test]
    fn escapes_in_a_uri_go_both_ways() {
        let address = NodeAddress::of(Some("urn:a;b%c"), &NodeId::new(3, "x"));
        assert_eq!(address.to_string(), "nsu=urn:a%3Bb%25c;s=x");
        assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn other_texts_are_refused() {
        assert!(matches!(
            "ns=2;s=pH".parse::<NodeAddress>(),
            Err(NodeAddressError::Index(_))
        ));
        for text in [
            "",
            "pH",
            "nsu=urn:plant",
            "nsu=;s=pH",
            "nsu=urn:plant;pH",
            "nsu=urn:plant;i=x",
            "s=",
        ] {
            assert!(
                matches!(text.parse::<NodeAddress>(), Err(NodeAddressError::Malformed(_))),
                "{text:?}"
            );
        }
    }
}
