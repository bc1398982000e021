//! The configuration files of a test cluster: only what differs from the defaults of the product.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

pub(super) struct Placement {
    pub listen: SocketAddr,
    pub metrics: SocketAddr,
    pub data: PathBuf,
    pub groups: usize,
    pub nodes: usize,
}

impl Placement {
    pub fn to_toml(&self) -> String {
        #[derive(Serialize)]
        struct File<'a> {
            listen: SocketAddr,
            monitoring_listen: SocketAddr,
            data_dir: &'a PathBuf,
            bootstrap_nodes: usize,
            groups: usize,
        }
        let Self { listen, metrics, data, groups, nodes } = self;
        write(&File {
            listen: *listen,
            monitoring_listen: *metrics,
            data_dir: data,
            bootstrap_nodes: *nodes,
            groups: *groups,
        })
    }
}

pub(super) struct Storage {
    pub listen: SocketAddr,
    pub metrics: SocketAddr,
    pub data: PathBuf,
    pub placement: SocketAddr,
    /// Where others find it.
    pub advertise: SocketAddr,
    /// Tables to append.
    pub more: String,
}

impl Storage {
    pub fn to_toml(&self) -> String {
        #[derive(Serialize)]
        struct File<'a> {
            listen: SocketAddr,
            metrics: SocketAddr,
            advertise: SocketAddr,
            data_dir: &'a PathBuf,
            placement: Vec<String>,
        }
        let Self { listen, metrics, data, placement, advertise, more } = self;
        let placement = vec![format!("http://{placement}")];
        let file =
            write(&File { listen: *listen, metrics: *metrics, advertise: *advertise, data_dir: data, placement });
        format!("{file}\n{more}")
    }
}

pub(super) struct Gateway {
    pub redis: SocketAddr,
    pub dynamo: SocketAddr,
    pub grpc: SocketAddr,
    pub metrics: SocketAddr,
    pub placement: SocketAddr,
}

impl Gateway {
    pub fn to_toml(&self) -> String {
        #[derive(Serialize)]
        struct File {
            placement: Vec<String>,
            metrics: SocketAddr,
            redis: Listener,
            dynamodb: Listener,
            grpc: Listener,
        }
        #[derive(Serialize)]
        struct Listener {
            listen: SocketAddr,
        }
        let Self { redis, dynamo, grpc, metrics, placement } = self;
        write(&File {
            placement: vec![placement.to_string()],
            metrics: *metrics,
            redis: Listener { listen: *redis },
            dynamodb: Listener { listen: *dynamo },
            grpc: Listener { listen: *grpc },
        })
    }
}

fn write(file: &impl Serialize) -> String {
    toml::to_string(file).expect("these structs are plain tables")
}
