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

/// The node sees in time that little is left, and refuses writes before they fail.
#[test]
fn a_full_disk_refuses_writes_and_keeps_what_it_has() {
    let Some((disk, mut cluster)) = cluster_on_small_disk(384, 160) else { return };
    let filled = fill(&cluster);
    println!("{} values of 64 KiB fit; then: {}", filled.acknowledged.len(), filled.refusal);
    assert!(filled.refusal.to_lowercase().contains("disk"), "the cause is not named: {}", filled.refusal);
    assert!(filled.acknowledged.len() > 200, "only {} values fit", filled.acknowledged.len());
    let mut connection = Connection::open(cluster.redis(), TIMEOUT).expect("the gateway accepts");
    check(&mut connection, &filled.acknowledged);
    restart_with_room(&disk, &mut cluster, &filled);
}

/// Something else has eaten the reserve: writes fail in the middle. Nothing is promised that is not there.
#[test]
fn a_disk_that_overflows_loses_nothing_acknowledged() {
    let Some((disk, mut cluster)) = cluster_on_small_disk(160, 0) else { return };
    let filled = fill(&cluster);
    println!("{} values of 64 KiB fit; then: {}", filled.acknowledged.len(), filled.refusal);
    restart_with_room(&disk, &mut cluster, &filled);
}

/// One node on a disk of its own, with a reserve; none, and a printed reason, where no disk can be mounted.
fn cluster_on_small_disk(mebibytes: u32, reserve_mebibytes: u32) -> Option<(SmallDisk, Cluster)> {
    let disk = match SmallDisk::mount(mebibytes) {
        Ok(disk) => disk,
        Err(reason) => {
            println!("skipped: no small disk can be mounted here: {reason}");
            return None;
        }
    };
    let tables = format!(
        "[limits]\ndisk_reserve_bytes = {}\n[engine]\nwrite_buffer_bytes = 4194304\n\
         [log]\nsnapshot_every_bytes = 4194304\nkeep_entries = 10\n",
        u64::from(reserve_mebibytes) << 20
    );
    let builder = Cluster::builder().nodes(1).groups(1).storage_tables(tables);
    let cluster = builder.data_directory(0, disk.path().join("node")).start();
    Some((disk, cluster))
}

/// What went in until a write was refused.
struct Filled {
    acknowledged: Vec<u64>,
    refusal: String,
}

fn fill(cluster: &Cluster) -> Filled {
    let mut connection = Connection::open(cluster.redis(), TIMEOUT).expect("the gateway accepts");
    let mut acknowledged = Vec::new();
    for number in 0..20_000 {
        match connection.call(&[b"SET", format!("full:{number}").as_bytes(), &value(number)]).expect("an answer") {
            Reply::Status(_) => acknowledged.push(number),
            Reply::Error(refusal) => return Filled { acknowledged, refusal },
            other => panic!("SET answered {other:?}"),
        }
    }
    panic!("more than a gibibyte went onto a small disk");
}

/// 64 KiB that no compression makes smaller, different for each number.
fn value(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(8192).flatten().collect()
}

fn restart_with_room(disk: &SmallDisk, cluster: &mut Cluster, filled: &Filled) {
    cluster.nodes[0].process.kill();
    disk.resize(1024);
    cluster.nodes[0].process.start();
    let back = cluster.wait_until_serving(TIMEOUT);
    println!("serving again after {back:?}");
    let mut connection = Connection::open(cluster.redis(), TIMEOUT).expect("the gateway accepts");
    check(&mut connection, &filled.acknowledged);
    assert_eq!(connection.line("SET again 1").expect("an answer"), Reply::Status("OK".into()));
}

fn check(connection: &mut Connection, acknowledged: &[u64]) {
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
