//! Generates the wire types from the `.proto` files. Byte fields become `Bytes`: slices of the received message.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "errors",
        "kv",
        "distribution",
        "cluster",
        "replica",
        "raft",
        "command",
        "transaction",
        "storage",
        "group",
        "relay",
    ];
    let paths: Vec<String> = files.iter().map(|file| format!("proto/{file}.proto")).collect();
    let descriptor = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("elastickv.bin");
    tonic_prost_build::configure()
        .bytes(".")
        .file_descriptor_set_path(descriptor)
        .compile_protos(&paths, &["proto".to_owned()])?;
    Ok(())
}
