//! `elastickv-model`: walks through the protocol's model by hand, with larger bounds or with a rule broken.

use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand, ValueEnum};
use model::check::{check_laws, look_for_sights, look_for_violation};
use model::fault::Fault;
use model::laws::LAWS;
use model::scene::Scene;

/// The protocol for transactions over several groups, tried in every way.
#[derive(Parser)]
#[command(name = "elastickv-model", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names the scenes, the laws and the faults.
    List,
    /// Walks through scenes; every law must hold and every sight must be seen.
    Check {
        /// Only these scenes; all of them otherwise.
        #[arg(long = "scene", value_name = "NAME")]
        scenes: Vec<String>,
        /// Let more go wrong: minutes of work.
        #[arg(long)]
        larger: bool,
        /// Break this rule, and look for a violation in the scene that shows it, or in those named.
        #[arg(long)]
        fault: Option<Fault>,
        /// Threads of a walk through a healthy protocol; as many as there are cores otherwise.
        #[arg(long)]
        threads: Option<usize>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List => {
            list();
            ExitCode::SUCCESS
        }
        Command::Check { scenes, larger, fault, threads } => {
            let mut chosen = if larger { Scene::larger() } else { Scene::all() };
            if let Some(unknown) = scenes.iter().find(|name| chosen.iter().all(|scene| scene.name != **name)) {
                eprintln!("elastickv-model: there is no scene {unknown:?}; `list` names them");
                return ExitCode::FAILURE;
            }
            chosen.retain(|scene| match fault {
                Some(fault) if scenes.is_empty() => scene.name == fault.shown().0,
                _ => scenes.is_empty() || scenes.iter().any(|name| name == scene.name),
            });
            let cores = || thread::available_parallelism().map_or(1, usize::from);
            let threads = threads.unwrap_or_else(cores);
            let mut good = true;
            for scene in &chosen {
                good &= match fault {
                    Some(fault) => show_fault(scene, fault),
                    None => check_scene(scene, threads),
                };
            }
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn list() {
    println!("scenes:");
    Scene::larger().iter().for_each(|scene| println!("  {:13} {}", scene.name, scene.story));
    println!("laws:");
    LAWS.iter().for_each(|(name, _)| println!("  {name}"));
    println!("faults:");
    for fault in Fault::value_variants() {
        let possible = fault.to_possible_value();
        let (name, help) = possible.as_ref().map_or(("", None), |value| (value.get_name(), value.get_help()));
        println!("  {name:27} {}", help.map(ToString::to_string).unwrap_or_default());
    }
}

fn check_scene(scene: &Scene, threads: usize) -> bool {
    println!("{}: {}", scene.name, scene.story);
    let laws = check_laws(scene, threads);
    println!("  {laws}");
    print!("{}", laws.traces());
    let sights = look_for_sights(scene);
    println!("  {} of {} sights seen", sights.found.len(), scene.sights.len());
    laws.found.is_empty() && sights.found.len() == scene.sights.len()
}

fn show_fault(scene: &Scene, fault: Fault) -> bool {
    let violation = look_for_violation(scene, fault, None);
    println!("{} with {fault:?}: {violation}", scene.name);
    print!("{}", violation.traces());
    !violation.found.is_empty()
}
