//! The protocol as it should be: in no state that a scene can reach is a law broken, and the scenes show what they are
//! for. A failure prints the steps.

use model::check::{check_laws, look_for_sights};
use model::scene::Scene;

#[track_caller]
fn assert_holds(name: &str) {
    let scene = Scene::all().into_iter().find(|scene| scene.name == name).expect("a scene of that name");
    // The scenes themselves run side by side.
    let laws = check_laws(&scene, 1);
    println!("{name}: {laws}");
    assert!(laws.found.is_empty(), "{name} breaks laws:\n{}", laws.traces());
    let sights = look_for_sights(&scene);
    let seen: Vec<&str> = sights.found.iter().map(|(sight, _)| *sight).collect();
    assert_eq!(seen.len(), scene.sights.len(), "{name} must show {:?}, and shows only {seen:?}", scene.sights);
}

macro_rules! scenes {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            assert_holds($name);
        })*

        #[test]
        fn every_scene_is_checked() {
            let names: Vec<&str> = Scene::all().iter().map(|scene| scene.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

scenes! {
    transfers_among_dying_gateways: "transfers",
    three_over_both_groups: "three",
    retries_in_ordered_mode: "retries",
    repeats_by_token: "repeats",
    twins_that_only_read_their_anchor: "twins",
    readers_one_key_after_the_other: "readers",
    skew_between_reads_and_writes: "skew",
    locked_reads: "locked-reads",
    scans_at_a_version: "scans",
    derived_writes_beside_single_group_writes: "derived",
}
