//! One server process: started with its output in a file, signalled, waited for, started again.
//!
//! Only processes that were started here are ever signalled, by their id, and only while they have not been waited for,
//! so that the id cannot belong to somebody else.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const POLL: Duration = Duration::from_millis(5);
/// How much of the end of a log is shown for a failed test.
const SHOWN_LOG_BYTES: u64 = 6_000;

/// A server process that can be started many times.
#[derive(Debug)]
pub struct Process {
    /// Shown in messages: `node 2`.
    pub name: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    /// The id while it runs, else 0; for others that look on.
    shown_id: Arc<AtomicU32>,
    paused: bool,
}

impl Process {
    /// Describes a process; nothing runs yet.
    pub fn new(name: impl Into<String>, program: PathBuf, arguments: Vec<String>, log: PathBuf) -> Self {
        Self {
            name: name.into(),
            program,
            arguments,
            log,
            environment: Vec::new(),
            child: None,
            shown_id: Arc::default(),
            paused: false,
        }
    }

    /// Variables of its environment, beside those of the test; from the next start on.
    pub fn set_environment(&mut self, variables: &[(&str, &str)]) {
        self.environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }

    /// Always tells the process id, or 0 while it does not run.
    pub fn shown_id(&self) -> Arc<AtomicU32> {
        self.shown_id.clone()
    }

    /// Starts it. Its output goes to the end of its log.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} is running", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log can be written");
        let error_log = log.try_clone().expect("a file handle can be cloned");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(error_log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        self.shown_id.store(child.id(), Ordering::SeqCst);
        self.child = Some(child);
    }

    /// The process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// True until it has ended.
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => child.try_wait().expect("a child can be asked").is_none(),
            None => false,
        }
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
            self.shown_id.store(0, Ordering::SeqCst);
            self.paused = false;
        }
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self, timeout: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(timeout)
    }

    /// Sends SIGTERM and returns at once; [`Process::wait`] follows.
    pub fn begin_stop(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let begin = Instant::now();
        let child = self.child.as_mut().expect("the process was started");
        loop {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                self.child = None;
                self.shown_id.store(0, Ordering::SeqCst);
                return status;
            }
            assert!(begin.elapsed() < timeout, "{} did not end within {timeout:?}", self.name);
            std::thread::sleep(POLL);
        }
    }

    /// SIGSTOP: it does nothing any more and its connections stay open.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        read_from(&self.log, 0)
    }

    /// The end of what it has printed.
    pub fn log_end(&self) -> String {
        let length = std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        read_from(&self.log, length.saturating_sub(SHOWN_LOG_BYTES))
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id is a positive i32");
        kill_process(id, signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A process that has ended by itself cannot be killed, which is fine.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn read_from(path: &Path, offset: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(no log at {}: {error})", path.display()),
    }
}
