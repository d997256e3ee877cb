//! How a client certificate names the destination (or, later, the hub) that holds it.
//!
//! Subject: `O=atoll:agents`, `CN=<inventory logical cluster>:<destination uid>`. The name of the ManagedCluster is not in it: a
//! ManagedCluster made again under the same name is another destination.

/// The organization of every agent certificate.
pub const ORGANIZATION: &str = "atoll:agents";

/// The destination that a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentIdentity {
    /// The logical cluster of the inventory that holds the ManagedCluster.
    pub inventory: String,
    /// The ManagedCluster's uid.
    pub destination: String,
}

impl AgentIdentity {
    /// The certificate's common name.
    pub fn common_name(&self) -> String {
        format!("{}:{}", self.inventory, self.destination)
    }

    /// Reads a common name; `None` when it is not one of ours.
    pub fn parse(common_name: &str) -> Option<Self> {
        let (inventory, destination) = common_name.rsplit_once(':')?;
        if inventory.is_empty() || destination.is_empty() {
            return None;
        }
        Some(AgentIdentity {
            inventory: inventory.to_owned(),
            destination: destination.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_name_round_trips() {
        let id = AgentIdentity {
            inventory: "1abc".into(),
            destination: "0-1-2".into(),
        };
        assert_eq!(AgentIdentity::parse(&id.common_name()), Some(id));
        for bad in ["", ":", "x", "x:", ":y"] {
            assert_eq!(AgentIdentity::parse(bad), None, "{bad}");
        }
    }
}
