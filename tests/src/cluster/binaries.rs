//! Where programs are: the workspace's own in Cargo's target directory, around the running test; others on the `PATH`.

use std::path::{Path, PathBuf};

/// Names a directory to take the binaries from instead, such as `target/release`.
const OVERRIDE: &str = "ELASTICKV_BINARIES";

/// The path of a built binary of this workspace. Panics with what to type when it is not there.
pub fn binary(name: &str) -> PathBuf {
    let directory = directory();
    let path = directory.join(name);
    let release = if directory.ends_with("release") { " --release" } else { "" };
    assert!(path.is_file(), "{} is not built; type: cargo build --workspace --bins{release}", path.display());
    path
}

/// `target/debug` or `target/release`, whichever the running program was built for. It is on a real disk, where /tmp may not be.
pub fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os(OVERRIDE) {
        return directory.into();
    }
    let program = std::env::current_exe().expect("the system knows the running program");
    let parent = program.parent().unwrap_or(Path::new("."));
    // Tests are built into deps/, binaries beside it.
    if parent.ends_with("deps") { parent.parent().unwrap_or(parent).to_owned() } else { parent.to_owned() }
}

/// A program of the machine: `redis-cli`, `etcd`, `aws`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}
