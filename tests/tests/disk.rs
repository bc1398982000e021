//! The disk under a node: full, or written by another version.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::cluster::Cluster;
use tests::resp::{Connection, Reply};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A small file system in memory, for as long as the value lives. Needs root.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Result<Self, String> {
        let directory = tempfile::TempDir::with_prefix("elastickv-disk-").map_err(|error| error.to_string())?;
        let disk = Self { directory };
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "elastickv-test", disk.path_text().as_str()],
        )?;
        Ok(disk)
    }

    fn resize(&self, mebibytes: u32) {
        let size = format!("remount,size={mebibytes}m");
        run("mount", &["-o", &size, &self.path_text()]).expect("what is mounted can be made larger");
    }

    fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn path_text(&self) -> String {
        self.path().display().to_string()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Not mounted when mount has failed; nothing else can be done about it here either.
        drop(run("umount", &["-l", &self.path_text()]));
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_what_it_has() {
    let disk = match SmallDisk::mount(160) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no small disk can be mounted here: {reason}");
            return;
        }
    };
    let tables = "[limits]\ndisk_reserve_bytes = 33554432\n[engine]\nwrite_buffer_bytes = 4194304\n\
                  [log]\nsnapshot_every_bytes = 4194304\nkeep_entries = 10\n";
    let mut cluster = Cluster::builder()
        .nodes(1)
        .groups(1)
        .storage_tables(tables)
        .data_directory(0, disk.path().join("node"))
        .start();
    let mut connection = Connection::open(cluster.redis(), TIMEOUT).expect("the gateway accepts");
    // Nothing that lz4 could make smaller.
    let value = |number: u64| {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        std::iter::repeat_with(next).take(8192).flatten().collect::<Vec<u8>>()
    };
    let mut acknowledged = Vec::new();
    let mut refusal = None;
    for number in 0..6000 {
        match connection.call(&[b"SET", format!("full:{number}").as_bytes(), &value(number)]).expect("an answer") {
            Reply::Status(_) => acknowledged.push(number),
            Reply::Error(sentence) => {
                refusal = Some(sentence);
                break;
            }
            other => panic!("SET answered {other:?}"),
        }
    }
    let refusal = refusal.expect("160 MB are full before 390 MB are written");
    println!("{} values of 64 KiB fit; then: {refusal}", acknowledged.len());
    assert!(refusal.to_lowercase().contains("disk"), "the refusal does not name the cause: {refusal}");
    assert!(acknowledged.len() > 200, "only {} values fit", acknowledged.len());
    check(&mut connection, &acknowledged, value);

    cluster.nodes[0].process.kill();
    disk.resize(600);
    cluster.nodes[0].process.start();
    cluster.wait_until_serving(TIMEOUT);
    check(&mut connection, &acknowledged, value);
    assert_eq!(connection.line("SET again 1").expect("an answer"), Reply::Status("OK".into()));
}

fn check(connection: &mut Connection, acknowledged: &[u64], value: impl Fn(u64) -> Vec<u8>) {
    for number in acknowledged {
        let read = connection.call(&["GET", &format!("full:{number}")]).expect("an answer");
        assert!(matches!(&read, Reply::Bulk(bytes) if *bytes == value(*number)), "full:{number} is gone or differs");
    }
}

#[test]
fn a_disk_of_an_unknown_version_is_refused() {
    let mut cluster = Cluster::builder().nodes(1).groups(1).start();
    cluster.nodes[0].process.stop(TIMEOUT);
    raise_format(&cluster.nodes[0].data);
    cluster.nodes[0].process.start();
    let status = cluster.nodes[0].process.wait(TIMEOUT);
    let log = cluster.nodes[0].process.log();
    assert!(!status.success(), "a node on an unknown format ended with {status}");
    assert!(log.contains("newer Elastickv (format 250"), "{log}");
}

/// Says in the directory's `FORMAT` file that a later version has written it.
fn raise_format(data: &Path) {
    let path = data.join("FORMAT");
    let text = std::fs::read_to_string(&path).expect("a node has written its format");
    assert!(text.contains("format = 1"), "{text}");
    std::fs::write(&path, text.replace("format = 1", "format = 250")).expect("the file can be written");
}
