//! Which ports a demo listens on, all on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr};

use crate::GATEWAYS;

/// Ports of a demo. 0 takes any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// Redis, one for each gateway.
    pub redis: [u16; GATEWAYS],
    /// DynamoDB, at the first gateway.
    pub dynamodb: u16,
    /// gRPC, at the first gateway.
    pub grpc: u16,
    /// gRPC of the placement.
    pub placement: u16,
    /// Metrics and health of the process.
    pub metrics: u16,
    /// gRPC of the first storage node; the others follow.
    pub first_storage: u16,
}

impl Ports {
    /// The ports of the documentation.
    pub fn documented() -> Self {
        Self {
            redis: [63_791, 63_792, 63_793],
            dynamodb: 8000,
            grpc: 50_051,
            placement: 50_060,
            metrics: 9160,
            // Nobody types these. Below the ports that outgoing connections get, which may be taken at any moment.
            first_storage: 20_071,
        }
    }

    /// Consecutive ports: Redis, Redis, Redis, DynamoDB, gRPC, placement, metrics, then the storage nodes. None when
    /// they do not fit below 65536.
    pub fn from_base(base: u16, nodes: usize) -> Option<Self> {
        let fixed = GATEWAYS + 4;
        let last = usize::from(base) + fixed + nodes - 1;
        let port = |offset: usize| u16::try_from(usize::from(base) + offset).ok();
        u16::try_from(last).ok()?;
        Some(Self {
            redis: [base, port(1)?, port(2)?],
            dynamodb: port(GATEWAYS)?,
            grpc: port(GATEWAYS + 1)?,
            placement: port(GATEWAYS + 2)?,
            metrics: port(GATEWAYS + 3)?,
            first_storage: port(fixed)?,
        })
    }

    /// Any free ports.
    pub fn any() -> Self {
        Self { redis: [0; GATEWAYS], dynamodb: 0, grpc: 0, placement: 0, metrics: 0, first_storage: 0 }
    }

    /// The port of a storage node, counted from 0.
    pub(crate) fn storage(&self, node: usize) -> u16 {
        match self.first_storage {
            0 => 0,
            first => first.saturating_add(u16::try_from(node).unwrap_or(u16::MAX)),
        }
    }
}

/// A port on the loopback interface.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_base_without_overlap() {
        let ports = Ports::from_base(7000, 3).unwrap();
        assert_eq!(ports.redis, [7000, 7001, 7002]);
        assert_eq!((ports.dynamodb, ports.grpc, ports.placement, ports.metrics), (7003, 7004, 7005, 7006));
        assert_eq!((ports.storage(0), ports.storage(2)), (7007, 7009));
        assert_eq!(Ports::from_base(65_530, 3), None);
        assert_eq!(Ports::any().storage(2), 0);
    }
}
