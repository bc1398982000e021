//! The README's examples, typed as they stand there, into a demo on its documented ports; on other ports, replaced in what
//! is typed, when somebody's demo is running here already.
//!
//! Every `console` block is run: lines with `$` are typed into one shell, what follows is compared with what it printed;
//! `...` stands for anything. `redis-cli` is told that it talks to a person, so that it prints as it does for one. Where
//! grpcurl is missing, the reflecting client of this crate takes its name.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::cluster::Process;
use tests::cluster::binaries::{binary, on_path};
use tests::cluster::ports::free_address;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// What the demo prints when it serves.
const READY: &str = "Ctrl-C";

/// A command and what it is said to print.
struct Example {
    command: String,
    output: Vec<String>,
}

fn examples(document: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && language == "console";
        } else if inside {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => examples.push(Example { command: command.to_owned(), output: Vec::new() }),
                (None, Some(example)) => example.output.push(line.trim_end().to_owned()),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
    }
    examples
}

#[test]
fn the_examples_of_the_readme_work_as_written() {
    let document = fs::read_to_string(README).expect("there is a README");
    let examples = examples(&document);
    assert!(examples.len() > 8, "only {} examples found", examples.len());
    let missing: Vec<&str> =
        ["redis-cli", "aws", "jq"].into_iter().filter(|program| on_path(program).is_none()).collect();
    if !missing.is_empty() {
        println!("skipped: {missing:?} not installed; scripts/setup.sh does it");
        return;
    }
    let directory = tempfile::TempDir::with_prefix("elastickv-readme-").expect("a temporary directory can be made");
    let ports = choose_ports();
    let examples: Vec<Example> = examples.into_iter().map(|example| example.on(&ports)).collect();
    let mut demo = start_demo(directory.path(), &ports);
    let tools = directory.path().join("tools");
    fs::create_dir(&tools).expect("a directory can be made");
    if on_path("grpcurl").is_none() {
        symlink(binary("grpc-call"), tools.join("grpcurl")).expect("a link can be made");
    }
    let printed = run_all(&examples, directory.path(), &tools);
    for (example, printed) in examples.iter().zip(&printed) {
        assert!(
            matches(&example.output, printed),
            "{}\nshould print\n{:#?}\nbut printed\n{printed:#?}",
            example.command,
            example.output
        );
    }

    let status = demo.stop(STOP_TIMEOUT);
    assert!(status.success(), "the demo ended with {status}: {}", demo.log_end());
    data_survives_a_restart(&mut demo, &ports);
}

/// The ports that the README names: Redis, DynamoDB, gRPC; and behind them those that it does not name.
const DOCUMENTED: [u16; 5] = [63_791, 63_792, 63_793, 8000, 50_051];
const ALL_DOCUMENTED: [u16; 10] = [63_791, 63_792, 63_793, 8000, 50_051, 50_060, 9160, 20_071, 20_072, 20_073];

/// What stands in for the documented ports: themselves when they are free, else consecutive ones.
fn choose_ports() -> [u16; DOCUMENTED.len()] {
    if ALL_DOCUMENTED.into_iter().all(is_free) {
        return DOCUMENTED;
    }
    loop {
        let base = free_address().port();
        let mut consecutive = (base..).take(ALL_DOCUMENTED.len());
        if consecutive.all(is_free) {
            println!("a documented port is taken; the examples run on {base} and the ports behind it");
            return std::array::from_fn(|offset| base + offset as u16);
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

impl Example {
    fn on(self, ports: &[u16; DOCUMENTED.len()]) -> Self {
        let replace = |command: String, (from, to): (&u16, &u16)| command.replace(&from.to_string(), &to.to_string());
        Self { command: DOCUMENTED.iter().zip(ports).fold(self.command, replace), output: self.output }
    }
}

fn start_demo(directory: &Path, ports: &[u16; DOCUMENTED.len()]) -> Process {
    let mut arguments = vec!["--data-dir".to_owned(), directory.join("data").display().to_string()];
    if *ports != DOCUMENTED {
        arguments.extend(["--base-port".to_owned(), ports[0].to_string()]);
    }
    let log = directory.join("demo.log");
    let mut demo = Process::new("demo", binary("elastickv-demo"), arguments, log);
    start_and_wait(&mut demo);
    demo
}

fn start_and_wait(demo: &mut Process) {
    let (before, begin) = (demo_banners(demo), Instant::now());
    demo.start();
    while demo_banners(demo) == before {
        assert!(demo.is_running() && begin.elapsed() < START_TIMEOUT, "the demo does not serve: {}", demo.log_end());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn demo_banners(demo: &Process) -> usize {
    demo.log().matches(READY).count()
}

/// Runs all commands in one shell, with a mark behind each one's output.
fn run_all(examples: &[Example], directory: &Path, tools: &Path) -> Vec<Vec<String>> {
    const MARK: &str = "== next ==";
    let script: String = examples.iter().map(|example| format!("{}\necho\necho '{MARK}'\n", example.command)).collect();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-e", "-c", &script])
        .current_dir(directory)
        .env("PATH", path)
        .env("FAKETTY", "1")
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "an example failed:\n{text}\n{complaints}");
    let lines = |part: &str| part.trim().lines().map(|line| line.trim_end().to_owned()).collect();
    text.split(MARK).take(examples.len()).map(lines).collect()
}

/// Line by line; `...` stands for the rest.
fn matches(wanted: &[String], printed: &[String]) -> bool {
    match wanted.iter().position(|line| line == "...") {
        Some(at) => printed.starts_with(&wanted[..at]) && printed.len() > at,
        None => wanted == printed,
    }
}

fn data_survives_a_restart(demo: &mut Process, ports: &[u16; DOCUMENTED.len()]) {
    start_and_wait(demo);
    let third = ports[2].to_string();
    let output = Command::new("redis-cli").args(["-p", &third, "GET", "greeting"]).output().expect("redis-cli starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "hello", "the demo's data is gone after a restart");
    demo.stop(STOP_TIMEOUT);
}

#[test]
fn examples_are_found_in_console_blocks_only() {
    let document = "```sh\n$ no\n```\ntext\n```console\n$ echo a\na\n$ true\n```\n";
    let found = examples(document);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].command.as_str(), found[0].output.len()), ("echo a", 1));
    assert!(matches(&["a".into(), "...".into()], &["a".into(), "b".into(), "c".into()]));
    assert!(!matches(&["a".into()], &["a".into(), "b".into()]));
}
